"""Dispatches the queue: starts a coordinator process for each job that may run.

Each job runs in a process of its own, as with ``resume``, so that an error in one job does not affect
others. Any number of dispatchers may serve the same SAN; for each job, one of them gets the lease.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from sshrender.core import queueorder
from sshrender.core.queueorder import Entry, QueueState
from sshrender.errors import ExitCode, UserError
from sshrender.job.queue.queuescanner import QueueScanner, QueueSnapshot
from sshrender.job.signature import Unsigned
from sshrender.storage.hangguard import HangGuard
from sshrender.views.text import clean

SCAN_INTERVAL = 1.0
"""Seconds between two scans of the queue."""

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds before a job that could not be completed is tried again: doubled each time."""

MAX_LINE = 2000
"""Most characters of a printed line, which may contain a long path twice."""

DEFECTS = 3
"""Bugs in a row after which a job is held. The first ones may be due to an upgrade of this machine that
is in progress."""

REPEATS = 2
"""Starts in a row of a job whose process found nothing to do. After that the job is tried later: a host
may have damaged the files that the queue reads."""

_NOT_OURS = frozenset((ExitCode.LEASE,))
_FINAL_CODES = frozenset((ExitCode.OK, ExitCode.PARTIAL, ExitCode.DEADLINE))


class JobProcess(Protocol):
    """A process that runs one job."""

    def ended(self) -> int | None:
        """Return the exit code as a shell reports it, once; None while the process runs."""

    def reason(self) -> str:
        """Return the last error that the process reported; empty for none."""

    def needs_user(self) -> bool:
        """Return whether the job would fail again until a user decides something."""

    def stop(self, number: int) -> None:
        """Pass a signal on."""


@dataclass(slots=True)
class _Task:
    """A running job. ``is_stopping``: a signal to end was sent to it."""

    worker: JobProcess
    priority: int
    is_stopping: bool = False


@dataclass(slots=True)
class _Failure:
    """A job that failed. ``until``: when it is tried again; ``defects``: bugs in a row."""

    until: float = 0.0
    seconds: float = FIRST_PAUSE
    defects: int = 0


@dataclass(slots=True)
class Tally:
    """Counts the exit codes of the jobs that ran here."""

    codes: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class JobActions:
    """The actions of a dispatcher on a job, by its name.

    ``start`` starts its process; it raises OSError if this machine cannot. ``put_aside`` holds a job
    that cannot be completed and records the reason. ``remark`` records why a job cannot run here.
    ``print_line`` prints a line. ``may_run`` returns whether this dispatcher may start the job.
    """

    start: Callable[[Entry], JobProcess]
    put_aside: Callable[[str, str], None]
    remark: Callable[[str, str], None]
    print_line: Callable[[str], None]
    may_run: Callable[[str], bool] = lambda _name: True


class Clocks(NamedTuple):
    """The time in seconds, of a clock that never goes back and since the epoch, and how to wait."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep


SYSTEM_CLOCKS = Clocks()


class QueueDispatcher:
    """Starts, watches and ends the processes of jobs: ``at_once`` of them at most.

    ``is_once``: end when no job is left, instead of waiting for the next one.
    """

    def __init__(
        self,
        san: Path,
        actions: JobActions,
        *,
        at_once: int,
        is_once: bool,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self._san = san
        self._queue_scanner = QueueScanner(san, clocks.monotonic)
        self._hang_guard = HangGuard(san)
        self._actions = actions
        self._print_line = actions.print_line
        self._at_once = at_once
        self._is_once = is_once
        self._clock, self._wall, self._pause = clocks
        self._working: dict[str, _Task] = {}
        self._failures: dict[str, _Failure] = {}
        self._done_with: set[str] = set()
        self._ended: set[str] = set()
        self._repeats: Counter[str] = Counter()
        self._reported: dict[str, str] = {}
        self._told_unsigned: frozenset[str] = frozenset()
        self._trouble = ""
        self._stopped_by: int | None = None
        self.tally = Tally()

    @property
    def working(self) -> list[str]:
        """The names of the jobs that run here. Safe in a signal handler."""
        return list(self._working)

    def stop(self, number: int) -> None:
        """End running jobs with this signal; they stay in the queue. Safe in a signal handler."""
        self._stopped_by = number
        self._pass_on(number)

    def run(self) -> int | None:
        """Run until a signal comes (returned) or, with ``is_once``, no job is left. Raises OSError."""
        while True:
            self._reap()
            if self._stopped_by is not None:
                self._pass_on(self._stopped_by)  # a job may have been starting
                if not self._working:
                    return self._stopped_by
            elif self._scan() and self._is_once and not self._working:
                return None
            self._pause(SCAN_INTERVAL)

    def _pass_on(self, number: int) -> None:
        """Send the signal to each process, once."""
        # A copy: this also runs in a signal handler, perhaps while the loop changes the dictionary.
        for task in list(self._working.values()):
            if not task.is_stopping:
                task.is_stopping = True
                task.worker.stop(number)

    def _scan(self) -> bool:
        """Scan the queue and start jobs; return whether there is nothing left to wait for."""
        try:
            found = self._hang_guard.call(self._queue_scanner.scan)
        except OSError as error:
            if isinstance(error, TimeoutError):
                # The hanging call still uses the old scanner. Leases that it observed are worthless:
                # no coordinator could write a heartbeat during the failure.
                self._queue_scanner = QueueScanner(self._san, self._clock)
            if self._is_once and not self._working and self._stopped_by is None:
                raise
            self._tell_trouble(f"{error.filename or self._san}: {error.strerror}")
            return False
        except UserError as error:  # the key cannot be used
            if not self._working and self._stopped_by is None:
                raise
            self._tell_trouble(error.what)
            return False
        self._tell_trouble("")
        self._tell_damage(found.damaged)
        self._tell_unsigned(found.unsigned)
        self._forget_failures(found)
        now = self._wall()
        ready = queueorder.ready(found.entries, found.unfinished, now)
        self._count_repeats({entry.name for entry in ready})
        waiting = [entry for entry in ready if self._may_start(entry.name)]
        running = [task.priority for task in self._working.values()]
        for entry in queueorder.choose(waiting, running, self._at_once, now):
            # Tested before each start: a signal may come between two of them.
            if self._stopped_by is not None:
                return False
            self._begin(entry)
        return not waiting and not self._is_worth_waiting(found, now)

    def _count_repeats(self, ready: set[str]) -> None:
        """Delay a job that stays ready although its process had nothing to do."""
        ended, self._ended = self._ended, set()
        # A job that is no longer ready has changed: its count begins again.
        for name in ended - ready:
            self._repeats.pop(name, None)
        for name in ended & ready:
            self._repeats[name] += 1
            if self._repeats[name] >= REPEATS:
                self._try_later(name, "its process has ended, but the job is still queued")

    def _may_start(self, name: str) -> bool:
        if name in self._working or name in self._done_with or not self._actions.may_run(name):
            return False
        return name not in self._failures or self._clock() >= self._failures[name].until

    def _begin(self, entry: Entry) -> None:
        try:
            worker = self._actions.start(entry)
        except OSError as error:
            self.tally.codes[ExitCode.NO_HOST] += 1
            self._try_later(entry.name, f"it cannot be started here: {error.strerror or error}")
            return
        self._working[entry.name] = _Task(worker, entry.priority)

    def _is_worth_waiting(self, found: QueueSnapshot, now: float) -> bool:
        """Return whether a job may become ready soon: its lease is being watched."""
        states = {queueorder.state(entry, found.unfinished, now) for entry in found.entries}
        return QueueState.UNSURE in states

    def _forget_failures(self, found: QueueSnapshot) -> None:
        """Remove failures of jobs that are gone, finished or held: a release starts again."""
        live = {entry.name for entry in found.entries if not (entry.is_over or entry.is_held)}
        for name in self._failures.keys() - live - found.damaged.keys() - found.unsigned.keys():
            del self._failures[name]

    def _reap(self) -> None:
        for name, task in list(self._working.items()):
            code = task.worker.ended()
            if code is not None:
                del self._working[name]
                worker = task.worker
                self._take_in(name, code, worker.reason(), needs_user=worker.needs_user())

    def _take_in(self, name: str, code: int, reason: str, *, needs_user: bool) -> None:
        """Handle the end of a job's process: done, try later, or hold the job."""
        # LEASE: another dispatcher runs the job, or it was held meanwhile.
        if code in _NOT_OURS | _FINAL_CODES:
            self._ended.add(name)
        # 128 + N: the process was ended by the signal that ended this one, which says nothing about
        # the job.
        if code in _NOT_OURS or (code > 128 and self._stopped_by is not None):
            return
        self.tally.codes[code] += 1
        # A deadline with a reason is one that passed before the run began
        # (jobopening.deadline_passed).
        if code in _FINAL_CODES and not (code == ExitCode.DEADLINE and reason):
            if not self._repeats[name]:
                self._failures.pop(name, None)
            return
        if not (needs_user or self._is_for_a_person(name, code, reason)):
            if reason and code in (ExitCode.USAGE, ExitCode.BUG):
                self._actions.remark(name, reason)
            self._try_later(name, reason or f"exit code {code}")
            return
        self._print_line(f"{name}: cannot be completed; holding it: {reason}")
        self._rest(name)  # whether or not that can be written down
        self._actions.put_aside(name, reason)

    def _is_for_a_person(self, name: str, code: int, reason: str) -> bool:
        """Return whether a user must act, because the job would fail again anywhere and at any time.

        No error message: treat it as a failure of this machine, not of the job.
        """
        if code == ExitCode.BUG and reason:
            self._failure(name).defects += 1
            return self._failure(name).defects >= DEFECTS
        # A deadline that passes before there is a run would do so each time, as it is counted again.
        return code in (ExitCode.DOCUMENT, ExitCode.DEADLINE) and bool(reason)

    def _try_later(self, name: str, why: str) -> None:
        seconds = self._rest(name)
        if not self._is_once:
            self._print_line(f"{name}: next try in {seconds:g} s ({why})")

    def _rest(self, name: str) -> float:
        """Return a job's next pause, longer each time; with ``is_once`` it is not tried again."""
        if self._is_once:
            self._done_with.add(name)
        failure = self._failure(name)
        seconds = failure.seconds
        failure.until = self._clock() + seconds
        failure.seconds = min(2 * seconds, LONGEST_PAUSE)
        return seconds

    def _failure(self, name: str) -> _Failure:
        return self._failures.setdefault(name, _Failure())

    def _tell_damage(self, damaged: dict[str, str]) -> None:
        for name, why in damaged.items():
            if self._reported.get(name) != why:
                self._print_line(f"{name}: {why}")
        self._reported = damaged

    def _tell_unsigned(self, unsigned: Mapping[str, Unsigned]) -> None:
        """Print one line for all new unsigned jobs: a host can create thousands."""
        if any(each.is_key_missing for each in unsigned.values()):
            # Once, not on each scan: the tally decides the exit code.
            self.tally.codes[ExitCode.STORAGE] = max(1, self.tally.codes[ExitCode.STORAGE])
        new = unsigned.keys() - self._told_unsigned
        self._told_unsigned = frozenset(unsigned)
        if new:
            first = unsigned[min(new)]
            others = f", and {len(new) - 1} more" if len(new) > 1 else ""
            line = f"not run: {min(new)}{others}: {first.what}; hint: {first.hint}"
            self._print_line(clean(line, MAX_LINE))  # any host can name a folder

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._print_line(
                f"the queue cannot be read: {trouble}" if trouble else "the queue can be read again"
            )
