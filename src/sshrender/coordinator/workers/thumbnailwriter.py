"""The thread that writes thumbnails, so that a slow or hanging SAN never delays the loop."""

from __future__ import annotations

import queue
import threading

from sshrender.job.folder import JobFolder
from sshrender.job.output import thumbnails
from sshrender.job.verification.errors import VerificationFailed

MAX_WAITING = 2000
"""Thumbnails in memory, some 20 MB, while the storage is slow; further ones are dropped."""


class ThumbnailWriter:
    """Writes thumbnails one after the other, and counts those that are lost."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._queue: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="thumbnails")
        self.lost = 0
        self.reason = ""
        try:
            self._thread.start()
            self._is_running = True
        except RuntimeError:  # too many threads here: a job is complete without thumbnails
            self._is_running = False

    def submit(self, page_file: str, data: bytes) -> None:
        """Queue the thumbnail of a page; return at once."""
        if not self._is_running:
            self._lose("cannot start a thread to write them")
        # qsize() is approximate, and so is the limit.
        elif self._queue.qsize() < MAX_WAITING:
            self._queue.put((page_file, data))
        else:
            self._lose("the shared folder was too slow")

    def close(self, timeout: float) -> None:
        """Write the remaining thumbnails."""
        if self._is_running:
            self._queue.put(None)
            self._thread.join(timeout)

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self.reason = self.reason or reason

    def _work(self) -> None:
        while (thumbnail := self._queue.get()) is not None:
            try:
                thumbnails.save(self._folder, *thumbnail)
            except OSError as error:
                self._lose(str(error.strerror or error))
            except VerificationFailed as error:
                self._lose(f"not a valid thumbnail: {error}")
