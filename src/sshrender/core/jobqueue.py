"""Which jobs of the queue are to be seen through now, and in which order. Pure.

- A job waits while it is held, while its moment has not come, while one that it comes after is not over,
  and while somebody coordinates it.
- The highest priority goes first; each minute in the queue counts as one point, so that none waits for
  ever. Equal ones go in the order in which they came.
- A job that nobody submitted was somebody's own: it is taken over only if he vanished without a word.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

POINT = 60.0
"""Seconds in the queue that count as much as one point of priority."""


class LeaseHolder(enum.Enum):
    """Who coordinates a job, as far as one can tell."""

    NOBODY = "nobody"
    """It was given back, or never taken."""
    VANISHED = "vanished"
    """Its lease stands still, or its process is gone."""
    UNSURE = "unsure"
    """The lease has not been watched for long enough."""
    SOMEBODY = "somebody"
    """The lease was seen to move."""


class Entry(NamedTuple):
    """A job in the queue, or out of it. Moments in wall-clock seconds; ``not_before`` 0: any time."""

    name: str
    holder: LeaseHolder = LeaseHolder.NOBODY
    priority: int = 0
    submitted: float | None = None
    is_over: bool = False
    is_held: bool = False
    after: tuple[str, ...] = ()
    not_before: float = 0.0
    standing: str = ""
    """What its lease has been for long enough, where its holder has vanished."""

    def rank(self, now: float) -> tuple[float, float, str]:
        """The lowest goes first."""
        since = now if self.submitted is None else self.submitted
        waited = max(0.0, now - since)
        return -(self.priority + math.floor(waited / POINT)), since, self.name


class QueueState(enum.Enum):
    """What a job waits for."""

    OVER = "over"
    HELD = "held"
    LATER = "later"
    BEHIND = "behind others"
    ELSEWHERE = "elsewhere"
    UNSURE = "unsure"
    NOT_OURS = "not ours"
    READY = "ready"


def state(entry: Entry, unfinished: Collection[str], now: float) -> QueueState:
    """``unfinished``: the names of all jobs that are not known to be over, anybody's."""
    if entry.is_over:
        return QueueState.OVER
    if entry.holder is LeaseHolder.SOMEBODY:
        return QueueState.ELSEWHERE
    if entry.is_held:
        return QueueState.HELD
    if entry.submitted is None and entry.holder is LeaseHolder.NOBODY:
        return QueueState.NOT_OURS
    if entry.holder is LeaseHolder.UNSURE:
        return QueueState.UNSURE
    if now < entry.not_before:
        return QueueState.LATER
    if any(name in unfinished and name != entry.name for name in entry.after):
        return QueueState.BEHIND
    return QueueState.READY


def ready(entries: Sequence[Entry], unfinished: Collection[str], now: float) -> list[Entry]:
    """Those that are to be seen through, the first one first. ``unfinished``: as for ``state``."""
    found = [entry for entry in entries if state(entry, unfinished, now) is QueueState.READY]
    return sorted(found, key=lambda entry: entry.rank(now))


def choose(waiting: Iterable[Entry], running: Collection[int], at_once: int, now: float) -> list[Entry]:
    """The next to start, of those that are ready. ``running``: the priorities of those under way.

    One that is more urgent than all under way need not wait for one of them to end: on the hosts it goes
    first, and they make room. Twice as many as ``at_once`` are the most.
    """
    chosen: list[Entry] = []
    for entry in sorted(waiting, key=lambda entry: entry.rank(now)):
        under_way = len(running) + len(chosen)
        most = max([*running, *(each.priority for each in chosen)], default=-math.inf)
        if under_way < at_once or (entry.priority > most and under_way < 2 * at_once):
            chosen.append(entry)
    return chosen


def circle(name: str, after: Iterable[str], known: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The way from a job by those that it would come after, and so on, back to it; empty: there is none.

    ``known``: what each unfinished job comes after. A job that is to come after itself alone does not
    wait (``state``).
    """
    ways: list[tuple[str, ...]] = [(name, other) for other in after if other != name]
    seen = {other for _, other in ways}
    for way in ways:
        for other in known.get(way[-1], ()):
            if other == name:
                return (*way, name)
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()
