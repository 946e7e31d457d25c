"""Decides which job gets the next slot of a host and which job must yield one. Pure.

Several jobs of one user may render on a host at the same time. The rules:

- A job of a higher priority goes first. A job of a lower priority yields after the page that it renders.
- Jobs of equal priority share the slots equally. What cannot be divided goes round: a job keeps the odd
  slot for TIME_SLICE while another job of that priority has one slot less.
- Every job makes progress: a slot that has waited for STARVATION_TIMEOUT is next, whatever its priority,
  and keeps the lock for MIN_HOLD_TIME.

Times are this machine's monotonic seconds, which all its processes share (clock_gettime(2)).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from collections import Counter
from typing import List, NamedTuple, Sequence

MIN_HOLD_TIME = 1.0
"""Seconds that a slot is kept at least, unless a job of higher priority waits: a renderer that starts
costs 0.1 s, which is then at most a tenth."""

TIME_SLICE = 4.0
"""Seconds after which the odd slot goes to the next of two jobs of equal priority."""

STARVATION_TIMEOUT = 30.0
"""Seconds of waiting after which a waiter goes before every priority."""

TOP_PRIORITY = 1024
"""Above every priority that a job can have: of a waiter that has starved, for MIN_HOLD_TIME."""


class SlotHolder(NamedTuple):
    """A slot that is held: its job, the priority, and the time since when."""

    slot: int
    job: str
    priority: int
    since: float


class Waiter(NamedTuple):
    """One of a job's slots that waits for a lock. ``id`` differs from those of the job's other slots."""

    id: str
    job: str
    priority: int
    since: float

    def is_starved(self, now: float) -> bool:
        """Return whether it has waited so long that it goes before every priority."""
        return now - self.since >= STARVATION_TIMEOUT


def order(waiters: Sequence[Waiter], holders: Sequence[SlotHolder], now: float) -> List[Waiter]:
    """Return the waiters in the order in which they get slots.

    Each waiter that is placed counts as a holder for those after it, so that a job with many waiters
    does not get all free slots in a row.
    """
    # Each waiter that is placed raises the count of its job, so the next choice sees it.
    held = Counter(holder.job for holder in holders)
    left, found = list(waiters), []
    while left:
        first = min(
            left,
            key=lambda w: (
                # False sorts before True: waiters that have starved come first, whatever their priority.
                not w.is_starved(now),
                0 if w.is_starved(now) else -w.priority,
                # The job that holds least comes first, so that equal jobs get equal numbers of slots.
                held[w.job],
                w.since,
                w.id,  # the same order in every process that computes it
            ),
        )
        left.remove(first)
        found.append(first)
        held[first.job] += 1
    return found


def must_yield(
    slot: int, holders: Sequence[SlotHolder], waiters: Sequence[Waiter], free: int, now: float
) -> bool:
    """Return whether the holder of ``slot`` must yield it. ``free`` waiters get a slot without that.

    Every process on the host computes this from the same facts. The waiters are served in their order,
    each by the holder of lowest priority whose job holds most slots, so that all processes find the same
    holders and no more of them yield than waiters need.
    """
    held = Counter(holder.job for holder in holders)
    # Lowest priority first, then the job with most slots, then the slot that was held longest.
    staying = sorted(holders, key=lambda h: (h.priority, -held[h.job], h.since))
    # The first ``free`` waiters of the order get a slot without a holder that yields.
    for waiter in order(waiters, holders, now)[free:]:
        yielding = next((h for h in staying if _yields_to(h, waiter, held, now)), None)
        if yielding is None:
            continue
        if yielding.slot == slot:
            return True
        # The counts follow as if both had moved, so the next waiter is served from the state after that.
        staying.remove(yielding)
        held[yielding.job] -= 1
        held[waiter.job] += 1
    return False


def _yields_to(holder: SlotHolder, waiter: Waiter, held: "Counter[str]", now: float) -> bool:
    seconds = now - holder.since
    # A job never takes slots from itself: its waiter would wait again as soon as it had yielded.
    if holder.job == waiter.job:
        return False
    if waiter.priority > holder.priority:
        return True
    if waiter.is_starved(now):
        # A slot that was taken by a waiter that had starved shows TOP_PRIORITY for MIN_HOLD_TIME
        # (slotlocks.py).
        return holder.priority < TOP_PRIORITY and seconds >= MIN_HOLD_TIME
    if waiter.priority < holder.priority:
        return False
    surplus = held[holder.job] - held[waiter.job]
    # A surplus of one is the odd slot: giving it away only swaps the two jobs.
    return surplus > 0 and seconds >= (MIN_HOLD_TIME if surplus > 1 else TIME_SLICE)
