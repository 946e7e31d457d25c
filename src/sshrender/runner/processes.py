"""Processes and what they use, from /proc.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import List

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> List[int]:
    """A process and its descendants: a sandbox and a wrapper script stay around as parents."""
    children = _read(pid, "task/%d/children" % pid).split()
    return [pid] + [each for child in children for each in tree(int(child))]


def resident(pid: int) -> int:
    """Bytes of memory that it and its descendants use (proc(5), statm); 0 when it is gone."""
    fields = [_read(each, "statm").split() for each in tree(pid)]
    return sum(int(each[1]) for each in fields if len(each) > 1) * _PAGE_BYTES


def cpu(pid: int) -> float:
    """Seconds of user and system time of it and its living descendants (proc(5), stat, 14 and 15)."""
    ticks = 0
    for each in tree(pid):
        fields = _read(each, "stat").rpartition(b")")[2].split()
        ticks += int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return ticks / _CLOCK_TICKS


def kill(pid: int) -> None:
    """End it, if it is there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return  # gone already


ENDING = threading.Event()
"""Set when this process is about to end: nobody starts another one."""


def kill_descendants() -> bool:
    """End all that this process has started in its own group; whether there was any that lived."""
    group = os.getpgid(0)
    living = [pid for pid in tree(os.getpid())[1:] if _is_alive(pid) and _group(pid) == group]
    for pid in living:
        kill(pid)
    return bool(living)


def _is_alive(pid: int) -> bool:
    """Not so a process that only waits to be asked how it ended."""
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


def _read(pid: int, name: str) -> bytes:
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as file:
            return file.read()
    except OSError:
        return b""
