"""Tests in a thread, as it may hang, whether this machine can write to the SAN and the output folder."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sshrender.coordinator.jobplan import JobPlan
from sshrender.core import events as ev
from sshrender.storage import primitives

REQUIRED_PAGES = 2
"""Pages, each as large as the largest so far, that need free space: one is rendered while one is
verified."""


class StorageProbe:
    """Probes on request, and posts StorageFailed or StorageRecovered."""

    def __init__(
        self,
        plan: JobPlan,
        post: Callable[[ev.StorageFailed | ev.StorageRecovered], None],
        epoch: int = 0,
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """Prepare a probe; start it with ``start``.

        ``trouble`` returns why no page can be verified although the folders work; empty if one can.
        """
        self._trouble = trouble
        self._name = f"e{epoch}.coordinator"
        self._plan = plan
        self._folders = (plan.folder.work, plan.output)
        self._post = post
        # One probe at a time: a hanging one keeps its thread for as long as the server is away.
        self._since: float | None = None

    def start(self) -> None:
        """Start a probe, unless one is running; one that does not end counts as a failure."""
        if self._since is None:
            # Set before the thread starts, which clears it.
            self._since = time.monotonic()
            largest = max((record.bytes for record in self._plan.history.pages.values()), default=0)
            thread = threading.Thread(
                target=self._probe, args=(REQUIRED_PAGES * largest,), daemon=True, name="storage probe"
            )
            try:
                thread.start()
            except RuntimeError:
                # At the limit of threads the storage cannot be tested: the run stays paused.
                self._since = None
                self._post(ev.StorageFailed("cannot start a thread to test the storage"))
        elif time.monotonic() - self._since > primitives.HANG_TIMEOUT:
            self._post(ev.StorageFailed(f"{self._folders[0]} does not answer"))

    def _probe(self, space: int) -> None:
        for folder in self._folders:
            # Space is tested last, as it says nothing if writing fails.
            reason = primitives.try_write(str(folder), self._name) or _lack_of_space(folder, space)
            if reason:
                self._post(ev.StorageFailed(_in_words(folder, reason)))
                break
        else:
            trouble = _absence(self._plan.folder.pages) or self._trouble()
            self._post(ev.StorageFailed(trouble) if trouble else ev.StorageRecovered())
        # Last: from here on another probe may start.
        self._since = None


def _absence(folder: Path) -> str:
    """Return why a folder is not there; empty if it is. Nothing is written: only pages belong in it."""
    try:
        folder.stat()
    except OSError as error:
        return _in_words(folder, str(error.strerror))
    return ""


def _in_words(folder: Path, reason: str) -> str:
    """Return what is wrong with a folder; of one that is gone, also what to do."""
    if reason == os.strerror(errno.ENOENT):
        return f"{folder} is gone; mount it, or put it back"
    return f"{folder}: {reason}"


def _lack_of_space(folder: Path, space: int) -> str:
    """Return why there is too little free space; empty if there is enough."""
    try:
        free = primitives.free_bytes(str(folder))
    except OSError as error:
        return str(error.strerror)
    return os.strerror(errno.ENOSPC) if free < space else ""
