"""Describes a pool, and decides how many pilots it should have. Pure, but for engine commands."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sshrender.transports.batch.engines.interface import Answer, Command, Engine

NAME_PREFIX = "ssr-"
"""Start of each array's name. With eight digits it is shorter than the 15 characters of older PBS."""

MAX_SILENT, MAX_REFUSED = 3, 10
"""Pilots in a row that never spoke, and refused submissions, after which a pool pauses: a script that
fails at once would flood the queue otherwise."""

MAX_WAITING = 4
"""Pilots of a pool that wait in the queue while none runs, at most."""

DELAYS = (0.0, 60.0, 900.0, 1800.0, 3600.0)
"""Seconds after the first, second … refused submission in a row, as HyperQueue has them."""

MAX_WAITED_REFUSALS = 2
"""Refusals in a row after which no pilot is expected any more, so that a job without other hosts
ends."""


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """A pool of the inventory. ``san``: where its nodes see the shared folder; memory in bytes."""

    name: str
    engine: Engine
    call: Callable[[Command], Answer]
    pilots: int
    cores: int
    walltime: float
    san: str
    memory: int | None = None
    queue: str | None = None
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    carrier: str = "files"
    """*pipe*, *files*, or *auto*: pipe if the engine has it, and files if that fails."""
    via: tuple[str, ...] = ()
    """The ssh command to the machine that has the engine's commands; empty: this one."""
    shared: Path | None = None
    """The user's file in which runs share the engine's answers; None: each asks for itself."""
    login: tuple[str, ...] = ()
    """The ssh command to it as a user types it, without the command that is run there."""
    user: str = ""
    """The owner of submitted jobs; empty: not known here, because ssh decides it."""
    python: str = "python3"
    ghostscript: str = "gs"
    sandbox: str = "none"

    def typed(self, *words: str) -> str:
        """Return a command of the engine as a user types it here."""
        line = shlex.join(words)
        return shlex.join([*self.login, line]) if self.login else line


@dataclass(frozen=True, slots=True)
class Demand:
    """The run's demand for a pool.

    ``pages``: those that pilots have or may get; ``avoid``: drained nodes.
    ``may_grow``: pages that other hosts have may come back.
    """

    pages: int
    is_held: bool = False
    avoid: tuple[str, ...] = ()
    may_grow: bool = False


@dataclass(frozen=True, slots=True)
class PoolReport:
    """The state of a pool's pilots. ``expected``: those that may still become hosts.

    ``reason``: why they wait, or why there are none; ``start``: when the engine expects one to start.
    """

    pool: str
    waiting: int
    running: int
    expected: int
    reason: str = ""
    start: str = ""


@dataclass(slots=True)
class Backoff:
    """Decides when the next submission may come, and if one is worth waiting for. Times in seconds."""

    refused: int = 0
    silent: int = 0
    useless: int = 0
    _until: float = 0.0
    _paused_until: float = 0.0
    _pauses: int = 0

    def accepted(self) -> None:
        """Note that an array was accepted."""
        self.refused = 0

    def spoke(self) -> None:
        """Note that a pilot has reported: later failures of it are not due to its script."""
        self.silent = 0
        if not self.useless:
            self._pauses = 0

    def note_refused(self, now: float) -> None:
        """Note a refused submission."""
        self.refused += 1
        delay = DELAYS[min(self.refused, len(DELAYS)) - 1]
        if self.refused >= MAX_REFUSED:
            delay = DELAYS[-1]
        # The delays are not added up: the later of both pauses counts.
        self._until = max(self._until, now + delay)

    def worked(self) -> None:
        """Note that a pilot can be used."""
        self.useless = self._pauses = 0

    def note_silent(self, now: float) -> None:
        """Note a pilot that ended before it spoke. One that was preempted did not end."""
        self.silent += 1
        self._pause(self.silent, now)

    def note_useless(self, now: float) -> None:
        """Note a pilot that reported and was no use: refused as a host, drained, or gone at once."""
        self.useless += 1
        self._pause(self.useless, now)

    def _pause(self, in_a_row: int, now: float) -> None:
        # All pilots of an array may fail together: that is one pause.
        if in_a_row >= MAX_SILENT and now >= self._paused_until:
            self._pauses += 1
            # The first pause is the third delay of the list: each silent pilot has used up an
            # allocation.
            self._paused_until = now + DELAYS[min(self._pauses + 1, len(DELAYS) - 1)]
            self._until = max(self._until, self._paused_until)

    def may_submit(self, now: float) -> bool:
        """Return whether a submission may be made now."""
        if now < self._until:
            return False
        # One more try after the pause.
        self.silent, self.useless = (min(each, MAX_SILENT - 1) for each in (self.silent, self.useless))
        return True

    def is_hopeless(self, now: float) -> bool:
        """Return whether nothing is worth waiting for, as submissions or pilots fail one by one."""
        is_paused = max(self.silent, self.useless) >= MAX_SILENT and now < self._until
        return self.refused >= MAX_WAITED_REFUSALS or is_paused


def wanted(demand: Demand, pool: PoolSetup) -> int:
    """Return how many pilots should run or wait: as many as have pages for all of their cores."""
    return min(pool.pilots, math.ceil(demand.pages / pool.cores))


def to_submit(want: int, live: int, waiting: int) -> int:
    """Return how many pilots to submit now, if so many should run or wait.

    No more of them wait than run, or MAX_WAITING. So a full cluster has a short queue of ours, and one
    that is free is filled in a few arrays, each as large as all before it.
    """
    return max(0, min(want - live, max(MAX_WAITING, live)) - waiting)


def shares(pages: int, pools: Sequence[PoolSetup], idle: Collection[str] = ()) -> list[int]:
    """Return for how many of the unfinished pages each pool should have slots.

    In proportion to the cores that a pool may have, so that all of them together have no more than
    there are pages. ``idle``: pools that bring nothing now, by name; the others do not count on them.
    """
    capacities = [pool.pilots * pool.cores for pool in pools]
    working = sum(each for each, pool in zip(capacities, pools, strict=True) if pool.name not in idle)
    found = []
    for capacity, pool in zip(capacities, pools, strict=True):
        # An idle pool keeps its own share: it tries again after its pause.
        total = working + capacity if pool.name in idle else working
        found.append(math.ceil(pages * capacity / total))
    return found
