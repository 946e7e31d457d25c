"""Handing out: which page goes to which host, what is called back, what is drawn by two hosts at once.

- A page goes where it is expected to be finished first, among the hosts that have room.
- At the tail a host gets no page that the others would be through with sooner, all of the rest
  included: the slowest host never holds the last page.
- What is queued behind a running page comes back for a slot that has nothing.
- A job that is limited to some slots has them on the fastest hosts, and keeps them where it has them,
  unless there is nothing for it to do there, or nowhere to sit.
- When nothing waits, a host with a free slot draws once more the page from which that is expected to
  save most. The first that is proved counts; the other is called off, and failed nobody.
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
"""Seconds between two looks for something to draw twice: forecasts change with time, and cost some."""

_CANDIDATES = 64

_UNKNOWN_SPEED_SECONDS = 0.75
"""Seconds to be expected of an attempt, which is after three, that let a host try of whose speed, and of
every other one's, nothing is known yet."""

_RECALL_INTERVAL = 1.0
"""Seconds before a page is called back again: the host that was quickest then may be so still."""

_REVOKED_TIMEOUT = 1.0
"""Seconds in which a host that is well has handed back what it was asked for."""


class Assignment:
    """Asked whenever something has changed."""

    def __init__(self, run: SchedulerState) -> None:
        self._run = run
        self._hedged_at = -math.inf

    def share_slots(self) -> None:
        """Share out the slots that the job may have."""
        run = self._run
        if run.limit is None:
            for host in run.hosts.values():
                run.set_slot_limit(host, None)
            return
        idle = run.idle_hosts()
        left = run.limit - sum(host.started_count for host in run.hosts.values() if host not in idle)
        for host in sorted(idle, key=_limit_rank):
            run.set_slot_limit(host, max(0, min(self._could_use(host), left)))
            left -= max(host.slot_limit or 0, host.started_count)

    def _could_use(self, host: Host) -> int:
        """Slots there that the job would have something for."""
        has_nothing = not host.in_flight and self._run.page_queue.has_waiting()
        if has_nothing and self._page_for(host) is None:
            return 0  # what waits is for other hosts, which may have no slot as long as this one has
        return (
            host.slots if host.available_slots is None else max(1, min(host.slots, host.available_slots))
        )

    def assign(self) -> None:
        """Send waiting pages to whoever has room."""
        run = self._run
        if run.storage.is_suspended() or not run.page_queue.has_waiting():
            return
        takers = [host for host in run.idle_hosts() if host.capacity(run.policy) > 0]
        if not takers:
            return
        usual, outlook = forecast.usual_seconds_per_page(run) or 1.0, forecast.Forecast(run)
        while takers:
            host = min(takers, key=lambda host: _finish(host, usual))
            page = self._page_for(host)
            if page is None or not self._is_worth_it(host, page, outlook):
                takers.remove(host)
                continue
            run.send(page, host)
            outlook.sent(page.cost)
            if host.capacity(run.policy) <= 0:
                takers.remove(host)

    def _page_for(self, host: Host) -> Page | None:
        """The next page for this host: one in trouble that it may try, else the next fresh one."""
        for page in self._run.page_queue.constrained():
            if self._may_try(page, host):
                return page
        return (
            self._page_for_transfer(host)
            if host.plan.needs_transfer
            else self._run.page_queue.next_unconstrained()
        )

    def _page_for_transfer(self, host: Host) -> Page | None:
        """A page of a part that this host was staged_parts, else of one that nobody was, else any."""
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
        """A page goes back to where it failed only when nothing else is left to do."""
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
        if page.is_constrained or host.seconds_per_a4 is None:
            return True
        others = outlook.seconds_without(host, page)
        own = forecast.seconds_for(host, page, None)
        if others is None or own is None:
            return True
        return forecast.seconds_until_free(host, None) + own <= others

    # At the tail

    def recall(self) -> None:
        """What is queued behind a running page is wanted for slots that have nothing."""
        run = self._run
        if run.page_queue.has_waiting() or run.storage.paused:
            return
        for attempt in list(self._recallable()):
            run.page_queue[attempt.page].recalled_at = run.now
            run.revoke(attempt, "another host had nothing to do")

    def _recallable(self) -> Iterator[Attempt]:
        idle = self._run.idle_hosts()
        free = sum(host.free_slots() for host in idle)
        free -= sum(attempt.is_revoking for attempt in self._run.attempts.values())
        for host in sorted(idle, key=lambda host: host.usable_slots - len(host.in_flight)):
            waiting = [each for each in host.in_flight.values() if each.started_at is None]
            surplus = min(len(host.in_flight) - host.usable_slots, free, len(waiting))
            for attempt in reversed(waiting[-surplus:] if surplus > 0 else []):
                page = self._run.page_queue[attempt.page]
                is_recent = self._run.now - page.recalled_at < _RECALL_INTERVAL
                if not attempt.is_revoking and not is_recent and page.state not in FINISHED:
                    free -= 1
                    yield attempt

    def hedge(self) -> None:
        """Let free slots draw what others are expected to be long about."""
        run = self._run
        if not run.policy.hedge or run.page_queue.has_waiting() or run.storage.is_suspended():
            return
        free = [host for host in run.idle_hosts() if host.free_slots()]
        if not free or run.now - self._hedged_at < _HEDGE_INTERVAL:
            return
        self._hedged_at = run.now
        usual = forecast.usual_seconds_per_page(run)
        free.sort(key=lambda host: host.seconds_per_a4 or usual or 0.0)
        longest = self._longest()
        for host in free:
            for attempt, left in longest:
                if not host.free_slots():
                    break
                own = forecast.seconds_for(host, run.page_queue[attempt.page], usual)
                saves = (
                    left > _UNKNOWN_SPEED_SECONDS if own is None else left - own > run.policy.hedge_gain
                )
                if saves and self._may_be_doubled(attempt, host):
                    because = f"{attempt.host} has it, and may need {left:.1f} s more"
                    run.send(run.page_queue[attempt.page], host, because)

    def _longest(self) -> list[tuple[Attempt, float]]:
        """The attempts that will take longest to their end, and how long; the very longest first."""
        run = self._run
        usual = forecast.usual_seconds_per_page(run)
        found = []
        for attempt in run.attempts.values():
            left = forecast.seconds_left(run, run.hosts[attempt.host], attempt, usual)
            if left is not None and left > run.policy.hedge_gain:
                found.append((attempt, left))
        return heapq.nlargest(_CANDIDATES, found, key=lambda pair: pair[1])

    def _may_be_doubled(self, attempt: Attempt, host: Host) -> bool:
        page, now = self._run.page_queue[attempt.page], self._run.now
        if page.state in FINISHED or len(page.live) > 1 or attempt.is_killed:
            return False
        if page.charged >= self._run.policy.retries:
            return False  # its last chance
        if attempt.host == host.name or not host.can_render(page) or page.failed_on(host.name):
            return False
        if attempt.rendered_at is not None:
            return now - attempt.rendered_at > self._run.policy.verification_timeout
        return attempt.revoked_at is None or now - attempt.revoked_at > _REVOKED_TIMEOUT


def _limit_rank(host: Host) -> tuple[bool, bool, float]:
    """The lowest has slots first."""
    has_no_slot = host.available_slots == 0 and not host.started_count
    return has_no_slot, not host.slot_limit, host.seconds_per_a4 or 0.0


def _finish(host: Host, usual: float) -> float:
    """When an A4 page that is sent there now would be finished, from now."""
    seconds_per_a4 = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual
    drawing = seconds_per_a4 * (1 + host.backlog / max(host.usable_slots, 1))
    return drawing + host.transfer_seconds * (1 + len(host.in_flight)) + forecast.slot_lock_wait(host)
