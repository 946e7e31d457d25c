"""The state that the modules of the core share: hosts, pages, attempts, and the operations on them.

An attempt ends in one of four ways: its page is delivered, it is charged with a failure, its page
returns to the queue, or it is dropped because the page does not need it. A page may have two attempts at
a time (assignment.py); it returns to the queue, or fails, when the last of them has ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from sshrender.core import commands as do
from sshrender.core.pagequeue import PageQueue
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.states import FINISHED, HostState, PageState
from sshrender.core.storagehealth import StorageHealth

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
        self.hosts = {plan.name: Host(plan, heard_at=now) for plan in hosts}
        self.page_queue = PageQueue(pages, ready, pages_per_part)
        self.attempts: dict[str, Attempt] = {}
        self.storage = StorageHealth(policy)
        self.now = self.began = self.heard_until = now
        self.delivered = 0
        self.limit = policy.limit
        self._epoch = epoch
        self._attempt_count = 0
        self._commands: list[do.Command] = []

    def issue(self, command: do.Command) -> None:
        """Add a command to those that the coordinator gets."""
        self._commands.append(command)

    def take_commands(self) -> list[do.Command]:
        """Return the commands issued since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def idle_hosts(self) -> list[Host]:
        """Return the hosts that pages may be sent to."""
        return [host for host in self.hosts.values() if host.state is HostState.IDLE]

    def set_slot_limit(self, host: Host, slots: int | None) -> None:
        """Limit the slots that the job uses on this host; None: all."""
        if host.slot_limit != slots:
            host.slot_limit = slots
            self.issue(do.SetSlotLimit(host.name, slots))
            if slots == 0:
                for attempt in host.in_flight.values():
                    self.revoke(attempt, "the job's slots are on other hosts")

    def set_state(self, host: Host, state: HostState, reason: str) -> None:
        """Set the host's state and have the change recorded."""
        if (host.state, host.reason) != (state, reason):
            host.state, host.reason = state, reason
            host.budget.spend(self.now)
            self.issue(do.ReportHost(host.name, state.value, reason))

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
            host.staged_parts[self.page_queue.part_of(page)] = None  # a dict as an ordered set
        page.attempts += 1
        if page.state is PageState.WAITING:  # else another host has it already (hedging)
            self.page_queue.move(page, PageState.SENT)
        self.issue(do.RenderPage(host.name, page.number, attempt.name, because, page.renderer))

    def unassign(self, attempt: Attempt) -> None:
        """Free the attempt's place on its host, which has nothing more to do for it."""
        host = self.hosts[attempt.host]
        if host.in_flight.pop(attempt.name, None) is not None:
            host.backlog -= self.page_queue[attempt.page].cost
            if not host.in_flight:
                host.backlog = 0.0  # sums of floats drift

    def remove_attempt(self, attempt: Attempt) -> Page:
        """Remove an attempt that has ended; return its page."""
        if self.attempts.pop(attempt.name, None) is not None and attempt.rendered_at is not None:
            self.hosts[attempt.host].verifying -= 1
        self.unassign(attempt)
        page = self.page_queue[attempt.page]
        page.live.pop(attempt.name, None)
        return page

    def revoke(self, attempt: Attempt, reason: str) -> None:
        """Ask the host to return the attempt, unless a slot has started it."""
        if attempt.started_at is None and not attempt.is_revoking:
            attempt.revoked_at, attempt.recall_reason = self.now, reason
            self.issue(do.RevokeAttempt(attempt.host, attempt.name))

    def kill(self, attempt: Attempt, reason: str) -> None:
        """Have the host end the attempt."""
        if not attempt.is_killed:
            attempt.killed_at, attempt.kept_at, attempt.recall_reason = self.now, None, reason
            self.issue(do.KillAttempt(attempt.host, attempt.name))

    def release(self, attempt: Attempt, reason: str) -> None:
        """End the attempt without a page and without a charge; record what its page does next."""
        page = self.remove_attempt(attempt)
        # Returns that we requested are work of ours; others could be repeated by a host without end.
        if not (attempt.is_recalled and attempt.is_return_uncharged):
            self.hosts[attempt.host].budget.spend(self.now)
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
        elif self._is_given_up(page) and not self._falls_back(page):
            self.finish_page(page, PageState.FAILED)
            return
        else:
            state = PageState.WAITING
        if page.state is not state:
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
            hosts = [host for host in self.hosts.values() if host.state not in _UNUSABLE]
            if any(host.renderers is None or renderer in host.renderers for host in hosts):
                reason = page.failures[-1].reason
                page.renderer, page.disconnects = renderer, 0
                page.failures_before_fallback = len(page.failures)
                self.issue(do.FallBack(page.number, renderer, reason))
                return True
        return False
