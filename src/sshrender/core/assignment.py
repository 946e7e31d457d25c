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
from sshrender.core.constrainedpages import Constraint
from sshrender.core.hosttotals import pass_interval
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import FINISHED, HostState

# Hosts that a page may hope for after it failed elsewhere. A connecting host counts, as it takes pages
# in a moment.
_MAY_TAKE = (HostState.IDLE, HostState.CONNECTING)

_HEDGE_INTERVAL = 0.2
"""Seconds between two searches for pages to repeat: forecasts change with time, and a search visits
every attempt."""

_CANDIDATES = 64
"""Slowest attempts that are considered in one search."""

_HEDGE_HOSTS = 2 * _CANDIDATES
"""Fastest hosts with a free slot that are considered for them. Slower ones would save less."""

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
    """Chooses pages and hosts. Its methods are called, in order, on every turn of the scheduler.

    Most turns cost the same however many hosts there are. What has to look at all hosts, or at many, is
    done at intervals on a large farm (``pass_interval``), and on every turn on a small one.
    """

    def __init__(self, run: SchedulerState) -> None:
        self._run = run
        # Every interval begins as passed, so that the first turn makes every pass.
        self._share_after = self._unpark_after = self._recall_after = self._hedge_after = -math.inf
        # Whether hosts have slot limits that have to be removed when the user removes the job's limit.
        self._is_limited = run.limit is not None

    def share_slots(self) -> None:
        """Distribute the slots of the job's limit over the hosts."""
        run = self._run
        if run.limit is None:
            if self._is_limited:
                # Once only: each change of a host's limit is a message to its runner.
                self._is_limited = False
                for host in run.hosts.values():
                    run.set_slot_limit(host, None)
            return
        # A limit that is set for the first time applies at once. Later passes wait for the interval.
        if run.now < self._share_after and self._is_limited:
            return
        self._is_limited = True
        self._share_after = run.now + pass_interval(len(run.hosts))
        # What is left of the limit. It falls below 0 when the user lowers the limit below what runs:
        # then no host gets a slot, and what was started is finished.
        # Hosts that are not idle keep what their slots have started, and get nothing new.
        left, idle = run.limit, []
        for host in run.hosts.values():
            if host.state is HostState.IDLE:
                idle.append(host)
            else:
                left -= host.started_count
        for host in sorted(idle, key=_limit_rank):
            run.set_slot_limit(host, max(0, min(self._useful_slots(host), left)))
            # A slot that the limit takes from a host renders until its page is finished, and counts
            # until then.
            left -= max(host.slot_limit or 0, host.started_count)

    def _useful_slots(self, host: Host) -> int:
        """Return how many slots of the host the job has pages for."""
        has_nothing = not host.in_flight and self._run.page_queue.has_waiting()
        # A host with pages in flight is not examined: it keeps the slots that it has.
        if has_nothing and self._page_for(host) is None:
            return 0  # the pages that wait need other hosts, which get no slot while this one has them
        return (
            # At least one. A host whose slots other jobs hold gets one attempt, which makes its runner
            # wait for a slot lock.
            host.slots if host.available_slots is None else max(1, min(host.slots, host.available_slots))
        )

    def assign(self) -> None:
        """Send waiting pages to hosts with capacity."""
        run = self._run
        if run.storage.is_suspended() or not run.page_queue.has_waiting():
            return
        # Invariant of the loop below: ``totals`` is current whenever a taker is chosen. Both ways
        # through its body ensure that: park() changes the orders itself, and refresh() counts the host
        # that send() touched.
        totals = run.totals.refresh()
        if totals.has_parked and run.now >= self._unpark_after:
            self._unpark_after = run.now + pass_interval(len(run.hosts))
            totals.unpark()
        # Before the first page no speed is known. Any number then puts the hosts in the order of their
        # queues.
        usual = totals.usual or 1.0
        # One page at a time, as each changes the forecasts. A host without a suitable page is left out
        # for a while.
        # It ends: each turn sends a page or parks a host, and a parked host is not offered again.
        while (host := totals.next_taker(usual)) is not None:
            page = self._page_for(host)
            if page is None or not self._is_worth_it(host, page):
                totals.park(host)
                continue
            run.send(page, host)
            if not run.page_queue.has_waiting():
                break
            totals.refresh()

    def _page_for(self, host: Host) -> Page | None:
        """Return the next page for this host: a constrained one if any suits, else another."""
        page = self._run.page_queue.next_constrained(lambda each: self._may_try(each, host))
        if page is not None:
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
        page_queue = self._run.page_queue
        for part in reversed(host.staged_parts):
            page = page_queue.next_in_part(part)
            if page is not None:
                return page
        # Without hosts that mount the SAN nothing takes pages from the front, so parts are taken from
        # there.
        has_sharers = self._run.totals.refresh().sharers > 0
        return page_queue.next_in_untouched_part(from_end=has_sharers) or page_queue.next_unconstrained()

    def _may_try(self, constraint: Constraint, host: Host) -> bool:
        """Return whether the host may try pages with this constraint.

        A page returns to a host where it failed only if no other page waits and no other host can try
        it.
        """
        if not constraint.allows(host):
            return False
        if host.name not in constraint.failed_on:
            return True
        if self._run.page_queue.has_unconstrained():
            return False
        # This looks at every host. It is reached only for a page that failed on this one.
        return not any(
            other.state in _MAY_TAKE
            and constraint.allows(other)
            and other.name not in constraint.failed_on
            for other in self._run.hosts.values()
        )

    def _is_worth_it(self, host: Host, page: Page) -> bool:
        """Return whether the host would finish the page before the others finish everything."""
        # A page that failed elsewhere cannot wait for a faster host; a host of unknown speed must be
        # measured.
        if page.is_constrained or host.seconds_per_a4 is None:
            return True
        return forecast.is_finished_sooner(self._run, host, page)

    # Near the end, when no page waits

    def recall(self) -> None:
        """Recall pages that are queued behind running ones, for free slots, when no page waits."""
        run = self._run
        if run.storage.paused:
            return
        totals = run.totals.refresh()
        # Attempts that are on their way back will fill free slots already.
        # Without this, each turn would recall one page more for the same free slot until the first one
        # is back.
        free = totals.free - run.revoking_count
        if free <= 0 or not totals.surplus or run.now < self._recall_after:
            return
        self._recall_after = run.now + pass_interval(len(run.hosts))
        for attempt in list(self._recallable(list(totals.surplus.values()), free)):
            run.page_queue[attempt.page].recalled_at = run.now
            run.revoke(attempt, "a free host can take it")

    def _recallable(self, full: list[Host], free: int) -> Iterator[Attempt]:
        """Yield queued attempts of the fullest of these hosts, at most one for each free slot."""
        for host in sorted(full, key=lambda host: (host.usable_slots - len(host.in_flight), host.index)):
            if free <= 0:
                return
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
        """Let free slots repeat the slowest pages, when no page waits."""
        run = self._run
        # A repetition would write to a storage that may take no file.
        if not run.policy.hedge or run.storage.is_suspended():
            return
        if run.now < self._hedge_after or not run.totals.refresh().free:
            return
        # The search looks at every attempt, so it is made less often if there are many.
        interval = max(_HEDGE_INTERVAL, pass_interval(len(run.attempts)))
        self._hedge_after = run.now + interval
        slowest = self._slowest()
        if slowest:
            self._repeat(slowest)

    def _repeat(self, slowest: list[tuple[Attempt, float]]) -> None:
        """Have free slots repeat these attempts, each with the seconds that it still takes."""
        run = self._run
        usual = forecast.usual_seconds_per_page(run)
        for host in self._hosts_for_hedging([attempt for attempt, _ in slowest], usual):
            # The fastest host comes first, and for each host the slowest page: so they meet.
            for attempt, left in slowest:
                if not host.free_slots():
                    break
                own = forecast.seconds_for(host, run.page_queue[attempt.page], usual)
                saves = (
                    # Without any known speed only the time that it has taken speaks for a repetition;
                    # with one, what the repetition saves.
                    left > _UNKNOWN_SPEED_SECONDS if own is None else left - own > run.policy.hedge_gain
                )
                if saves and self._may_be_repeated(attempt, host):
                    because = f"{attempt.host} may need {left:.1f} s more for it"
                    run.send(run.page_queue[attempt.page], host, because)

    def _hosts_for_hedging(self, attempts: list[Attempt], usual: float | None) -> list[Host]:
        """Return hosts with free slots, the fastest first: the fastest of all, and of pinned pages."""
        run = self._run
        free = [host for host in run.idle_hosts() if host.free_slots()]
        fastest = heapq.nsmallest(
            _HEDGE_HOSTS, free, key=lambda host: (host.seconds_per_a4 or usual or 0.0, host.index)
        )
        if len(free) > len(fastest):
            # A pinned page can be repeated on its own hosts only, however slow these are.
            pins = [run.page_queue[attempt.page].pinned_to or () for attempt in attempts]
            wanted = frozenset().union(*pins) - {host.name for host in fastest}
            fastest += [host for host in free if host.name in wanted]
        return fastest

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
        # Two attempts at a page are the most (schedulerstate.py).
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
    # ``not host.slot_limit``: hosts in use come before faster ones. A slot that moves to another host
    # with each small change of speeds leaves a warm renderer and has another one open the document.
    return has_no_slot, not host.slot_limit, host.seconds_per_a4 or 0.0
