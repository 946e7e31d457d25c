"""The state that the modules of the core share: hosts, pages, attempts, and the operations on them.

An attempt ends in one of four ways: its page is delivered, it is charged with a failure, its page
returns to the queue, or it is dropped because the page does not need it. A page may have two attempts at
a time (assignment.py); it returns to the queue, or fails, when the last of them has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sshrender.core import commands as do
from sshrender.core.hosttotals import HostTotals
from sshrender.core.pagequeue import PageQueue
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.rankedhosts import RankedHosts
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.states import FINISHED, HostState, PageState
from sshrender.core.storagehealth import StorageHealth

# Hosts that render no page in this run unless something changes: a recipe that only they have is no
# fallback.
_UNUSABLE = frozenset({HostState.REFUSED, HostState.REMOVED})


class SchedulerState:
    """The state of one run. ``now`` is set before any handler is called."""

    def __init__(
        self,
        policy: Policy,
        hosts: Iterable[HostPlan],
        pages: Iterable[int],
        *,
        epoch: int,
        ready: bool,
        pages_per_part: int,
        now: float,
    ) -> None:
        self.policy = policy
        self.hosts: dict[str, Host] = {}
        self.host_counts: Counter[HostState] = Counter()
        """Hosts in each state."""
        self.totals = HostTotals(policy)
        self.revoking_count = 0
        """Attempts that their hosts were asked to return, and that have not ended."""
        # When each host's timeouts are due next (hosttimeouts.py).
        self._wake_times = RankedHosts()
        self.page_queue = PageQueue(pages, ready, pages_per_part)
        self.attempts: dict[str, Attempt] = {}
        self.storage = StorageHealth(policy)
        self.now = self.began = self.heard_until = now
        self.delivered = 0
        self.limit = policy.limit
        self._epoch = epoch
        self._attempt_count = 0
        self._commands: list[do.Command] = []
        for plan in hosts:
            self.add_host(plan)

    def issue(self, command: do.Command) -> None:
        """Add a command to those that the coordinator gets."""
        self._commands.append(command)

    def take_commands(self) -> list[do.Command]:
        """Return the commands issued since the last call."""
        commands, self._commands = self._commands, []
        return commands

    # Hosts

    def add_host(self, plan: HostPlan) -> Host:
        """Return the record of a new host, or a new record of a host that was removed."""
        known = self.hosts.get(plan.name)
        # A host that is added again keeps its place, which decides between equals.
        index = len(self.hosts) if known is None else known.index
        host = self.hosts[plan.name] = Host(plan, heard_at=self.now, index=index)
        if known is not None:
            self.host_counts[known.state] -= 1
        self.host_counts[host.state] += 1
        self.totals.touch(host)
        return host

    def idle_hosts(self) -> list[Host]:
        """Return the hosts that pages may be sent to. Looks at every host, so not for every event."""
        return [host for host in self.hosts.values() if host.state is HostState.IDLE]

    def has_hosts(self, *states: HostState) -> bool:
        """Return whether any host is in one of these states."""
        counts = self.host_counts
        return any(map(counts.__getitem__, states))

    def wake(self, host: Host, at: float) -> None:
        """Have the host's timeouts checked at this time, unless they are checked before it."""
        due = self._wake_times.key(host.name)
        if due is None or at < due:
            self._wake_times.put(host.name, at, host.index)

    def take_due_hosts(self) -> list[Host]:
        """Return the hosts whose timeouts have to be checked now. They have to be woken again."""
        due = []
        while (entry := self._wake_times.first()) is not None and entry[0] <= self.now:
            self._wake_times.discard(entry[2])
            due.append(self.hosts[entry[2]])
        # In the order of the inventory, so that the commands of a turn do not depend on which timeout
        # passed first.
        return sorted(due, key=lambda host: host.index)

    def spend(self, host: Host) -> None:
        """Count an entry of the journal that the host caused; one that causes too many is left."""
        host.budget.spend(self.now)
        # Not left here: the caller is in the middle of a transition. The check of the woken host does
        # that.
        if host.budget.is_exhausted:
            self.wake(host, self.now)

    def set_slot_limit(self, host: Host, slots: int | None) -> None:
        """Limit the slots that the job uses on this host; None: all."""
        if host.slot_limit != slots:
            host.slot_limit = slots
            self.totals.touch(host)
            self.issue(do.SetSlotLimit(host.name, slots))
            # Pages that the host has queued would wait there for a slot that it does not get.
            if slots == 0:
                for attempt in host.in_flight.values():
                    self.revoke(attempt, "the job's slots are on other hosts")

    def set_state(self, host: Host, state: HostState, reason: str) -> None:
        """Set the host's state and have the change recorded."""
        # A repetition is not recorded, nor does it cost budget.
        if (host.state, host.reason) != (state, reason):
            self.put_state(host, state)
            host.reason = reason
            self.spend(host)
            self.issue(do.ReportHost(host.name, state.value, reason))

    def put_state(self, host: Host, state: HostState) -> None:
        """Set the host's state without a record of the change."""
        if host.state is not state:
            self.host_counts[host.state] -= 1
            self.host_counts[state] += 1
            host.state = state
            self.totals.touch(host)

    # Attempts

    def send(self, page: Page, host: Host, because: str = "") -> None:
        """Start an attempt at the page on the host."""
        self._attempt_count += 1
        # The epoch makes the name unique among all coordinators that the job has had.
        attempt = Attempt(
            name=f"{self._epoch}.{self._attempt_count}",
            page=page.number,
            host=host.name,
            sent_at=self.now,
            fingerprint=host.fingerprint,
        )
        self.attempts[attempt.name] = page.live[attempt.name] = attempt
        host.in_flight[attempt.name] = attempt
        host.backlog += page.cost
        if host.plan.needs_transfer:
            self._stage_part(host, self.page_queue.parts.of(page.number))
        self._changed(host)
        page.attempts += 1
        if page.state is PageState.WAITING:  # else another host has it already (hedging)
            self.page_queue.move(page, PageState.SENT)
        self.issue(do.RenderPage(host.name, page.number, attempt.name, because, page.renderer))

    def unassign(self, attempt: Attempt) -> None:
        """Free the attempt's place on its host, which has nothing more to do for it."""
        host = self.hosts[attempt.host]
        # The guard makes it safe to call twice: PageRendered and the end of the attempt both do.
        if host.in_flight.pop(attempt.name, None) is not None:
            host.backlog -= self.page_queue[attempt.page].cost
            host.started_count -= attempt.started_at is not None
            if not host.in_flight:
                host.backlog = 0.0  # sums of floats drift
            self._changed(host)

    def begin(self, attempt: Attempt) -> None:
        """Note that a slot renders the attempt."""
        host = self.hosts[attempt.host]
        attempt.started_at = self.now
        # Not one that was unassigned: its slot is free already.
        host.started_count += attempt.name in host.in_flight
        host.stalled_since = None
        self.wake(host, self.now + self.policy.page_timeout + self.policy.overdue_grace)

    def _changed(self, host: Host) -> None:
        """Take in that the host has more or less in flight than before."""
        self.totals.touch(host)
        # Stalled: something is in flight and nothing has started. The time counts from when that
        # began, not from the newest page.
        if not host.is_stalled():
            host.stalled_since = None
        elif host.stalled_since is None:
            host.stalled_since = self.now
            self.wake(host, self.now + self.stall_timeout)

    @property
    def stall_timeout(self) -> float:
        """Return the seconds in which a host that holds attempts has to start one of them."""
        return max(self.policy.stall, self.policy.page_timeout)

    def _stage_part(self, host: Host, part: int) -> None:
        """Note that a part of the document is copied to the host."""
        if part not in host.staged_parts:
            host.staged_parts[part] = None  # a dict as an ordered set
            self.page_queue.parts.count_staged(part, 1)

    def forget_parts(self, host: Host) -> None:
        """Note that the host has no part of the document any more."""
        for part in host.staged_parts:
            self.page_queue.parts.count_staged(part, -1)
        host.staged_parts.clear()

    def remove_attempt(self, attempt: Attempt) -> Page:
        """Remove an attempt that has ended; return its page."""
        # Counted once, however often it is removed.
        if self.attempts.pop(attempt.name, None) is not None:
            self.revoking_count -= attempt.is_revoking
            if attempt.rendered_at is not None:
                self.count_verifying(self.hosts[attempt.host], -1)
        self.unassign(attempt)
        page = self.page_queue[attempt.page]
        page.live.pop(attempt.name, None)
        return page

    def count_verifying(self, host: Host, change: int) -> None:
        """Take in that one page more (1) or less (-1) of the host is being verified."""
        host.verifying += change
        self.totals.touch(host)

    def revoke(self, attempt: Attempt, reason: str) -> None:
        """Ask the host to return the attempt, unless a slot has started it."""
        # A started attempt has to be killed instead. Each attempt is asked once: the host answers the
        # first request.
        if attempt.started_at is None and not attempt.is_revoking:
            attempt.revoked_at, attempt.recall_reason = self.now, reason
            self.revoking_count += 1
            self.wake(self.hosts[attempt.host], self.now + self.policy.answer_timeout)
            self.issue(do.RevokeAttempt(attempt.host, attempt.name))

    def kill(self, attempt: Attempt, reason: str) -> None:
        """Have the host end the attempt."""
        if not attempt.is_killed:
            # ``kept_at`` is cleared: the answer to an earlier revocation does not answer the kill.
            attempt.killed_at, attempt.kept_at, attempt.recall_reason = self.now, None, reason
            self.wake(self.hosts[attempt.host], self.now + self.policy.answer_timeout)
            self.issue(do.KillAttempt(attempt.host, attempt.name))

    def release(self, attempt: Attempt, reason: str) -> None:
        """End the attempt without a page and without a charge; record what its page does next."""
        page = self.remove_attempt(attempt)
        # Returns that we requested are work of ours; others could be repeated by a host without end.
        if not (attempt.is_recalled and attempt.is_return_uncharged):
            self.spend(self.hosts[attempt.host])
        if page.live or page.state in FINISHED:
            self.issue(
                do.DropAttempt(page.number, attempt.host, attempt.name, reason, attempt.is_hedged)
            )
        else:
            self.issue(do.ReturnPage(page.number, attempt.host, attempt.name, reason))
        self.update_page(page)

    # Pages

    def update_page(self, page: Page) -> None:
        """Set the page's state after one of its attempts has changed or ended."""
        if page.state in FINISHED or page.state is PageState.UNREADY:
            return
        # The attempt that has come furthest decides.
        if any(attempt.rendered_at is not None for attempt in page.live.values()):
            state = PageState.VERIFYING
        elif page.live:
            state = PageState.SENT
        # _falls_back changes the page if it returns True, so it must come second.
        elif self._is_given_up(page) and not self._falls_back(page):
            self.finish_page(page, PageState.FAILED)
            return
        else:
            state = PageState.WAITING
        # Also a page that waits already: a failure of an earlier attempt may constrain it from now on.
        if page.state is not state or (state is PageState.WAITING and page.is_constrained):
            self.page_queue.move(page, state)

    def finish_page(self, page: Page, state: PageState) -> None:
        """Put the page into a final state, perhaps from another one, and have that recorded."""
        self.page_queue.move(page, state)
        self.issue(do.FinishPage(page.number, state))

    def _is_given_up(self, page: Page) -> bool:
        # A page that was lost with its host this often may be what ends the hosts. hosttransitions.py
        # adds the failure that says so.
        retries = self.policy.retries
        return page.charged >= retries or (page.charged > 0 and page.disconnects >= 2 * retries)

    def _falls_back(self, page: Page) -> bool:
        """Switch the page to the next recipe that some usable host has; return whether there is one."""
        for renderer in range(page.renderer + 1, self.policy.renderers):
            # Hosts that are lost or busy count: they may come back.
            hosts = (host for host in self.hosts.values() if host.state not in _UNUSABLE)
            if any(host.renderers is None or renderer in host.renderers for host in hosts):
                reason = page.failures[-1].reason
                # The new recipe gets a full number of retries, and hosts that failed with the old one.
                page.renderer, page.disconnects = renderer, 0
                page.failures_before_fallback = len(page.failures)
                self.issue(do.FallBack(page.number, renderer, reason))
                return True
        return False
