"""Machines that coordinate: programs at a farm's desk, each with host name and pids of its own.

A lease knows a machine by its boot and its pid name space (job/lease.py), so what runs here is on
another machine than the desk, and than each of its like: nobody can see from there whether it lives.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tests import stretch
from tests.lab.farm import Farm
from tests.lab.world import PATIENCE, send

PROGRAM = [sys.executable, "-m", "sshrender"]
_UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child"]
_LANDED = ("page_delivered", "attempt_failed", "attempt_dropped", "page_returned")
_AS = ["sh", "-c", 'hostname "$0" && "$@"']  # no exec: process 1 has other ways with signals


class Machine:
    """A machine beside the desk, in the same network, with the same SAN and the same home."""

    def __init__(self, farm: Farm, name: str, hosts: Path) -> None:
        """*hosts*: the inventory that its commands use."""
        self.farm = farm
        self.name = name
        self._hosts = hosts

    def command(self, *words: str) -> list[str]:
        """What is to be started at the desk, so that the command runs on this machine."""
        return [*_UNSHARE, *_AS, self.name, *PROGRAM, *words, "--hosts", str(self._hosts)]

    def say(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return self.farm.run(self.command(*words), timeout=timeout)

    def status(self, job: str) -> dict[str, Any]:
        """What ``status JOB --json`` tells there."""
        said = self.say("status", job, "--json")
        assert said.returncode == 0, said.stderr
        return dict(json.loads(said.stdout))


class Coordinator:
    """A command on a machine of its own, that can be killed with all that it has started."""

    def __init__(self, farm: Farm, name: str, hosts: Path, *words: str) -> None:
        """*words*: the command, such as ``coordinate``, and its options."""
        self.machine = Machine(farm, name, hosts)
        self.kills = 0
        self._words = words
        self._log = farm.root / f"{name}.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        """Its machine's name, which leases and journals tell."""
        return self.machine.name

    def start(self) -> None:
        """Start it, perhaps again."""
        assert not self.is_alive()
        with self._log.open("a") as log:
            self._process = self._launch(log)

    def _launch(self, log: IO[str]) -> subprocess.Popen[str]:
        return self.machine.farm.popen(self.machine.command(*self._words), stdout=log, stderr=log)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill its machine's first process: the kernel kills all others, and nothing is given back."""
        if self._process is None or self._process.poll() is not None:
            return
        self.kills += 1
        for pid in self._first() or [self._process.pid]:
            send(pid, signal.SIGKILL)
        self._process.wait(timeout=stretch.stretched(PATIENCE))

    def _first(self) -> list[int]:
        """The child of unshare, once it is there."""
        assert self._process is not None
        pid = self._process.pid
        with suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=stretch.stretched(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.said()[-4000:]}") from None

    def said(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def wait_until(
    condition: Callable[[], object], seconds: float, *coordinators: Coordinator, pause: float = 0.1
) -> None:
    """Wait until a condition is true; when time is up, tell what these coordinators have said."""

    def told() -> str:
        return "\n".join(f"--- {each.name}\n{each.said()[-3000:]}" for each in coordinators)

    stretch.wait_until(condition, seconds, told, pause)


def submitted(said: subprocess.CompletedProcess[str]) -> list[str]:
    """The names of the jobs that a ``submit`` has printed."""
    assert said.returncode == 0, said.stderr
    return said.stdout.split()


def in_flight(entries: Iterable[dict[str, Any]]) -> int:
    """How many attempts of a run have been sent and have not come to an end."""
    flying: set[str] = set()
    for entry in entries:
        if entry["type"] == "page_sent":
            flying.add(entry["attempt"])
        elif entry["type"] in _LANDED:
            flying.discard(entry["attempt"])
    return len(flying)
