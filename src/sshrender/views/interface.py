"""The interface through which the coordinator feeds a view."""

from __future__ import annotations

from typing import Protocol

from sshrender.core.snapshot import Snapshot
from sshrender.job.journal.journalentries import JournalEntry


class View(Protocol):
    """One way to show a run. The coordinator's loop calls it, so no method may block."""

    def entry(self, entry: JournalEntry) -> None:
        """Show an entry that was written to the journal."""
        ...

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Show the state of the run; called a few times a second. ``now`` is monotonic, in seconds."""
        ...

    def print_line(self, line: str) -> None:
        """Show a line that is not a journal entry, such as the status that SIGUSR1 requests."""
        ...

    def close(self) -> None:
        """End the view when the run has ended, and restore the terminal."""
        ...
