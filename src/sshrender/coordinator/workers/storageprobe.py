"""Can the SAN and the output be written, seen from here? Asked in a thread, because it may hang."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sshrender.coordinator.plan import JobPlan
from sshrender.core import events as ev
from sshrender.storage import primitives

ROOM = 2
"""Pages, each as large as the largest so far, that must have room: one is drawn while one is proved."""


class StorageProbe:
    """Looks when asked to; answers StorageFailed or StorageRecovered."""

    def __init__(
        self,
        plan: JobPlan,
        post: Callable[[ev.StorageFailed | ev.StorageRecovered], None],
        epoch: int = 0,
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """``trouble``: why no page can be taken though the folders are well; empty where one can."""
        self._trouble = trouble
        self._name = f"e{epoch}.coordinator"
        self._plan = plan
        self._folders = (plan.folder.work, plan.output)
        self._post = post
        self._since: float | None = None

    def start(self) -> None:
        """Start a look, unless one is under way; one that does not end is an answer too."""
        if self._since is None:
            self._since = time.monotonic()
            largest = max((record.bytes for record in self._plan.history.pages.values()), default=0)
            thread = threading.Thread(
                target=self._probe, args=(ROOM * largest,), daemon=True, name="storage probe"
            )
            try:
                thread.start()
            except RuntimeError:
                self._since = None
                self._post(ev.StorageFailed("no thread can be started to look at it"))
        elif time.monotonic() - self._since > primitives.HANG_TIMEOUT:
            self._post(ev.StorageFailed(f"{self._folders[0]} does not answer"))

    def _probe(self, room: int) -> None:
        for folder in self._folders:
            reason = primitives.try_write(str(folder), self._name) or _lacks(folder, room)
            if reason:
                self._post(ev.StorageFailed(f"{folder}: {reason}"))
                break
        else:
            trouble = self._trouble()
            self._post(ev.StorageFailed(trouble) if trouble else ev.StorageRecovered())
        self._since = None


def _lacks(folder: Path, room: int) -> str:
    """Why there is too little room; empty where there is enough."""
    try:
        free = primitives.free_bytes(str(folder))
    except OSError as error:
        return str(error.strerror)
    return os.strerror(errno.ENOSPC) if free < room else ""
