"""The thread that writes the journal, so that a slow or hanging SAN never delays the loop.

It writes nothing into a journal that has become another coordinator's.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from sshrender.job.journal import JournalWriter
from sshrender.job.journalentries import JournalEntry
from sshrender.job.lease import LeaseLost

GATHER = 0.05
"""Seconds: what happens together is written together, because every flush is a round trip."""

RETRY = 2.0


class JournalWriterThread:
    """Appends entries in order; keeps them while the storage is away.

    ``fence`` raises LeaseLost when the journal is not ours any more.
    """

    def __init__(
        self, writer: JournalWriter, fence: Callable[[], None], trouble: Callable[[str], None]
    ) -> None:
        self._writer = writer
        self._fence = fence
        self._trouble = trouble
        self._is_closing = False
        self._queue: queue.SimpleQueue[JournalEntry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def write(self, entry: JournalEntry) -> None:
        """Queue an entry."""
        self._queue.put(entry)

    def close(self, timeout: float) -> bool:
        """Write and sync what is queued; False when the storage did not take it in time."""
        self._is_closing = True
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            if not self._is_closing:
                time.sleep(GATHER)
            while not self._queue.empty():
                batch.append(self._queue.get())
            is_open = None not in batch
            self._persist([entry for entry in batch if entry is not None])
        self._writer.close()

    def _persist(self, entries: list[JournalEntry]) -> None:
        """Once appended, entries are not appended again: only the flush is repeated."""
        is_appended = not entries
        while True:
            try:
                if not is_appended:
                    self._fence()
                    self._writer.append(entries)
                    is_appended = True
                self._writer.sync()
                return
            except LeaseLost:
                return  # the keeper tells; what we did is proved again by whoever has the job now
            except OSError as error:
                self._trouble(f"cannot write the journal: {error.strerror}")
                time.sleep(RETRY)
