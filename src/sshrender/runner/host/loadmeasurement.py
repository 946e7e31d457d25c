"""Measures the load of other programs on this host; it decides whether pages may be rendered here.

There are two measures, and the higher one counts:

- The kernel's load average, reduced to the threads that were active in each interval. ``/proc/loadavg``
  decays with a time constant of 60 s and is updated every 5 s (kernel/sched/loadavg.c), so two readings
  give the number of active threads in between: ``n = (L2 - L1*e) / (1 - e)`` with ``e = exp(-dt/60)``.
  A job of ours that has ended does not count any more, while the plain figure contains it for minutes.
- The threads that are runnable or blocked now, from ``/proc/*/task/*/stat``. A change shows within a
  second. In a container this counts only its own processes; the load average is the whole machine's.

Processes of sshrender are recognized by their command line, or that of a process that started them,
which contains "sshrender". That covers every runner and renderer of any job on this host, so that two
jobs never take each other for the host's owner.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import math
import os
import time
from typing import Callable, Dict, List, Optional, Tuple

MARK = b"sshrender"
MARK_UPPER = b"SSHRENDER"
GENERATIONS = 6
"""Most parents that are looked at: runner, wrappers, sandbox, a script, a program that it started."""

LOADAVG_TIME_CONSTANT = 60.0
LOADAVG_INTERVAL = 5.0
"""Seconds: the decay of the one-minute average, and how often the kernel updates it."""

SCAN_TIME_CONSTANT = 5.0
"""Seconds over which thread counts are smoothed: a short cron job hardly shows, an owner's work soon
does."""

SCAN_BUDGET = 0.01
"""The share of one core that scanning /proc may cost on a host with many threads."""


def read_loadavg() -> float:
    """Return the one-minute load average from /proc, which a container may have of its own."""
    with open("/proc/loadavg", encoding="ascii") as file:
        return float(file.read().split()[0])


def scan() -> Tuple[int, int]:
    """Return how many threads are running, runnable or blocked now: (others', ours)."""
    others = ours = 0
    myself = str(os.getpid())
    for pid in os.listdir("/proc"):
        # Kernel threads are counted as well: writeback that blocks on a disk is load of others.
        if not pid.isdigit() or pid == myself:  # this process is always running while it scans
            continue
        # Only active processes are asked for their command lines: that costs more than stat.
        active = _active_threads(pid)
        if active and is_ours(pid):
            ours += active
        else:
            others += active
    return others, ours


def _active_threads(pid: str) -> int:
    fields = _stat("/proc/%s/stat" % pid)
    # Fields 3 (state) to 20 (num_threads) are at 0 to 17 here, because pid and name are cut off.
    if len(fields) < 18:
        return 0
    # One thread: its state is in the file that was just read, so no folder has to be listed.
    if fields[17] == b"1":
        return int(fields[0] in (b"R", b"D"))
    try:
        threads = os.listdir("/proc/%s/task" % pid)
    except OSError:
        return 0
    states = [_stat("/proc/%s/task/%s/stat" % (pid, thread))[:1] for thread in threads]
    return sum(state in ([b"R"], [b"D"]) for state in states)


def _stat(path: str) -> List[bytes]:
    """Return the fields of a stat file after the command's name (proc(5)); empty when it is gone.

    Those behind the 18th are one.
    """
    try:
        # Without a file object, which takes half as long again: hundreds are read in each second.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        # A line has less than 2 KiB: 52 numbers, and a name of at most 64 bytes. The name may hold
        # spaces and brackets, so the last bracket ends it (proc(5)).
        return os.read(descriptor, 4096).rpartition(b")")[2].split(None, 18)
    except OSError:
        return []
    finally:
        os.close(descriptor)


def is_ours(pid: str) -> bool:
    """Return whether a process belongs to sshrender: its command line or that of a parent says so.

    The program of a recipe does not contain the name itself.
    """
    for _ in range(GENERATIONS):
        # The walk ends at init, and at 0, the parent of init and of the kernel's threads.
        if pid in ("0", "1"):
            return False
        if _has_mark(pid):
            return True
        pid = _parent(pid)
    return False


def _has_mark(pid: str) -> bool:
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            # 64 KiB: a command line may have megabytes, and the name stands in its beginning.
            line = file.read(65536)
    except OSError:
        return False
    return MARK in line or MARK_UPPER in line


def _parent(pid: str) -> str:
    fields = _stat("/proc/%s/stat" % pid)
    # Field 4 of stat is the parent's pid.
    return fields[1].decode("ascii") if len(fields) > 1 else "0"


class LoadMeter:
    """Combines and smooths both measures; ``sample`` is called about once a second."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        loadavg: Callable[[], float] = read_loadavg,
        scanner: Callable[[], Tuple[int, int]] = scan,
    ) -> None:
        self._clock = clock
        self._loadavg = loadavg
        self._scanner = scanner
        self._scanned_at: Optional[float] = None
        self._scan_pause = 0.0
        self._others = 0.0
        self._ours = 0.0
        # Our own threads in each scan since the last reading of the load average; their mean is
        # subtracted.
        self._window: List[int] = []
        self._last_average: Optional[Tuple[float, float]] = None
        self._kernel_others = 0.0

    def greet(self, samples: int = 3, pause: float = 0.01) -> Dict[str, float]:
        """Return a first reading within a tenth of a second: the mean of a few scans."""
        counts = []
        # A few scans in a row: one alone would count a process that is active for a moment as load.
        for _ in range(samples):
            counts.append(self._scanner())
            time.sleep(pause)
        self._others = sum(others for others, _ in counts) / samples
        self._ours = sum(ours for _, ours in counts) / samples
        self._scanned_at = self._clock()
        average = self._loadavg()
        self._last_average = (self._scanned_at, average)
        # The first average is taken as it is, less our own threads of now: there is no earlier one to
        # compare with.
        self._kernel_others = max(0.0, average - self._ours)
        return self.reading()

    def sample(self) -> Dict[str, float]:
        """Measure again, and return ``reading()``."""
        now = self._clock()
        if self._scanned_at is None or now - self._scanned_at >= self._scan_pause:
            self._scan(now)
        self._update_from_loadavg(now)
        return self.reading()

    def reading(self) -> Dict[str, float]:
        """Return the smoothed load of ``others`` and of ``ours``, in threads."""
        others = max(self._others, self._kernel_others)
        return {"others": round(others, 3), "ours": round(self._ours, 3)}

    def _scan(self, now: float) -> None:
        others, ours = self._scanner()
        # The clock is read before and after, so that a slow /proc makes scans rarer.
        cost = self._clock() - now
        # Scanning thousands of threads is expensive, so it is done less often there.
        self._scan_pause = min(30.0, cost / SCAN_BUDGET) if cost > 0.01 else 0.0
        # The first scan replaces the initial zeros: exp(-inf) is 0.
        elapsed = now - self._scanned_at if self._scanned_at is not None else math.inf
        keep = math.exp(-elapsed / SCAN_TIME_CONSTANT)
        self._others = self._others * keep + others * (1 - keep)
        self._ours = self._ours * keep + ours * (1 - keep)
        self._window.append(ours)
        self._scanned_at = now

    def _update_from_loadavg(self, now: float) -> None:
        average = self._loadavg()
        if self._last_average is None:
            self._last_average = (now, average)
            return
        then, before = self._last_average
        # The kernel has not updated the average since, and the formula would divide noise by a small
        # number.
        if now - then < LOADAVG_INTERVAL:
            return
        keep = math.exp(-(now - then) / LOADAVG_TIME_CONSTANT)
        # The inverse of the kernel's recurrence L2 = L1*keep + n*(1-keep), solved for n.
        active = (average - before * keep) / (1 - keep)
        ours = sum(self._window) / len(self._window) if self._window else 0.0
        # Both figures are samples, so the difference may be below zero.
        fresh = max(0.0, active - ours)
        # A fall counts at once, a rise by half: one interval may hold a short peak.
        self._kernel_others = fresh if fresh < self._kernel_others else _mean(self._kernel_others, fresh)
        self._window = []
        self._last_average = (now, average)


def _mean(first: float, second: float) -> float:
    return (first + second) / 2
