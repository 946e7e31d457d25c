"""Measures the time and the processor time that one program and all its children take."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Starter = Callable[..., "subprocess.Popen[str]"]
LAST_WORDS = 2000  # characters of a failed program's output that an error repeats


class BenchmarkError(Exception):
    """Nothing was measured: something is missing, or a way did not render."""


@dataclass(frozen=True)
class Usage:
    """What one run took. ``started`` is wall-clock time, to be compared with a journal."""

    started: float
    wall_seconds: float
    cpu_seconds: float
    total_seconds: float | None = None
    """Of all processes of the benchmark, those on its hosts included; None: there is no cgroup."""

    @property
    def all_seconds(self) -> float:
        """The CPU time of everything, as far as it is known."""
        return self.cpu_seconds if self.total_seconds is None else self.total_seconds


class CpuGroup:
    """A control group of this process and of all that it starts, which adds up their CPU time.

    Processes that are killed, and those of the hosts, are in no other sum. Where no group can be made,
    ``seconds`` returns None.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        # Version 2 has one tree, version 1 one of this name (cgroups(7)).
        for top, usage in ((Path("/sys/fs/cgroup"), "cpu.stat"), (_VERSION_1, "cpuacct.usage")):
            folder = top / f"sshrender-benchmark-{os.getpid()}"
            if not (top / "cgroup.procs").exists():
                continue
            try:
                folder.mkdir()
                (folder / "cgroup.procs").write_text(str(os.getpid()))
            except OSError:
                continue
            self._top, self._folder, self._usage = top, folder, folder / usage
            return

    def seconds(self) -> float | None:
        """Return the CPU seconds so far."""
        if self._folder is None:
            return None
        text = self._usage.read_text()
        if self._usage.name == "cpuacct.usage":
            return int(text) / 1e9
        return int(text.split()[1]) / 1e6  # the first line is ``usage_usec N``

    def close(self) -> None:
        """Leave the group, and remove it."""
        if self._folder is not None:
            with contextlib.suppress(OSError):  # something of the hosts may still be ending
                (self._top / "cgroup.procs").write_text(str(os.getpid()))
                self._folder.rmdir()


_VERSION_1 = Path("/sys/fs/cgroup/cpuacct")


def measure(start: Starter, argv: list[str], log: Path, group: CpuGroup | None = None) -> Usage:
    """Run a program to its end; its output goes to ``log``. Raises BenchmarkError when it fails.

    The kernel adds the times of each child that a process waited for to the times of that process, and
    a shell, GNU parallel and sshrender wait for all of theirs. So wait4 counts the whole tree,
    short-lived processes too, which sampling /proc would miss.
    """
    before = group.seconds() if group else None
    os.sync()  # do not measure the writes that the previous way left behind
    with log.open("w") as output:
        started, begin = time.time(), time.monotonic()
        process = start(argv, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = log.read_text(errors="replace")[-LAST_WORDS:].strip()
        raise BenchmarkError(f"{argv[0]} ended with {process.returncode}:\n{said}")
    after = group.seconds() if group else None
    total = None if before is None or after is None else after - before
    return Usage(started, wall, used.ru_utime + used.ru_stime, total)
