"""A job of a pool, as its journal tells it, and what must be true of each at its end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.entries import lines_of
from tests.plain import SMOOTHED

Entry = dict[str, Any]


class PoolJob:
    """The one job of a shared folder, or the job in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def journal(self, kind: str = "") -> list[Entry]:
        """Return the entries of its journal, perhaps of one kind."""
        paths = [*self._folder.glob("*/journal.jsonl"), *self._folder.glob("journal.jsonl")]
        found = [entry for path in paths for entry in lines_of(path)]
        return [entry for entry in found if not kind or entry["type"] == kind]

    def delivered(self) -> list[int]:
        """Return the pages that were delivered, in that order."""
        return [entry["page"] for entry in self.journal("page_delivered")]

    def hosts(self) -> set[str]:
        """Return the hosts that have delivered pages."""
        return {entry["host"] for entry in self.journal("page_delivered")}

    def reasons(self, state: str) -> dict[str, str]:
        """Return the hosts that came into a state, and why."""
        changes = [entry for entry in self.journal("host_state") if entry["state"] == state]
        return {entry["host"]: entry["reason"] for entry in changes}

    def require_whole(self, pages: int) -> None:
        """Assert that each page was delivered once, and that no page and no host was charged."""
        assert sorted(self.delivered()) == list(range(1, pages + 1))
        assert self.journal("attempt_failed") == []
        assert not self.reasons("quarantined"), self.reasons("quarantined")
        assert not self.reasons("refused"), self.reasons("refused")


def require_plain(delivered: Path, document: Path, plain: Path, dpi: int) -> None:
    """Assert that the delivered pages are those of plain Ghostscript, byte for byte."""
    plain.mkdir()
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", f"-r{dpi}", *SMOOTHED]
    command += [f"-sOutputFile={plain}/page-%04d.png", str(document)]
    subprocess.run(command, check=True, capture_output=True)
    names = sorted(path.name for path in plain.iterdir())
    assert names == sorted(path.name for path in delivered.glob("*.png"))
    assert [
        each for each in names if (delivered / each).read_bytes() != (plain / each).read_bytes()
    ] == []
