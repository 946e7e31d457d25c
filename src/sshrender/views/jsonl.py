"""``--progress jsonl``: each journal entry as a line, for programs that look on."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.views import output
from sshrender.views.protocol import Entry


class JsonLinesView:
    """Writes entries as they are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def entry(self, entry: Entry) -> None:
        """See View.entry."""
        output.as_json(entry, self._stream)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Nothing: the entries say it all."""

    def say(self, line: str) -> None:
        """A status line, as an entry of its own."""
        output.as_json({"schema": 1, "type": "status", "text": line}, self._stream)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()
