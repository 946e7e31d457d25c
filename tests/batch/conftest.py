"""A cluster of this machine whose commands are stand-ins, and an inventory with a pool of it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.batch.fakebatch import Cluster
from tests.cli.conftest import Paced, paced
from tests.entries import lines_of
from tests.stretch import wait_until

__all__ = ["Paced", "paced"]

COMMANDS = {
    "torque": ("qsub", "qstat", "qdel", "qhold", "qrls", "pbsnodes"),
    "openpbs": ("qsub", "qstat", "qdel", "qhold", "qrls", "pbsnodes"),
    "htcondor": (
        "condor_submit",
        "condor_q",
        "condor_rm",
        "condor_hold",
        "condor_release",
        "condor_status",
        "condor_version",
        "condor_ssh_to_job",
    ),
}


@dataclass
class Batch:
    """The cluster, and what the tests ask of it."""

    home: Path
    engine: str
    cluster: Cluster

    @property
    def hosts(self) -> str:
        return str(self.home / "hosts.toml")

    def write(self, **pool: Any) -> None:
        """Write the inventory; ``pool`` changes keys of its one pool."""
        fields = {"name": "cluster", "engine": self.engine, "pilots": 2, "walltime": "10m", **pool}
        lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
        text = f'[san]\npath = "{self.home / "san"}"\n[[pools]]\n' + "\n".join(lines) + "\n"
        Path(self.hosts).write_text(text)

    def configure(self, **fields: Any) -> None:
        """Set how the cluster behaves (fakebatch.Cluster)."""
        (self.cluster.folder / "config.json").write_text(json.dumps(fields))

    def calls(self, name: str = "") -> list[list[str]]:
        """Return the commands that were called."""
        with self.cluster.locked() as state:
            return [words for words in state["log"] if not name or words[0] == name]

    def jobs(self, *states: str) -> list[str]:
        """Return the jobs in these states."""
        with self.cluster.locked() as state:
            return [key for key, job in state["jobs"].items() if job["state"] in states]

    def holders(self) -> list[str]:
        """Return the pids of holders and runners of this test that still live."""
        mark, found = str(self.home).encode(), []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if b"sshrender-holder" in line and mark in line:
                found.append(entry.name)
        return found

    def printed(self) -> str:
        """Return what the jobs have printed."""
        return "".join(path.read_text() for path in self.cluster.folder.glob("*.OU"))

    def require_empty(self) -> None:
        """Assert that soon no pilot waits, runs or works."""

        def left() -> list[str]:
            return [*self.jobs("Q", "H", "R"), *self.holders()]

        wait_until(lambda: not left(), what=left, pause=0.2)

    def journal(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the entries of the one job's journal."""
        path = next((self.home / "san").glob("*/journal.jsonl"), None)
        if path is None:
            return []
        return [entry for entry in lines_of(path) if not kind or entry["type"] == kind]


@pytest.fixture
def batch(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A cluster with an engine's commands in PATH; TORQUE's without a parameter."""
    engine = getattr(request, "param", "torque")
    folder, programs = home / "cluster", home / "programs"
    for each in (folder, programs, home / "san"):
        each.mkdir()
    root = Path(__file__).parents[2]
    for name in COMMANDS[engine]:
        words = [sys.executable, "-m", f"tests.batch.{engine}", str(folder), name]
        script = f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(root))} exec {shlex.join(words)} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    found = Batch(home, engine, Cluster(folder))
    found.configure()
    found.write()
    return found
