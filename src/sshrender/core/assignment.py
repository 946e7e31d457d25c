"""Assigns pages to hosts, recalls queued pages for free slots, and repeats slow pages near the end.

- A page goes to the host that is expected to finish it first, among those with capacity.
- Near the end a host gets no page that the others would finish sooner together with everything else that
  is left. So the slowest host never holds the last page.
- A page that is queued behind a running one is recalled when another host has a free slot.
- A job with a slot limit uses the fastest hosts. It keeps the slots that it has, unless the host has no
  suitable page or no free slot.
- When no page waits, free slots render pages again whose repetition is expected to save most time
  (hedging). The attempt that is verified first counts; the other is dropped, and nothing is charged for
  it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from sshrender.core import forecast
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import FINISHED, HostState

_MAY_TAKE = (HostState.IDLE, HostState.CONNECTING)

_HEDGE_INTERVAL = 0.2
"""Seconds between two searches for pages to repeat: forecasts change with time, and a search visits
every attempt."""

_CANDIDATES = 64
"""Slowest attempts that are considered in one search."""

_UNKNOWN_SPEED_SECONDS = 0.75
"""Expected seconds that are left of an attempt before a host repeats it while no host's speed is known.
That is so after three seconds, as an attempt is expected to take a quarter of its time more
(forecast.py)."""

_RECALL_INTERVAL = 1.0
"""Seconds before a page is recalled again: it may have gone back to the same host, the fastest one."""

_REVOKED_TIMEOUT = 1.0
"""Seconds in which a healthy host returns a revoked attempt; after that the page is repeated
elsewhere."""


class Assignment:
    """Chooses pages and hosts. Its methods are called, in order, on every turn of the scheduler."""

    def __init__(self, run: SchedulerState) -> None:
        self._run = run
        self._hedged_at = -math.inf

    def share_slots(self) -> None:
        """Distribute the slots of the job's limit over the hosts."""
        run = self._run
        if run.limit is None:
            for host in run.hosts.values():
                run.set_slot_limit(host, None)
            return
        idle = run.idle_hosts()
        # Hosts that are not idle keep what their slots have started, and get nothing new.
        left = run.limit - sum(host.started_count for host in run.hosts.values() if host not in idle)
        for host in sorted(idle, key=_limit_rank):
            run.set_slot_limit(host, max(0, min(self._useful_slots(host), left)))
            left -= max(host.slot_limit or 0, host.started_count)

    def _useful_slots(self, host: Host) -> int:
        """Return how many slots of the host the job has pages for."""
        has_nothing = not host.in_flight and self._run.page_queue.has_waiting()
        if has_nothing and self._page_for(host) is None:
            return 0  # the pages that wait need other hosts, which get no slot while this one has them
        return (
            host.slots if host.available_slots is None else max(1, min(host.slots, host.available_slots))
        )

    def assign(self) -> None:
        """Send waiting pages to hosts with capacity."""
        run = self._run
        if run.storage.is_suspended() or not run.page_queue.has_waiting():
            return
        takers = [host for host in run.idle_hosts() if host.capacity(run.policy) > 0]
        if not takers:
            return
        usual, outlook = forecast.usual_seconds_per_page(run) or 1.0, forecast.Forecast(run)
        # One page at a time, as each changes the forecasts. A host without a suitable page leaves the
        # loop.
        while takers:
            host = min(takers, key=lambda host: _seconds_to_finish(host, usual))
            page = self._page_for(host)
            if page is None or not self._is_worth_it(host, page, outlook):
                takers.remove(host)
                continue
            run.send(page, host)
            outlook.sent(page.cost)
            if host.capacity(run.policy) <= 0:
                takers.remove(host)

    def _page_for(self, host: Host) -> Page | None:
        """Return the next page for this host: a constrained one if any suits, else another."""
        for page in self._run.page_queue.constrained():
            if self._may_try(page, host):
                return page
        return (
            self._page_for_transfer(host)
            if host.plan.needs_transfer
            else self._run.page_queue.next_unconstrained()
        )

    def _page_for_transfer(self, host: Host) -> Page | None:
        """Return a page of a part that was copied to this host, else of one that no host has, else any.

        Beside hosts with a SAN, which take pages from the front, parts are taken from the end: so a part
        that was copied is used whole.
        """
        page_queue, hosts = self._run.page_queue, self._run.hosts.values()
        for part in reversed(host.staged_parts):
            page = page_queue.next_in_part(part)
            if page is not None:
                return page
        taken = {part for other in hosts for part in other.staged_parts}
        has_sharers = any(not other.plan.needs_transfer for other in self._run.idle_hosts())
        return (
            page_queue.next_in_unstaged_part(taken, from_end=has_sharers)
            or page_queue.next_unconstrained()
        )

    def _may_try(self, page: Page, host: Host) -> bool:
        """Return whether the host may try a constrained page.

        It returns to a host where it failed only if no other page waits and no other host can try it.
        """
        if not host.can_render(page):
            return False
        if not page.failed_on(host.name):
            return True
        if self._run.page_queue.has_unconstrained():
            return False
        return not any(
            other.state in _MAY_TAKE and other.can_render(page) and not page.failed_on(other.name)
            for other in self._run.hosts.values()
        )

    @staticmethod
    def _is_worth_it(host: Host, page: Page, outlook: forecast.Forecast) -> bool:
        """Return whether the host would finish the page before the others finish everything."""
        # A page that failed elsewhere cannot wait for a faster host; a host of unknown speed must be
        # measured.
        if page.is_constrained or host.seconds_per_a4 is None:
            return True
        others = outlook.seconds_without(host, page)
        own = forecast.seconds_for(host, page, None)
        if others is None or own is None:
            return True
        return forecast.seconds_until_free(host, None) + own <= others

    # Near the end, when no page waits

    def recall(self) -> None:
        """Recall pages that are queued behind running ones, for free slots elsewhere."""
        run = self._run
        if run.page_queue.has_waiting() or run.storage.paused:
            return
        for attempt in list(self._recallable()):
            run.page_queue[attempt.page].recalled_at = run.now
            run.revoke(attempt, "a free host can take it")

    def _recallable(self) -> Iterator[Attempt]:
        """Yield queued attempts of the fullest hosts, at most one for each free slot."""
        idle = self._run.idle_hosts()
        free = sum(host.free_slots() for host in idle)
        # Attempts that are on their way back will fill free slots already.
        free -= sum(attempt.is_revoking for attempt in self._run.attempts.values())
        for host in sorted(idle, key=lambda host: host.usable_slots - len(host.in_flight)):
            waiting = [each for each in host.in_flight.values() if each.started_at is None]
            surplus = min(len(host.in_flight) - host.usable_slots, free, len(waiting))
            # The newest first: they would wait longest.
            for attempt in reversed(waiting[-surplus:] if surplus > 0 else []):
                page = self._run.page_queue[attempt.page]
                is_recent = self._run.now - page.recalled_at < _RECALL_INTERVAL
                if not attempt.is_revoking and not is_recent and page.state not in FINISHED:
                    free -= 1
                    yield attempt

    def hedge(self) -> None:
        """Let free slots repeat the pages that are expected to take longest."""
        run = self._run
        if not run.policy.hedge or run.page_queue.has_waiting() or run.storage.is_suspended():
            return
        free = [host for host in run.idle_hosts() if host.free_slots()]
        if not free or run.now - self._hedged_at < _HEDGE_INTERVAL:
            return
        self._hedged_at = run.now
        usual = forecast.usual_seconds_per_page(run)
        free.sort(key=lambda host: host.seconds_per_a4 or usual or 0.0)
        slowest = self._slowest()
        for host in free:
            for attempt, left in slowest:
                if not host.free_slots():
                    break
                own = forecast.seconds_for(host, run.page_queue[attempt.page], usual)
                saves = (
                    left > _UNKNOWN_SPEED_SECONDS if own is None else left - own > run.policy.hedge_gain
                )
                if saves and self._may_be_repeated(attempt, host):
                    because = f"{attempt.host} may need {left:.1f} s more for it"
                    run.send(run.page_queue[attempt.page], host, because)

    def _slowest(self) -> list[tuple[Attempt, float]]:
        """Return the attempts that will take longest, each with its seconds, the slowest first."""
        run = self._run
        usual = forecast.usual_seconds_per_page(run)
        found = []
        for attempt in run.attempts.values():
            left = forecast.seconds_left(run, run.hosts[attempt.host], attempt, usual)
            if left is not None and left > run.policy.hedge_gain:
                found.append((attempt, left))
        return heapq.nlargest(_CANDIDATES, found, key=lambda pair: pair[1])

    def _may_be_repeated(self, attempt: Attempt, host: Host) -> bool:
        page, now = self._run.page_queue[attempt.page], self._run.now
        if page.state in FINISHED or len(page.live) > 1 or attempt.is_killed:
            return False
        if page.charged >= self._run.policy.retries:
            return False  # it has failed too often already, and fails unless this attempt succeeds
        if attempt.host == host.name or not host.can_render(page) or page.failed_on(host.name):
            return False
        if attempt.rendered_at is not None:  # reported; its verification may be stuck
            return now - attempt.rendered_at > self._run.policy.verification_timeout
        return attempt.revoked_at is None or now - attempt.revoked_at > _REVOKED_TIMEOUT


def _limit_rank(host: Host) -> tuple[bool, bool, float]:
    """Return a sort key: first hosts with a free slot, then those in use already, then the fastest."""
    has_no_slot = host.available_slots == 0 and not host.started_count
    return has_no_slot, not host.slot_limit, host.seconds_per_a4 or 0.0


def _seconds_to_finish(host: Host, usual: float) -> float:
    """Return the seconds until a page of cost 1 that is sent now would be finished."""
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual
    rendering = seconds_per_a4 * (1 + host.backlog / max(host.usable_slots, 1))
    return rendering + host.transfer_seconds * (1 + len(host.in_flight)) + forecast.slot_lock_wait(host)
