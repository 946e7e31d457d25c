"""Which process owns something, in words that mean the same on every machine that can read them.

A pid means something only within one boot of one kernel and one pid namespace, and is given again after
its process has ended. So an owner is named by all of that, and the question whether it runs has three
answers: what cannot be told is never taken for an end.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import enum
import os
from typing import Tuple


class OwnerState(enum.Enum):
    """What is known of a process."""

    RUNNING = "running"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It may be another user's under hidepid (proc(5)), or of another machine or namespace."""


def boot() -> str:
    """The boot of this kernel; empty where that cannot be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""


def space() -> str:
    """Where our pids mean something: this boot and this pid namespace; empty where it cannot be told."""
    try:
        # A container may see the /proc of another pid namespace, whose numbers are others.
        if os.readlink("/proc/self") != str(os.getpid()):
            return ""
        found = boot()
        return "%s/%d" % (found, os.stat("/proc/self/ns/pid").st_ino) if found else ""
    except OSError:
        return ""


def started(pid: int) -> str:
    """When a process began (proc(5), stat, field 22); empty where that cannot be told."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError, ValueError):
        return ""


def state(where: str, pid: int, began: str) -> OwnerState:
    """Whether a process that ``space``, ``getpid`` and ``started`` named runs.

    A process that cannot be looked at is not gone: only ESRCH says so (kill(2)).
    """
    if not where or where != space():
        return OwnerState.UNKNOWN
    now = started(pid)
    if now and began:
        return OwnerState.RUNNING if now == began else OwnerState.GONE
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return OwnerState.GONE
    except OSError:
        return OwnerState.UNKNOWN
    return OwnerState.UNKNOWN


def ourselves() -> Tuple[str, int, str]:
    """This process, as ``state`` takes it."""
    pid = os.getpid()
    return space(), pid, started(pid)
