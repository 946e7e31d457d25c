"""The time and the processor time that one program and all its children take."""

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
    """No figures: something is missing, or a way did not render."""


@dataclass(frozen=True)
class Usage:
    """What one run took. ``started`` is wall-clock time, which a journal can be compared with."""

    started: float
    wall_seconds: float
    cpu_seconds: float


def measure(start: Starter, argv: list[str], log: Path) -> Usage:
    """Run a program to its end; its output goes to ``log``. Raises BenchmarkError when it fails.

    The kernel adds to a process's account those of its children that it waited for, and a shell,
    GNU parallel and sshrender wait for all of theirs. So wait4 counts the whole tree, however short
    some lives in it are, where sampling /proc would miss them.
    """
    os.sync()  # what the way before has left to write is not this one's to wait for
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
