"""Decides which jobs of the queue to run now, and in which order. Pure.

- A job waits while it is held, before its start time, while a job that it depends on is unfinished, and
  while a coordinator runs it.
- The highest priority goes first. Each minute in the queue counts as one point of priority, so that no
  job waits for ever. Jobs of equal rank go in the order of their submission.
- A job that was rendered in the foreground, not submitted, is taken over only if its coordinator
  disappeared without releasing the lease.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

AGING_INTERVAL = 60.0
"""Seconds in the queue that raise a job's rank by one point of priority."""


class LeaseHolder(enum.Enum):
    """The holder of a job's lease, as far as an observer can tell."""

    NONE = "none"
    """It was released, or never taken."""
    VANISHED = "vanished"
    """The coordinator has disappeared: the heartbeat stands still, or its process has ended."""
    UNSURE = "unsure"
    """The lease has not been observed for long enough."""
    ACTIVE = "active"
    """A coordinator runs the job: its heartbeat was seen to advance."""


class Entry(NamedTuple):
    """A job in the queue, or outside it. Times are wall-clock seconds; ``not_before`` 0: any time.

    ``submitted`` None: it was rendered in the foreground. ``after``: names of jobs that it depends on.
    """

    name: str
    holder: LeaseHolder = LeaseHolder.NONE
    priority: int = 0
    submitted: float | None = None
    is_over: bool = False
    is_held: bool = False
    after: tuple[str, ...] = ()
    not_before: float = 0.0
    dead_lease: str = ""
    """The content of its lease while that stood still, if its holder has vanished."""

    def rank(self, now: float) -> tuple[float, float, str]:
        """Return a sort key; the lowest goes first."""
        since = now if self.submitted is None else self.submitted
        waited = max(0.0, now - since)
        return -(self.priority + math.floor(waited / AGING_INTERVAL)), since, self.name


class QueueState(enum.Enum):
    """The state of a job in the queue: what it waits for."""

    FINISHED = "finished"
    """Nothing: it has ended."""
    HELD = "held"
    """Its release."""
    DEFERRED = "deferred"
    """Its start time."""
    BLOCKED = "blocked"
    """The end of a job that it depends on."""
    RUNNING = "running"
    """Nothing: a coordinator runs it."""
    UNSURE = "unsure"
    """Certainty whether its coordinator is still alive."""
    NOT_SUBMITTED = "not submitted"
    """Its user: it was rendered in the foreground, and its lease was released."""
    READY = "ready"
    """A free place among the running jobs."""


def state(entry: Entry, unfinished: Collection[str], now: float) -> QueueState:
    """Return what the job waits for.

    ``unfinished``: the names of all jobs, of all users, that are not known to be finished.
    """
    # The order decides which reason is shown when several apply.
    if entry.is_over:
        return QueueState.FINISHED
    # A held job is RUNNING until its coordinator has ended the run.
    if entry.holder is LeaseHolder.ACTIVE:
        return QueueState.RUNNING
    if entry.is_held:
        return QueueState.HELD
    if entry.submitted is None and entry.holder is LeaseHolder.NONE:
        return QueueState.NOT_SUBMITTED
    if entry.holder is LeaseHolder.UNSURE:
        return QueueState.UNSURE
    if now < entry.not_before:
        return QueueState.DEFERRED
    if any(name in unfinished and name != entry.name for name in entry.after):
        return QueueState.BLOCKED
    return QueueState.READY


def ready(entries: Sequence[Entry], unfinished: Collection[str], now: float) -> list[Entry]:
    """Return the jobs that can start, in order. ``unfinished``: as for ``state``."""
    found = [entry for entry in entries if state(entry, unfinished, now) is QueueState.READY]
    return sorted(found, key=lambda entry: entry.rank(now))


def places(entries: Sequence[Entry], unfinished: Collection[str], now: float) -> dict[str, int]:
    """Return by name, from 1, the place of each job that can start. ``unfinished``: as for ``state``."""
    return {entry.name: place for place, entry in enumerate(ready(entries, unfinished, now), 1)}


def choose(waiting: Iterable[Entry], running: Collection[int], at_once: int, now: float) -> list[Entry]:
    """Return the jobs to start now, of those that are ready. ``running``: the running jobs' priorities.

    A job that is more urgent than all running ones does not wait for one of them to end: it gets slots
    first, and they yield theirs. At most twice ``at_once`` jobs run.
    """
    chosen: list[Entry] = []
    for entry in sorted(waiting, key=lambda entry: entry.rank(now)):
        active = len(running) + len(chosen)
        # The most urgent job that would run; nothing runs: -inf, so that any job is more urgent.
        most = max([*running, *(each.priority for each in chosen)], default=-math.inf)
        if active < at_once or (entry.priority > most and active < 2 * at_once):
            chosen.append(entry)
    return chosen


def circle(name: str, after: Iterable[str], known: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the cycle of dependencies that a job would be part of; empty if there is none.

    ``after``: the jobs that it would depend on. ``known``: the dependencies of each unfinished job. A
    job that depends only on itself does not wait (``state``).
    """
    ways: list[tuple[str, ...]] = [(name, other) for other in after if other != name]
    # Each job is visited once, so the search ends, whatever cycles other jobs form.
    seen = {other for _, other in ways}
    for way in ways:  # grows while it is read: a breadth-first search
        for other in known.get(way[-1], ()):
            if other == name:
                return (*way, name)
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()
