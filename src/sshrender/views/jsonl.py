"""``--progress jsonl``: write each journal entry as one line of JSON, for programs."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.views import output
from sshrender.views.protocol import Entry


class JsonLinesView:
    """Writes entries unchanged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def entry(self, entry: Entry) -> None:
        """See View.entry."""
        output.as_json(entry, self._stream)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Do nothing: the entries carry the same facts."""

    def print_line(self, line: str) -> None:
        """Write a status line as an entry of the type ``status``."""
        output.as_json({"schema": 1, "type": "status", "text": line}, self._stream)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()
