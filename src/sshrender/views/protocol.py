"""What the coordinator tells a view."""

from __future__ import annotations

from typing import Protocol

from sshrender.core.snapshot import Snapshot
from sshrender.job.journalentries import JournalEntry


class View(Protocol):
    """One way of showing a run. Called from the coordinator's loop; must not block."""

    def entry(self, entry: JournalEntry) -> None:
        """Something was written to the journal."""
        ...

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """How things stand; a few times a second. ``now`` is monotonic seconds."""
        ...

    def say(self, line: str) -> None:
        """Show a line of narration that is no event (SIGUSR1's status)."""
        ...

    def close(self) -> None:
        """The run is over; leave the terminal as it was."""
        ...
