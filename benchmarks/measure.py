"""Measures the time and the processor time that one program and all its children take."""

from __future__ import annotations

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


def measure(start: Starter, argv: list[str], log: Path) -> Usage:
    """Run a program to its end; its output goes to ``log``. Raises BenchmarkError when it fails.

    The kernel adds the times of each child that a process waited for to the times of that process, and
    a shell, GNU parallel and sshrender wait for all of theirs. So wait4 counts the whole tree,
    short-lived processes too, which sampling /proc would miss.
    """
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
    return Usage(started, wall, used.ru_utime + used.ru_stime)
