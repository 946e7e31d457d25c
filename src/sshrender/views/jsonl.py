"""``--progress jsonl``: write each journal entry as a line, for programs that follow a run."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.job.journalentries import JournalEntry
from sshrender.job.journalformat import as_fields
from sshrender.views import output


class JsonLinesView:
    """Writes entries unchanged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry."""
        output.as_json(as_fields(entry), self._stream)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Do nothing: the entries carry the same facts."""

    def print_line(self, line: str) -> None:
        """Write a status line as an entry of the type ``status``."""
        output.as_json({"schema": 1, "type": "status", "text": line}, self._stream)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()
