"""Finishes rendered pages: encodes rasters, and names, syncs, measures, hashes and reports each file.

Runs in a thread beside each slot, so that Ghostscript renders the next page meanwhile. While work is
queued, the thread takes several pages at a time: on a core that Ghostscript keeps busy, a page that is
finished alone costs four times as much as in a row (measured: the caches are cold each time).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import base64
import hashlib
import os
import queue
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from sshrender.runner import wire
from sshrender.runner.host import processlimits
from sshrender.runner.rendering import pageencoder, thumbnailbudget
from sshrender.runner.rendering.pageencoder import Check, EncodingFailed, EncodingStopped, PageEncoder
from sshrender.runner.rendering.rendererinterface import RasterFile, RenderedFile
from sshrender.runner.rendering.warmsession import REASONS
from sshrender.runner.slots.taskqueue import TaskQueue
from sshrender.storage import primitives

GATHER = 0.3
"""Seconds that a rendered page may wait for the next ones."""

MAX_RASTERS = 3
"""Rasters that may wait to be encoded: each takes memory, and more of them make no page faster."""

_ENOUGH = MAX_RASTERS - 2
"""Pages that wait behind the one in hand and end the gathering: one more raster has room then, so that
the renderer does not stand still. Without this it did, for GATHER after three pages of 0.04 s."""

MAX_CANCELLED = 1000
"""Cancelled attempts that are remembered: more than a host has at a time."""

LOW_SPACE = 8 * 1024 * 1024
"""Bytes free in the folder below which a test file is written: Ghostscript does not report a full
disk."""


class Finalizer(threading.Thread):
    """Takes rendered pages from a queue and posts ``rendered`` or ``failed`` for each."""

    def __init__(
        self,
        post: wire.Wire,
        folder: str,
        tasks: TaskQueue,
        epoch: int = 0,
        encoder: Optional[PageEncoder] = None,
        page_timeout: float = float("inf"),
    ) -> None:
        super().__init__(daemon=True, name="finalizer")
        self._tasks = tasks
        self._wire = post
        self._folder = folder
        self._epoch = epoch
        self._queue: "queue.SimpleQueue[Optional[RenderedFile]]" = queue.SimpleQueue()
        self._is_urgent = threading.Event()
        self._encoder = encoder or PageEncoder()
        # Seconds that rendering and encoding of a page may take together.
        self._page_timeout = page_timeout
        # Attempts, which have each their own name: one that was never here does no harm.
        self._cancelled: Deque[str] = deque(maxlen=MAX_CANCELLED)
        self._raster_room = threading.Semaphore(MAX_RASTERS)

    def submit(self, rendered: RenderedFile) -> None:
        """Hand over a page; the answer goes to the coordinator. Blocks while many rasters wait."""
        # A raster is charged to the limit before it is queued, and given back when it is encoded.
        if rendered.raster is not None:
            for _ in range(_room(rendered.raster)):
                if not self._raster_room.acquire(blocking=False):
                    self.hurry()  # what is gathered takes the room
                    while not self._raster_room.acquire(timeout=GATHER):
                        self.hurry()
        self._queue.put(rendered)
        if rendered.raster is not None and self._queue.qsize() >= _ENOUGH:
            self.hurry()

    def cancel(self, attempt: str) -> None:
        """Stop encoding an attempt, from another thread, if it is waiting here or is being encoded."""
        # deque.append() is atomic.
        self._cancelled.append(attempt)

    def hurry(self) -> None:
        """Report now: no further page comes soon."""
        self._is_urgent.set()

    def finish(self) -> None:
        """Report what is left, end the thread and wait for it."""
        # None ends the thread when all that was queued before it is reported.
        self._queue.put(None)
        self.hurry()
        self.join()

    def run(self) -> None:
        """Report pages until ``finish`` is called."""
        processlimits.lower_own_priority()  # encoding was half of the renderer's work
        while True:
            batch = [self._queue.get()]
            # Not with pages queued already: their rasters take memory.
            if self._tasks.has_waiting() and self._queue.qsize() < _ENOUGH:
                self._is_urgent.wait(GATHER)
            # Between the wait and the queue: what was put before a call of hurry() is taken now, and
            # a call from now on ends the next wait.
            self._is_urgent.clear()
            while not self._queue.empty():
                batch.append(self._queue.get())
            for rendered in batch:
                if rendered is None:
                    return
                self._report(rendered)
            # Without further pages nothing comes that would take these messages along.
            if not self._tasks.has_waiting():
                self._wire.flush()

    def _report(self, rendered: RenderedFile) -> None:
        lines = rendered.diagnostics
        common: Dict[str, Any] = {
            "attempt": rendered.task.attempt,
            "page": rendered.task.page,
            "seconds": round(rendered.seconds, 4),
            "cpu": round(rendered.cpu, 2),
            "diagnostics": lines,
        }
        # thread_time counts this thread alone: the renderer's CPU time was measured by the session.
        began, cpu = time.monotonic(), time.thread_time()
        try:
            if rendered.raster is not None:
                self._encode(rendered, rendered.raster)
                common["seconds"] = round(rendered.seconds + time.monotonic() - began, 4)
                common["cpu"] = round(rendered.cpu + time.thread_time() - cpu, 2)
            # A page that did not come out has no file; the next page gets the name then.
            if not rendered.is_rendered:
                # It takes the same way as a file that is missing, which blames the storage or the page.
                raise FileNotFoundError
            size, digest = self._secure(rendered)
        except OSError as error:
            kind, reason = self._blame(error, lines)
            self._wire.post("failed", kind=kind, reason=reason, **common)
            return
        # Not the storage: the raster itself is wrong, so the page is rendered again.
        except EncodingFailed as error:
            self._wire.post("failed", kind=error.kind, reason=str(error), **common)
            return
        self._wire.post(
            "rendered",
            can_wait=True,
            bytes=size,
            sha256=digest,
            page_size=rendered.page_size,
            substituted_fonts=rendered.has_substituted_fonts,
            **common,
        )

    def _encode(self, rendered: RenderedFile, raster: RasterFile) -> None:
        """Make the page's file of its raster. Raises OSError or EncodingFailed."""
        try:
            if rendered.is_rendered:
                path = os.path.join(self._folder, rendered.written)
                small = self._encoder.encode(raster, path, self._check(rendered))
                self._post_thumbnail(rendered.task.page, small)
            # Nothing came out, so what is there is no page.
            else:
                pageencoder.discard(raster)
        except (OSError, EncodingFailed):
            raise
        except Exception as error:  # noqa: BLE001 - the page fails, and this thread reports it
            raise EncodingFailed("%s: %s" % (type(error).__name__, error)) from None
        # In any case, or the slot's thread would wait for ever.
        finally:
            for _ in range(_room(raster)):
                self._raster_room.release()

    def _check(self, rendered: RenderedFile) -> Check:
        """Return what ends the encoding of a page that is cancelled, or takes too long."""
        attempt = rendered.task.attempt
        deadline = time.monotonic() + max(0.0, self._page_timeout - rendered.seconds)

        def check() -> None:
            if attempt in self._cancelled:
                raise EncodingStopped(wire.KILLED, REASONS[wire.KILLED])
            if time.monotonic() > deadline:
                raise EncodingStopped(wire.TIMEOUT, REASONS[wire.TIMEOUT])

        return check

    def _post_thumbnail(self, page: int, data: bytes) -> None:
        if 0 < len(data) <= thumbnailbudget.MAX_SIZE:
            text = base64.b64encode(data).decode("ascii")
            self._wire.post("thumbnail", can_wait=True, page=page, data=text)

    def _secure(self, rendered: RenderedFile) -> Tuple[int, str]:
        """Rename the file, sync it and read it once. Return its bytes and SHA-256. Raises OSError."""
        path = os.path.join(self._folder, rendered.task.output)
        primitives.rename(os.path.join(self._folder, rendered.written), path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            # Before the report: the coordinator publishes the page when it reads that.
            os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
            # An empty file is not a page; the storage is examined (_blame).
            if size == 0:
                raise FileNotFoundError
            digest = hashlib.sha256()
            # A mebibyte at a time: files may be large, and the renderer needs the memory.
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        # A full disk is noticed here, because the next page would be cut off in silence.
        if primitives.free_bytes(self._folder) < LOW_SPACE:
            self._try_storage()
        return size, digest.hexdigest()

    def _try_storage(self) -> None:
        reason = primitives.try_write(os.path.join(self._folder, "work"), "e%d.space" % self._epoch)
        if reason is not None:
            raise StorageUnusable(reason)

    def _blame(self, error: OSError, lines: List[str]) -> Tuple[str, str]:
        """Return the kind and the reason of a failure: of the storage, or of the page."""
        # Such an error already says that the storage has failed.
        if error.errno in primitives.STORAGE_ERRORS or isinstance(error, StorageUnusable):
            return wire.STORAGE, str(error.strerror or error)
        try:
            # Any other error: a test file shows whether the storage works.
            self._try_storage()
            free = primitives.free_bytes(self._folder)
        except OSError as unusable:
            return wire.STORAGE, str(unusable)
        if free < LOW_SPACE:
            # There was room for the test file, which does not mean room for a page.
            return wire.STORAGE, "only %d KiB are free" % (free // 1024)
        # Ghostscript skips a page without width or height in silence (measured with 10.00).
        last = lines[-1] if lines else "nothing was reported; its MediaBox may be empty"
        return wire.NO_OUTPUT, "no page was rendered: " + last


def _room(raster: RasterFile) -> int:
    """Return how many ordinary rasters a raster counts as: none waits beside a large one."""
    return MAX_RASTERS if raster.is_large else 1


class StorageUnusable(OSError):
    """The folder cannot be written from this host."""
