"""The thread that keeps thumbnails: what they cost, or that the SAN hangs, is nobody else's trouble."""

from __future__ import annotations

import queue
import threading

from sshrender.job import thumbnails
from sshrender.job.folder import JobFolder
from sshrender.job.verification.errors import VerificationFailed

MAX_WAITING = 2000
"""Thumbnails in memory, some 20 MB, while the storage is slow; what comes on top is lost."""


class ThumbnailWriter:
    """Takes thumbnails from the loop and writes them one after the other."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._queue: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="gallery")
        self.lost = 0
        self.reason = ""
        try:
            self._thread.start()
            self._is_running = True
        except RuntimeError:  # no room for a thread: a job without thumbnails is a whole job
            self._is_running = False

    def submit(self, page_file: str, data: bytes) -> None:
        """Keep this picture of a page; returns at once."""
        if not self._is_running:
            self._lose("no thread can be started to write them")
        elif self._queue.qsize() < MAX_WAITING:
            self._queue.put((page_file, data))
        else:
            self._lose("the shared folder was too slow")

    def close(self, timeout: float) -> None:
        """Write what is left."""
        if self._is_running:
            self._queue.put(None)
            self._thread.join(timeout)

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self.reason = self.reason or reason

    def _work(self) -> None:
        while (picture := self._queue.get()) is not None:
            try:
                thumbnails.save(self._folder, *picture)
            except OSError as error:
                self._lose(str(error.strerror or error))
            except VerificationFailed as error:
                self._lose(f"it was no thumbnail: {error}")
