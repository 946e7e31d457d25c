"""Identity of a process that stays meaningful on other machines and after the process has ended.

A pid means something only within one boot of one kernel and one pid namespace, and the kernel gives it
to another process later. Therefore a process is identified by four facts together: boot, pid namespace,
pid and start time. Whether it still runs has three answers, and "unknown" is never taken for "gone".

Part of what is sent to hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import enum
import os
from typing import Tuple


class OwnerState(enum.Enum):
    """The identity of a process that owns something."""

    RUNNING = "running"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It belongs to another machine or pid namespace, or to another user under hidepid (proc(5))."""


def boot() -> str:
    """Return the id of this boot of the kernel; empty if it cannot be read."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""


def space() -> str:
    """Return the scope in which our pids are valid, ``BOOT/PIDNAMESPACE``; empty if it is unknown."""
    try:
        # A container may see the /proc of another pid namespace, whose numbers are not ours.
        if os.readlink("/proc/self") != str(os.getpid()):
            return ""
        found = boot()
        return "%s/%d" % (found, os.stat("/proc/self/ns/pid").st_ino) if found else ""
    except OSError:
        return ""


def started(pid: int) -> str:
    """Return when a process began, in clock ticks since the boot; empty if that is unknown.

    proc(5), stat, field 22. The command's name in field 2 may contain spaces and parentheses, so the
    fields are counted from the last ``)``.
    """
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError, ValueError):
        return ""


def state(where: str, pid: int, began: str) -> OwnerState:
    """Return whether a process runs that ``space``, ``getpid`` and ``started`` identified.

    A process that cannot be examined is not gone: only ESRCH says that (kill(2)).
    """
    # Another machine, another boot, or another pid namespace.
    if not where or where != space():
        return OwnerState.UNKNOWN
    # Both are needed: a start time that cannot be read says nothing.
    now = started(pid)
    if now and began:
        return OwnerState.RUNNING if now == began else OwnerState.GONE
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return OwnerState.GONE
    # EPERM: a process has the pid, but whether it is the same cannot be told.
    except OSError:
        return OwnerState.UNKNOWN
    return OwnerState.UNKNOWN


def ourselves() -> Tuple[str, int, str]:
    """Return the identity of this process, as ``state`` takes it."""
    pid = os.getpid()
    return space(), pid, started(pid)
