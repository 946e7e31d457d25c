"""A stream that never makes its writer wait, and that outlives its reader.

A terminal may be stopped with Ctrl-S, closed, or cut off with the ssh session it belongs to, and a
pipe's reader may go: the job must see none of that.
"""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from typing import TextIO

MOST = 1 << 20
"""Characters that may wait for a slow reader; what comes on top is not shown."""

CLOSING = 1.0
"""Seconds that a slow reader gets at the end."""


class NonBlockingStream(io.TextIOBase):
    """Writes to ``stream`` in a thread of its own, at every flush, ``prefix`` before each line."""

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self._stream = stream
        self._prefix = prefix
        self._parts: list[str] = []
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name="narration")
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase calls it an attribute
        """The stream's own."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """The stream's own."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's own."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Never fails and never waits."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Have it written; returns at once."""
        text = "".join(self._parts)
        if self._prefix:
            text = "".join(self._prefix + line for line in text.splitlines(keepends=True))
        self._parts.clear()
        if text and self._waiting < MOST:
            self._waiting += len(text)
            self._queue.put(text)

    def drain(self) -> None:
        """Write what is left, waiting at most CLOSING seconds; nothing may be written afterwards."""
        self.flush()
        self._queue.put(None)
        self._thread.join(CLOSING)

    def _work(self) -> None:
        while (text := self._queue.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # the reader has gone, or closed it
                self._stream.write(text)
                self._stream.flush()
            self._waiting -= len(text)
