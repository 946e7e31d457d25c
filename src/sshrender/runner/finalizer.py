"""What becomes of a drawn page: made safe on disk, measured, hashed, reported.

Runs in a thread of its own beside each slot, so that Ghostscript draws the next page meanwhile, and
takes several pages at a time while there is work queued: on a core that Ghostscript keeps busy, a page
looked at by itself costs four times what it does in a row (measured: caches are cold each time).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from sshrender.runner import wire
from sshrender.runner.taskqueue import Task, TaskQueue
from sshrender.storage import primitives

GATHER = 0.3
"""Seconds that a drawn page may wait for the next ones."""

LOW_SPACE = 8 * 1024 * 1024
"""Below this many bytes free the folder is tried: Ghostscript does not say that a disk is full."""


class RenderedFile(NamedTuple):
    """A page that a renderer has answered for; ``written`` is the file's name as it made it.

    ``complaints`` are its lines that say something went wrong; ``page_size`` is in points, where known.
    """

    task: Task
    written: str
    page_size: Optional[Tuple[float, float]]
    seconds: float
    cpu: float
    complaints: List[str]
    is_rendered: bool = True
    has_substituted_fonts: bool = False


class Finalizer(threading.Thread):
    """Takes drawn pages from a queue and posts ``rendered`` or ``failed`` for each."""

    def __init__(self, post: wire.Wire, folder: str, tasks: TaskQueue, epoch: int = 0) -> None:
        super().__init__(daemon=True, name="finisher")
        self._tasks = tasks
        self._wire = post
        self._folder = folder
        self._epoch = epoch
        self._queue: "queue.SimpleQueue[Optional[RenderedFile]]" = queue.SimpleQueue()
        self._is_urgent = threading.Event()

    def submit(self, drawn: RenderedFile) -> None:
        """Hand over a page; answered on the wire."""
        self._queue.put(drawn)

    def hurry(self) -> None:
        """Nothing more will come for now: report what there is."""
        self._is_urgent.set()

    def finish(self) -> None:
        """Report what is left, then end."""
        self._queue.put(None)
        self.hurry()
        self.join()

    def run(self) -> None:
        """The thread."""
        while True:
            self._is_urgent.clear()
            batch = [self._queue.get()]
            if self._tasks.has_waiting():
                self._is_urgent.wait(GATHER)
            while not self._queue.empty():
                batch.append(self._queue.get())
            for drawn in batch:
                if drawn is None:
                    return
                self._report(drawn)
            if not self._tasks.has_waiting():
                self._wire.flush()

    def _report(self, drawn: RenderedFile) -> None:
        complaints = drawn.complaints
        common: Dict[str, Any] = {
            "attempt": drawn.task.attempt,
            "page": drawn.task.page,
            "seconds": round(drawn.seconds, 4),
            "cpu": round(drawn.cpu, 2),
            "diagnostics": complaints,
        }
        try:
            # A page that never came out has no file, and the name is then the next page's.
            if not drawn.is_rendered:
                raise FileNotFoundError
            size, digest = self._secure(drawn)
        except OSError as error:
            kind, reason = self._blame(error, complaints)
            self._wire.post("failed", kind=kind, reason=reason, **common)
            return
        self._wire.post(
            "rendered",
            can_wait=True,
            bytes=size,
            sha256=digest,
            page_size=drawn.page_size,
            substituted_fonts=drawn.has_substituted_fonts,
            **common,
        )

    def _secure(self, drawn: RenderedFile) -> Tuple[int, str]:
        """Flush the page to the storage and read it once: (bytes, sha256)."""
        path = os.path.join(self._folder, drawn.task.output)
        primitives.rename(os.path.join(self._folder, drawn.written), path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
            if size == 0:
                raise FileNotFoundError
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        if primitives.free_bytes(self._folder) < LOW_SPACE:
            self._try_storage()
        return size, digest.hexdigest()

    def _try_storage(self) -> None:
        reason = primitives.try_write(os.path.join(self._folder, "work"), "e%d.space" % self._epoch)
        if reason is not None:
            raise StorageUnusable(reason)

    def _blame(self, error: OSError, complaints: List[str]) -> Tuple[str, str]:
        if error.errno in primitives.STORAGE_ERRORS or isinstance(error, StorageUnusable):
            return wire.STORAGE, str(error.strerror or error)
        try:
            self._try_storage()
            free = primitives.free_bytes(self._folder)
        except OSError as unusable:
            return wire.STORAGE, str(unusable)
        if free < LOW_SPACE:
            # Room for what the trial writes is not room for a page.
            return wire.STORAGE, "only %d KiB are free" % (free // 1024)
        said_last = ": " + complaints[-1] if complaints else ""
        return wire.NO_OUTPUT, "no page was drawn" + said_last


class StorageUnusable(OSError):
    """The shared folder cannot be written from here."""
