"""Looks after the queue: starts a coordinator for each job that is to be seen through.

Each job is seen through by a process of its own, as ``resume`` would: what goes wrong there spoils
nothing here. Any number of foremen may look after the same SAN; of each job one gets the lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sshrender.coordinator.watched import watched
from sshrender.core import jobqueue
from sshrender.core.jobqueue import Entry, State
from sshrender.errors import ExitCode
from sshrender.job.shelf import Shelf

LOOK = 1.0
"""Seconds between two looks at the queue."""

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds before a job is tried again for which no host, or no room, was found: growing."""

_AGAIN = frozenset(
    (
        ExitCode.USAGE,
        ExitCode.NO_HOST,
        ExitCode.STORAGE,
        ExitCode.RENDERER,
        ExitCode.AUTHENTICATION,
    )
)
"""What may be mended without anybody touching the job, or be no trouble on another machine at all."""

_NOT_OURS = frozenset((ExitCode.LEASE,))
_OVER = frozenset((ExitCode.OK, ExitCode.PARTIAL, ExitCode.DEADLINE))


class Worker(Protocol):
    """A process that sees one job through."""

    def ended(self) -> int | None:
        """Its exit code, once it is over; as a shell has it."""

    def reason(self) -> str:
        """The last error that it told."""

    def stop(self, number: int) -> None:
        """Pass a signal on."""


@dataclass(slots=True)
class _Pause:
    """A job that could not be seen through for now."""

    until: float = 0.0
    seconds: float = FIRST_PAUSE


@dataclass(slots=True)
class Tally:
    """What became of the jobs that were started here: exit codes, in the order of their ends."""

    codes: list[int] = field(default_factory=list)


class Foreman:
    """``start``: begin to see a job through. ``put_aside``: hold a job that cannot be, and say why.

    ``remark``: write down what keeps a job from being seen through here.
    """

    def __init__(
        self,
        san: Path,
        start: Callable[[Entry], Worker],
        put_aside: Callable[[str, str], None],
        remark: Callable[[str, str], None],
        say: Callable[[str], None],
        *,
        at_once: int,
        is_once: bool,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._san = san
        self._shelf = Shelf(san, clock)
        self._start = start
        self._put_aside = put_aside
        self._remark = remark
        self._say = say
        self._at_once = at_once
        self._is_once = is_once
        self._clock, self._wall, self._pause = clock, wall, pause
        self._working: dict[str, tuple[Worker, int]] = {}
        self._pauses: dict[str, _Pause] = {}
        self._done_with: set[str] = set()
        self._told: dict[str, str] = {}
        self._trouble = ""
        self._stopped_by: int | None = None
        self.tally = Tally()

    def stop(self, number: int) -> None:
        """A signal: what is under way ends, and stays in the queue. Safe in a handler."""
        self._stopped_by = number
        for worker, _ in list(self._working.values()):
            worker.stop(number)

    def run(self) -> int | None:
        """Until nothing is left, or for ever: the signal that ended it, if one did. Raises OSError."""
        while True:
            self._reap()
            if self._stopped_by is not None:
                if not self._working:
                    return self._stopped_by
            elif self._look() and self._is_once and not self._working:
                return None
            self._pause(LOOK)

    def _look(self) -> bool:
        """Start what is to be started; whether there is nothing left to wait for."""
        try:
            entries = watched(self._san, self._shelf.look)
        except OSError as error:
            if self._is_once and not self._working:
                raise
            self._tell_trouble(f"{error.filename or self._san}: {error.strerror}")
            return False
        self._tell_trouble("")
        for name, why in self._shelf.damaged.items():
            if self._told.get(name) != why:
                self._told[name] = why
                self._say(f"{name}: {why}")
        now = self._wall()
        waiting = [entry for entry in jobqueue.ready(entries, now) if self._may_start(entry.name)]
        running = [priority for _, priority in self._working.values()]
        for entry in jobqueue.choose(waiting, running, self._at_once, now):
            self._working[entry.name] = self._start(entry), entry.priority
        return not waiting and not self._is_worth_waiting(entries, now)

    def _may_start(self, name: str) -> bool:
        if name in self._working or name in self._done_with:
            return False
        return name not in self._pauses or self._clock() >= self._pauses[name].until

    def _is_worth_waiting(self, entries: list[Entry], now: float) -> bool:
        """Whether a job may become ready soon: its lease is being watched, or it comes after ours."""
        unfinished = {entry.name for entry in entries if not entry.is_over}
        states = {jobqueue.state(entry, unfinished, now) for entry in entries}
        return State.UNSURE in states

    def _reap(self) -> None:
        for name, (worker, _) in list(self._working.items()):
            code = worker.ended()
            if code is not None:
                del self._working[name]
                self._take_in(name, code, worker.reason())

    def _take_in(self, name: str, code: int, reason: str) -> None:
        """What becomes of a job whose process has ended."""
        if code in _NOT_OURS or (code > 128 and self._stopped_by is not None):
            return
        self.tally.codes.append(code)
        if code in _OVER:
            self._pauses.pop(name, None)
            return
        if code in _AGAIN or code > 128:
            self._try_later(name, code, reason)
            return
        self._say(f"{name}: held, for it cannot be seen through: {reason}")
        self._done_with |= {name} if self._is_once else set()
        self._put_aside(name, reason)

    def _try_later(self, name: str, code: int, reason: str) -> None:
        if code == ExitCode.USAGE:
            self._remark(name, reason)
        if self._is_once:
            self._done_with.add(name)
            return
        pause = self._pauses.setdefault(name, _Pause())
        pause.until = self._clock() + pause.seconds
        self._say(f"{name}: tried again in {pause.seconds:g} s ({reason or f'exit code {code}'})")
        pause.seconds = min(2 * pause.seconds, LONGEST_PAUSE)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._say(
                f"the queue cannot be read: {trouble}" if trouble else "the queue can be read again"
            )
