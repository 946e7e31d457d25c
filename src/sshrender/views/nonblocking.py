"""A stream that never blocks its writer and ignores the loss of its reader.

A terminal may be stopped with Ctrl-S, closed, or cut off together with its ssh session, and the reader
of a pipe may exit: none of these may slow or end the job.
"""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from typing import TextIO

MAX_WAITING = 1 << 20
"""Characters that may wait for a slow reader; further text is dropped."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that a slow reader has at the end."""


class NonBlockingStream(io.TextIOBase):
    """Writes to ``stream`` in its own thread, at every flush, with ``prefix`` before each line."""

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self._stream = stream
        self._prefix = prefix
        self._parts: list[str] = []
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # Counted by both threads without a lock: a lost update only shifts the limit a little.
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name="narration")
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase calls it an attribute
        """Return the encoding of the wrapped stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Return whether the wrapped stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the wrapped stream."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Keep the text until the next flush. Never fails and never waits."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Hand the kept text to the writing thread; return at once."""
        text = "".join(self._parts)
        if self._prefix:
            text = "".join(self._prefix + line for line in text.splitlines(keepends=True))
        self._parts.clear()
        # Dropped and not waited for: a terminal that is stopped must not stop the job.
        if text and self._waiting < MAX_WAITING:
            self._waiting += len(text)
            self._queue.put(text)

    def drain(self) -> None:
        """Write the remaining text, for at most SHUTDOWN_TIMEOUT seconds.

        Nothing may be written afterwards.
        """
        self.flush()
        self._queue.put(None)
        self._thread.join(SHUTDOWN_TIMEOUT)

    def _work(self) -> None:
        while (text := self._queue.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # the reader exited, or the stream was closed
                self._stream.write(text)
                self._stream.flush()
            self._waiting -= len(text)
