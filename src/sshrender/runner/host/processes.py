"""Process trees, and the memory and CPU time that they use, from /proc.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import signal
from typing import List

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> List[int]:
    """Return a process and its descendants: a sandbox and a wrapper script remain as parents.

    Each thread has children of its own (proc(5), task/TID/children).
    """
    # A process that ends meanwhile has no files in /proc any more, and counts as one without children.
    found = [pid]
    for thread in _threads(pid):
        # The list is exact only while the processes stand still (proc(5)); a child that is missed is met
        # next time.
        for child in _read(pid, "task/%s/children" % thread).split():
            found += tree(int(child))
    return found


def resident(pid: int) -> int:
    """Return the bytes of memory that a process tree uses (proc(5), statm); 0 when it is gone."""
    # Shared pages count for each process; for a limit this errs on the safe side.
    fields = [_read(each, "statm").split() for each in tree(pid)]
    return sum(int(each[1]) for each in fields if len(each) > 1) * _PAGE_BYTES


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its living descendants (proc(5), stat, fields 14, 15)."""
    ticks = 0
    # Fields 14 and 15, user and system time, are at 11 and 12 behind the name.
    for each in tree(pid):
        fields = _read(each, "stat").rpartition(b")")[2].split()
        ticks += int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return ticks / _CLOCK_TICKS


def kill(pid: int) -> None:
    """Kill a process, if it exists."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return  # gone already


def kill_tree(pid: int) -> None:
    """Kill a process tree, the innermost processes first."""
    # A parent that is killed first would leave its children to init, where a second look does not find
    # them.
    for each in reversed(tree(pid)):
        kill(each)


def _threads(pid: int) -> List[str]:
    try:
        return os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as file:
            return file.read()
    except OSError:
        return b""
