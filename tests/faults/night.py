"""One job over a farm while something goes wrong, and what must be true of it afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.farm import Farm

PROGRAM = [sys.executable, "-m", "sshrender", "render"]
PATIENCE = 150.0
"""Seconds within which a run must have ended by itself, whatever happened to it."""

TIDY = 12.0
"""Seconds within which a host must be free of us: the runner's own silence, and some."""


@dataclass
class Morning:
    """How a run ended. ``moved_on`` is the longest time without a page after the fault, in seconds."""

    code: int
    summary: dict[str, Any]
    stderr: str
    moved_on: float = 0.0
    journal: list[dict[str, Any]] = field(default_factory=list)


class Night:
    """A render that is started, disturbed, awaited and looked into."""

    def __init__(
        self,
        farm: Farm,
        document: Path,
        reference: Path,
        words: Sequence[str] = (),
        inventory: dict[str, Any] | None = None,
        env: dict[str, str | None] | None = None,
    ) -> None:
        self.farm = farm
        self.out = farm.root / "out"
        self._reference = reference
        self._env = env
        hosts = farm.write_inventory(**(inventory or {}))
        self._command = [*PROGRAM, str(document), "--hosts", str(hosts), "-o", str(self.out)]
        self._command += ["--json", *words]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        pipe = subprocess.PIPE
        self.process = self.farm.popen(self._command, env=self._env, stdout=pipe, stderr=pipe)

    def await_pages(self, count: int) -> None:
        """Wait until so many pages are delivered."""
        assert self.process is not None
        end = time.monotonic() + PATIENCE
        while len(list(self.out.glob("page-*"))) < count:
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < end, f"no {count} pages"
            time.sleep(0.02)

    def finish(self) -> Morning:
        """Wait until it has ended by itself."""
        assert self.process is not None
        slowest, last, seen = 0.0, time.monotonic(), len(self.delivered())
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            time.sleep(0.05)
            now = len(self.delivered())
            if now != seen:
                slowest, last, seen = max(slowest, time.monotonic() - last), time.monotonic(), now
        stdout, stderr = self.process.communicate()
        assert "Traceback" not in stderr, stderr
        summary = json.loads(stdout or "{}")
        return Morning(self.process.returncode, summary, stderr, slowest, self.journal())

    def again(self) -> Morning:
        """The same command once more."""
        self.start()
        return self.finish()

    def delivered(self) -> list[str]:
        """Names in the output folder that are pages."""
        return sorted(path.name for path in self.out.glob("page-*")) if self.out.is_dir() else []

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

    def check_pages(self, morning: Morning) -> None:
        """What has a page's name is that page, whole; what is not there is accounted for."""
        wanted = {path.name: path for path in self._reference.iterdir()}
        for name in self.delivered():
            assert (self.out / name).read_bytes() == wanted[name].read_bytes(), f"{name} is another"
        strays = [path.name for path in self.out.iterdir() if not path.name.startswith("page-")]
        assert strays == []
        pages = morning.summary["pages"]
        assert len(self.delivered()) == pages["done"] + pages["suspect"]
        assert pages["done"] + pages["suspect"] + pages["failed"] + pages["missing"] == len(wanted)
        assert all(page["reason"] for page in morning.summary["failed_pages"])

    def check_no_page_twice(self) -> None:
        """No proved page was rendered for delivery a second time."""
        pages = [entry["page"] for entry in self.journal() if entry["type"] == "page_delivered"]
        assert len(pages) == len(set(pages))

    def check_hosts_are_free(self) -> None:
        """No process of ours is left on any host that can be asked."""
        end = time.monotonic() + TIDY
        while left := {host.name: found for host in self._asked() if (found := _ours(host))}:
            assert time.monotonic() < end, left
            time.sleep(0.2)

    def _asked(self) -> list[Any]:
        return [host for host in self.farm.hosts if host.is_on()]


def _ours(host: Any) -> list[str]:
    listed = host.exec("ps", "-ww", "-eo", "args").stdout.splitlines()
    return [line for line in listed if "sshrender" in line.lower() and "ps -ww" not in line]
