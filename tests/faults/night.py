"""One job over a farm while something goes wrong, and what must be true of it afterwards."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.lab.badsan import BadSan
from tests.lab.farm import Farm
from tests.plain import page_content
from tests.stretch import stretched, wait_until

PROGRAM = [sys.executable, "-m", "sshrender", "render"]
PATIENCE = 150.0
"""Seconds within which a run must have ended by itself, whatever happened to it."""

TIDY = 12.0
"""Seconds within which a host must be free of us: the runner's own silence, and some."""


@dataclass
class Morning:
    """How a run ended. ``moved_on``: seconds, the longest time without a page after the fault."""

    code: int
    summary: dict[str, Any]
    stderr: str
    moved_on: float = 0.0


class Night:
    """A render that is started, disturbed, awaited and looked into.

    Rows may change ``words``, ``env`` and ``wraps`` (the command line, last) before it starts.
    ``sans``, ``rivals`` and ``marks`` are for what a row has to remember.
    """

    def __init__(
        self,
        farm: Farm,
        document: Path,
        reference: Path,
        words: Sequence[str] = (),
        inventory: Mapping[str, Any] | None = None,
        pages: int = 80,
    ) -> None:
        self.farm = farm
        self.out = farm.root / "out"
        self.shown = self.out  # where the output is seen from outside of the farm
        self.words = list(words)
        self.env: dict[str, str | None] = {}
        self.wraps: Callable[[list[str]], list[str]] = lambda command: command
        self._stdout, self._stderr = farm.root / "stdout", farm.root / "stderr"
        self.process: subprocess.Popen[str] | None = None
        self.sans: list[BadSan] = []
        self.rivals: list[subprocess.Popen[str]] = []
        self.marks: dict[str, float] = {}
        self._wanted = {path.name: path for path in sorted(reference.iterdir())[:pages]}
        hosts = farm.write_inventory(**(inventory or {}))
        self._command = [*PROGRAM, str(document), "--hosts", str(hosts), "-o", str(self.out), "--json"]

    def spawn(self) -> subprocess.Popen[str]:
        """The command, begun. It may say more than a pipe holds, so it writes to files."""
        command = self.wraps([*self._command, *self.words])
        with self._stdout.open("w") as stdout, self._stderr.open("w") as stderr:
            return self.farm.popen(command, env=self.env, stdout=stdout, stderr=stderr)

    def start(self) -> None:
        """Begin; returns at once."""
        self.process = self.spawn()

    def await_pages(self, count: int) -> None:
        """Wait until so many pages are delivered."""
        assert self.process is not None
        process = self.process

        def are_there() -> bool:
            has_ended = process.poll() is not None
            are_enough = len(self.delivered()) >= count
            assert are_enough or not has_ended, self._stderr.read_text()
            return are_enough

        wait_until(are_there, PATIENCE, f"{count} pages", pause=0.02)

    def finish(self) -> Morning:
        """Wait until it has ended by itself."""
        assert self.process is not None
        self.process.wait(stretched(PATIENCE))
        stdout, stderr = self._stdout.read_text(), self._stderr.read_text()
        assert "Traceback" not in stderr, stderr
        summary = json.loads(stdout) if stdout.startswith("{") else {}  # not what a terminal shows
        return Morning(self.process.returncode, summary, stderr, self._longest_pause())

    def _longest_pause(self) -> float:
        """Seconds: the longest time without a page after the fault, or after the run began."""
        entries = [each for each in self.journal() if each["type"] in ("run_started", "page_delivered")]
        began = max(self.seconds_of(each) for each in entries if each["type"] == "run_started")
        begin = max(began, self.marks.get("broken", 0.0))
        times = sorted(moment for each in entries if (moment := self.seconds_of(each)) > begin)
        return max((b - a for a, b in itertools.pairwise([begin, *times])), default=0.0)

    def again(self) -> Morning:
        """The same command once more, as it is."""
        self.wraps = lambda command: command
        self.start()
        return self.finish()

    def delivered(self) -> list[str]:
        """Names in the output folder that are pages."""
        return sorted(path.name for path in self.shown.glob("page-*")) if self.shown.is_dir() else []

    def missing(self) -> int:
        """How many pages are not there."""
        return len(self._wanted) - len(self.delivered())

    def is_complete(self) -> bool:
        """Whether every page is there."""
        return self.delivered() == sorted(self._wanted)

    def journal(self) -> list[dict[str, Any]]:
        """Every whole entry of the job's journal."""
        entries = []
        for path in self.farm.san.glob("*/journal.jsonl"):
            for line in path.read_bytes().splitlines():
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    continue
        return entries

    @staticmethod
    def seconds_of(entry: Mapping[str, Any]) -> float:
        """When a journal entry was made, as time.time() counts."""
        return datetime.fromisoformat(entry["time"]).timestamp()

    def check_files(self) -> None:
        """What has a page's name is that page, whole, and nothing else is there."""
        for name in self.delivered():
            assert page_content(self.shown / name) == page_content(self._wanted[name]), name
        strays = [path.name for path in self.shown.iterdir() if not path.name.startswith("page-")]
        assert strays == []

    def check_account(self, morning: Morning) -> None:
        """Every page is delivered, or failed with its story, or missing; the summary says which."""
        pages = morning.summary["pages"]
        assert len(self.delivered()) == pages["done"] + pages["suspect"]
        assert pages["done"] + pages["suspect"] + pages["failed"] + pages["missing"] == len(self._wanted)
        assert all(page["reason"] for page in morning.summary["failed_pages"])

    def check_no_page_twice(self) -> None:
        """No page that was delivered was rendered again by a later run."""
        first: dict[int, int] = {}
        for entry in self.journal():
            if entry["type"] == "page_delivered" and entry.get("attempt"):
                epoch = int(entry["attempt"].partition(".")[0])
                assert first.setdefault(entry["page"], epoch) == epoch, entry

    def check_hosts_are_free(self) -> None:
        """No process of ours is left on any host that can be asked."""

        def left() -> dict[str, list[str]]:
            return {host.name: found for host in self._asked() if (found := _ours(host))}

        wait_until(lambda: not left(), TIDY, left, pause=0.2)

    def _asked(self) -> list[Any]:
        return [host for host in self.farm.hosts if host.is_on()]


def _ours(host: Any) -> list[str]:
    listed = host.exec("ps", "-ww", "-eo", "args").stdout.splitlines()
    return [line for line in listed if "sshrender" in line.lower() and "ps -ww" not in line]
