"""Whose turn it is on a host that several jobs want: who sits down next, and who gets up for him. Pure.

- A higher priority goes first: who has a lower one gets up after the page that he draws.
- Jobs of equal priority share the seats equally. What cannot be divided goes round: a seat is kept for
  SLICE while another job of that priority has one less.
- Nobody starves: who has waited for STARVED is next, whatever his priority, and sits for TURN.

Times are this machine's monotonic seconds, which all its processes share.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from collections import Counter
from typing import List, NamedTuple, Sequence

TURN = 1.0
"""Seconds that a seat is kept at least, unless a higher priority wants it: a renderer starts in 0.1."""

SLICE = 4.0
STARVED = 30.0

FOREMOST = 1024
"""Above every priority that a job can have: whoever has starved, for one turn."""


class SlotHolder(NamedTuple):
    """Who has a seat, and since when."""

    seat: int
    job: str
    priority: int
    since: float


class Waiter(NamedTuple):
    """Who wants one, and since when. ``who``: tells him from the others of his job."""

    who: str
    job: str
    priority: int
    since: float

    def is_starved(self, now: float) -> bool:
        """Whether he has waited too long."""
        return now - self.since >= STARVED


def order(waiters: Sequence[Waiter], sitters: Sequence[SlotHolder], now: float) -> List[Waiter]:
    """Who is next, the very next first. Each that is before another of its job counts as if it sat."""
    seats = Counter(sitter.job for sitter in sitters)
    left, found = list(waiters), []
    while left:
        first = min(
            left,
            key=lambda w: (
                not w.is_starved(now),
                0 if w.is_starved(now) else -w.priority,
                seats[w.job],
                w.since,
                w.who,
            ),
        )
        left.remove(first)
        found.append(first)
        seats[first.job] += 1
    return found


def gets_up(
    seat: int, sitters: Sequence[SlotHolder], waiters: Sequence[Waiter], free: int, now: float
) -> bool:
    """Whether who sits there is to make way; ``free`` waiters find a seat without that."""
    seats = Counter(sitter.job for sitter in sitters)
    staying = sorted(sitters, key=lambda s: (s.priority, -seats[s.job], s.since))
    for waiter in order(waiters, sitters, now)[free:]:
        leaving = next((s for s in staying if _yields(s, waiter, seats, now)), None)
        if leaving is None:
            continue
        if leaving.seat == seat:
            return True
        staying.remove(leaving)
        seats[leaving.job] -= 1
        seats[waiter.job] += 1
    return False


def _yields(sitter: SlotHolder, waiter: Waiter, seats: "Counter[str]", now: float) -> bool:
    sat = now - sitter.since
    if sitter.job == waiter.job:
        return False
    if waiter.priority > sitter.priority:
        return True
    if waiter.is_starved(now):
        return sitter.priority < FOREMOST and sat >= TURN
    if waiter.priority < sitter.priority:
        return False
    surplus = seats[sitter.job] - seats[waiter.job]
    return surplus > 0 and sat >= (TURN if surplus > 1 else SLICE)
