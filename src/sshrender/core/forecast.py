"""Forecasts when a host will finish a page, for assignment and hedging. Pure.

A host's speed is measured, in seconds per page of cost 1 (records.Host). A host of unknown speed counts
as average. A page that has taken longer than expected is expected to take a quarter of its time more:
nothing better is known about work without a known end.
"""

from __future__ import annotations

from sshrender.core.hosttotals import SLOT_LOCK_WAIT, rate
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.schedulerstate import SchedulerState

_OVERRUN_SHARE = 0.25
"""The part of the time that has passed that is expected on top of it, once a forecast was exceeded."""

_MIN_RATE = 1e-6
"""Pages a second that count as none: what is left of a sum when a rate was taken from it."""


def usual_seconds_per_page(run: SchedulerState) -> float | None:
    """Return the seconds of a page of cost 1 on an average host; None before the first page."""
    return run.totals.refresh().usual


def seconds_for(host: Host, page: Page, usual: float | None) -> float | None:
    """Return how long a free slot of this host needs for the page; None if no speed is known."""
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual
    return None if seconds_per_a4 is None else seconds_per_a4 * page.cost + host.transfer_seconds


def seconds_until_free(host: Host, usual: float | None) -> float:
    """Return how long until a slot of this host is free for one more page."""
    if len(host.in_flight) < host.usable_slots:
        return 0.0
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual or 0.0
    # Slots and wire work at the same time: the slower of them decides.
    by_slots = seconds_per_a4 * host.backlog / max(host.usable_slots, 1)
    return max(by_slots, host.transfer_seconds * len(host.in_flight)) + slot_lock_wait(host)


def slot_lock_wait(host: Host) -> float:
    """Return how long the job waits for a slot, if other jobs hold them all."""
    return 0.0 if host.usable_slots else SLOT_LOCK_WAIT


def seconds_left(run: SchedulerState, host: Host, attempt: Attempt, usual: float | None) -> float | None:
    """Return how long the attempt will take until its end; None if no speed is known."""
    whole = seconds_for(host, run.page_queue[attempt.page], usual)
    # The host has done its part, and verification has no forecast.
    if attempt.rendered_at is not None:
        return _overrun(run.now - attempt.rendered_at)
    if attempt.started_at is None:  # queued behind others; hosts report starts a little late
        waits = run.now - attempt.sent_at
        return None if whole is None else max(seconds_until_free(host, usual) + whole, _overrun(waits))
    elapsed = run.now - attempt.started_at
    if whole is None or elapsed >= whole:
        return _overrun(elapsed)
    return whole - elapsed


def _overrun(elapsed: float) -> float:
    return _OVERRUN_SHARE * elapsed


def is_finished_sooner(run: SchedulerState, host: Host, page: Page) -> bool:
    """Return whether this host would finish the page before the others finish all that is left.

    True if that is not known.
    """
    own = seconds_for(host, page, None)
    totals = run.totals.refresh()
    if own is None or not totals.rate:
        return True
    own += seconds_until_free(host, None)
    # Everything besides what this host has in flight, which ``own`` counts already.
    left = run.page_queue.cost_to_send + totals.backlog - host.backlog
    # While much is left, all hosts together would take longer than this one: the others even more so.
    if own <= left / totals.rate:
        return True
    others_rate = totals.rate - rate(host)
    fastest = totals.fastest.first_besides(host.name)
    if fastest is None or others_rate <= _MIN_RATE:
        return True
    # The page itself would be the last of all, on the fastest of the others.
    last = seconds_for(run.hosts[fastest[2]], page, None) or 0.0
    return own <= left / others_rate + last
