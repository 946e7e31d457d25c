"""The thread that removes published pages of outvoted hosts, so that others can be published instead.

The user keeps the page until then: what was delivered is replaced by the next delivery.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sshrender.core import events as ev
from sshrender.job import publish
from sshrender.job.lease import LeaseLost

RETRY = 2.0
CLOSING = 1.0


class Withdrawer:
    """Posts PagesReady when a page's name is free. ``fence`` raises LeaseLost: another's to remove."""

    def __init__(self, fence: Callable[[], None], post: Callable[[Any], None]) -> None:
        self._fence = fence
        self._post = post
        self._queue: queue.SimpleQueue[tuple[int, Path] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def remove(self, page: int, file: Path) -> None:
        """Remove the page's file; returns at once."""
        self._queue.put((page, file))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="withdrawer")
            self._thread.start()

    def stop(self) -> None:
        """Remove no more: what is left is removed when the job is taken up again (recall.py)."""
        self._stop.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(CLOSING)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None and not self._stop.is_set():
            page, file = task
            while not self._stop.is_set():
                try:
                    seen = publish.identity(file)
                    self._fence()
                    publish.remove(file, seen)
                except LeaseLost:
                    return  # the keeper tells
                except OSError as error:
                    self._post(ev.StorageFailed(f"cannot remove {file}: {error.strerror}"))
                    self._stop.wait(RETRY)
                else:
                    self._post(ev.PagesReady((page,)))
                    break
