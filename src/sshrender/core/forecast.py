"""Forecasts when a host will finish a page, for assignment and hedging. Pure.

A host's speed is measured, in seconds per page of cost 1 (records.Host). A host of unknown speed counts
as average. A page that has taken longer than expected is expected to take a quarter of its time more:
nothing better is known about work without a known end.
"""

from __future__ import annotations

from sshrender.core.records import Attempt, Host, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import HostState

_OVERRUN_SHARE = 0.25
"""The part of the time that has passed that is expected on top of it, once a forecast was exceeded."""

SLOT_LOCK_WAIT = 5.0
"""Seconds that a job waits for a slot lock behind another job of its rank (runner/slotlocks.py)."""


def usual_seconds_per_page(run: SchedulerState) -> float | None:
    """Return the seconds of a page of cost 1 on an average host; None before the first page."""
    known = [host.seconds_per_a4 for host in run.hosts.values() if host.seconds_per_a4 is not None]
    return sum(known) / len(known) if known else None


def seconds_for(host: Host, page: Page, usual: float | None) -> float | None:
    """Return how long a free slot of this host needs for the page; None if no speed is known."""
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual
    return None if seconds_per_a4 is None else seconds_per_a4 * page.cost + host.transfer_seconds


def seconds_until_free(host: Host, usual: float | None) -> float:
    """Return how long until a slot of this host is free for one more page."""
    if len(host.in_flight) < host.usable_slots:
        return 0.0
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual or 0.0
    by_slots = seconds_per_a4 * host.backlog / max(host.usable_slots, 1)
    return max(by_slots, host.transfer_seconds * len(host.in_flight)) + slot_lock_wait(host)


def slot_lock_wait(host: Host) -> float:
    """Return how long the job waits for a slot, if other jobs hold them all."""
    return 0.0 if host.usable_slots else SLOT_LOCK_WAIT


def seconds_left(run: SchedulerState, host: Host, attempt: Attempt, usual: float | None) -> float | None:
    """Return how long the attempt will take until its end; None if no speed is known."""
    whole = seconds_for(host, run.page_queue[attempt.page], usual)
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


class Forecast:
    """How long the idle hosts together need for everything that is left. Made for each assignment."""

    def __init__(self, run: SchedulerState) -> None:
        idle = [host for host in run.hosts.values() if host.state is HostState.IDLE]
        known = [host for host in idle if host.seconds_per_a4 is not None]
        self._fastest = sorted(known, key=lambda host: host.seconds_per_a4 or 0.0)[:2]
        self._cost = run.page_queue.cost_to_send
        self._backlog = sum(host.backlog for host in idle)
        self._rate = sum(_rate(host) for host in known)

    def sent(self, cost: float) -> None:
        """Move this cost from the waiting pages to those in flight."""
        self._cost -= cost
        self._backlog += cost

    def seconds_without(self, host: Host, page: Page) -> float | None:
        """Return when the other hosts would have finished everything; None if no speed is known."""
        fastest = next((other for other in self._fastest if other is not host), None)
        rate = self._rate - _rate(host)
        if fastest is None or rate <= 0:
            return None
        last = seconds_for(fastest, page, None) or 0.0
        return (self._cost + self._backlog - host.backlog) / rate + last


def _rate(host: Host) -> float:
    """Return the host's speed in pages of cost 1 per second."""
    each = host.seconds_between_pages
    return 1 / each if each else 0.0
