"""The thread that removes published pages of outvoted hosts, so that others can be published instead.

The delivered copy stays until the next delivery replaces it. If there is none, because the page fails
elsewhere or the run ends, the delivered copy is removed too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.workers.writeerrorscope import SAN, NameTrouble
from sshrender.core import events as ev
from sshrender.job.lease import LeaseLost
from sshrender.job.output import publish

RETRY_INTERVAL = 2.0
"""Seconds between two attempts while the storage fails."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that the thread gets to end."""


class PageRemover:
    """Removes files, and posts PagesReady when a page's name is free.

    ``fence`` raises LeaseLost once another coordinator has the job.
    """

    def __init__(self, plan: JobPlan, fence: Callable[[], None], post: Callable[[Any], None]) -> None:
        self._plan = plan
        self._fence = fence
        self._post = post
        self._queue: queue.SimpleQueue[tuple[int, Path, str] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def remove(self, page: int) -> None:
        """Remove the page's published file; return at once."""
        self._enqueue(page, self._plan.folder.pages / self._plan.page_file(page), "")

    def remove_delivered(self, page: int) -> None:
        """Remove the delivered copy of a withdrawn page, if it is still there; return at once."""
        # Only a page with a recorded digest: without it nothing shows whose file is there.
        sha256 = self._plan.history.withdrawn.get(page)
        if sha256:
            self._enqueue(page, self._target(page), sha256)

    def stop(self) -> None:
        """Stop removing: the next run removes the rest (pagerestoration.py)."""
        self._stop.set()
        # Wakes the thread.
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(SHUTDOWN_TIMEOUT)

    def remove_all_delivered(self) -> None:
        """Remove delivered copies of withdrawn pages that were not replaced by the end of the run."""
        outvoted = self._plan.history.withdrawn.items()
        files = {self._target(page): sha256 for page, sha256 in outvoted if sha256}
        if files:
            thread = threading.Thread(target=self._remove_delivered, args=(files,), daemon=True)
            thread.start()
            thread.join(SHUTDOWN_TIMEOUT)

    def _target(self, page: int) -> Path:
        return self._plan.output / self._plan.page_file(page)

    def _enqueue(self, page: int, file: Path, sha256: str) -> None:
        self._queue.put((page, file, sha256))
        # Started with the first task: few runs have one.
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="page remover")
            self._thread.start()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None and not self._stop.is_set():
            page, file, sha256 = task
            if sha256:
                self._remove_delivered({file: sha256})
                continue
            trouble = NameTrouble(self._plan.request.policy.name_wait)
            while not self._stop.is_set():
                try:
                    # Before the fence: what is removed is what was seen while the job was ours.
                    seen = publish.identity(file)
                    self._fence()
                    publish.remove(file, seen)
                except LeaseLost:
                    return  # the lease renewer reports it
                except OSError as error:
                    reason = f"cannot remove {file}: {error.strerror}"
                    if trouble.is_lasting(error, file.parent, "remove"):
                        self._post(ev.PageUnwritable(page, f"{SAN}: {reason}"))
                        break
                    # StorageFailed would pause the run for one name.
                    if not trouble.is_of_one_name:
                        self._post(ev.StorageFailed(reason))
                    self._stop.wait(RETRY_INTERVAL)
                else:
                    self._post(ev.PagesReady((page,)))
                    break

    def _remove_delivered(self, files: Mapping[Path, str]) -> None:
        for file, sha256 in files.items():
            with contextlib.suppress(
                OSError
            ):  # the output folder is the user's: what cannot be removed there stays
                seen = publish.identity(file)
                # The file may have been replaced by the page of another host, or by the user.
                if seen is None or _digest(file) != sha256:
                    continue
                try:
                    self._fence()
                except LeaseLost:
                    return  # the lease renewer reports it
                publish.remove(file, seen)


def _digest(file: Path) -> str:
    """Return the digest of a regular file; empty for anything else. Raises OSError."""
    if not stat.S_ISREG(file.lstat().st_mode):
        return ""
    # O_NONBLOCK: a FIFO that has taken the name since would block open(2).
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return publish.digest(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
