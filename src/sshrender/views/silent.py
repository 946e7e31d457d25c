"""``--quiet`` and ``--progress none``: show nothing but the status line that SIGUSR1 requests."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.views import safeprint


class SilentView:
    """Prints nothing but explicit lines, such as the status line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def entry(self, entry: JournalEntry) -> None:
        """Do nothing."""

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Do nothing."""

    def print_line(self, line: str) -> None:
        """See View.print_line."""
        safeprint.line(line, self._stream, flush=True)

    def close(self) -> None:
        """Do nothing."""
