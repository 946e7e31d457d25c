"""Make the names of pages survive a power failure: flush their folders before a page is delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from sshrender.storage.files import sync_folder


class Folders:
    """Flushes folders. ``refused`` is called once for each whose file system cannot do that.

    Any thread may call it.
    """

    def __init__(self, refused: Callable[[Path, str], None]) -> None:
        self._refused = refused
        self._lock = threading.Lock()
        self._left_out: set[Path] = set()

    def sync(self, folders: Iterable[Path]) -> None:
        """Make names that were linked or renamed in a folder durable. Raises OSError."""
        for folder in sorted(set(folders) - self._left_out):
            try:
                reason = sync_folder(folder)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder)) from error
            # Reported once: such a file system refuses each time, and each thread.
            with self._lock:
                is_new = bool(reason) and folder not in self._left_out
                if reason:
                    self._left_out.add(folder)
            if is_new:
                self._refused(folder, reason)
