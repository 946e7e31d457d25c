"""The thread that writes the journal, so that a slow or hanging SAN never delays the loop.

It stops writing when another coordinator has taken the job over.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from sshrender.coordinator.workers.writeerrorscope import NameTrouble
from sshrender.core.policy import NAME_WAIT
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.lease import LeaseLost

BATCH_INTERVAL = 0.05
"""Seconds in which entries are gathered for one write: every flush is a round trip to the file
server."""

RETRY_INTERVAL = 2.0
"""Seconds between two attempts to write while the storage fails."""


class JournalWriterThread:
    """Appends entries in order; keeps them in memory while the storage fails.

    ``fence`` raises LeaseLost once another coordinator has the job. ``trouble`` gets the reason of a
    failure, and whether it is final: the journal alone cannot be written, for longer than NAME_WAIT.
    """

    def __init__(
        self, writer: JournalWriter, fence: Callable[[], None], trouble: Callable[[str, bool], None]
    ) -> None:
        self._writer = writer
        self._fence = fence
        self._trouble = trouble
        self._is_closing = False
        self._queue: queue.SimpleQueue[JournalEntry | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def write(self, entry: JournalEntry) -> None:
        """Queue an entry."""
        self._queue.put(entry)

    def notify(self, written: threading.Event) -> None:
        """Set ``written`` when everything that is queued by now has been written and flushed."""
        self._queue.put(written)

    def close(self, timeout: float) -> bool:
        """Write and flush the queue; return False if that took too long."""
        self._is_closing = True
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            # At the end nothing more comes, and the run waits for this thread.
            if not self._is_closing:
                time.sleep(BATCH_INTERVAL)
            while not self._queue.empty():
                batch.append(self._queue.get())
            # The batch that ends the thread is written, too.
            is_open = None not in batch
            if self._persist([entry for entry in batch if isinstance(entry, JournalEntry)]):
                for each in batch:
                    if isinstance(each, threading.Event):
                        each.set()
        self._writer.close()

    def _persist(self, entries: list[JournalEntry]) -> bool:
        """Append and flush the entries, again until it works; return False if the job is another's.

        Entries that were appended are only flushed again.
        """
        # Without entries there is only a flush to do, as for a mark.
        is_appended, trouble = not entries, NameTrouble(NAME_WAIT)
        while True:
            try:
                if not is_appended:
                    # Before each try, also after a long pause: the journal may be another
                    # coordinator's by now.
                    self._fence()
                    self._writer.append(entries)
                    is_appended = True
                # A failed flush leaves the entries appended: only the flush is repeated.
                self._writer.sync()
                return True
            except LeaseLost:
                # The lease renewer reports it; the other coordinator verifies our pages again.
                return False
            except OSError as error:
                path = self._writer.path
                is_final = trouble.is_lasting(error, path.parent, "journal")
                self._trouble(f"cannot write the journal {path}: {error.strerror}", is_final)
                if is_final:
                    return False  # the run ends; the next one finds its pages
                time.sleep(RETRY_INTERVAL)
