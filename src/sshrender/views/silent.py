"""``--quiet`` and ``--progress none``: nothing, unless it is asked for."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.job.journalentries import JournalEntry
from sshrender.views import output


class SilentView:
    """Shows nothing but what SIGUSR1 asks for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def entry(self, entry: JournalEntry) -> None:
        """Nothing."""

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """See View.say."""
        output.line(line, self._stream, flush=True)

    def close(self) -> None:
        """Nothing."""
