"""One run of one job: its hosts, its pages, its attempts, and what any room of the core may do to them.

An attempt ends in one of four ways: its page is delivered, it is charged with a failure, its page
waits again, or it is dropped because the page does not need it. A page may have two attempts at once
(assignment.py); it waits again, or is given up, when the last of them has ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from sshrender.core import commands as do
from sshrender.core.pagequeue import PageQueue
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.states import SETTLED, HostState, PageState
from sshrender.core.storagehealth import StorageHealth


class SchedulerState:
    """What the rooms of the core share. ``now`` is set before anybody is asked."""

    def __init__(
        self,
        policy: Policy,
        hosts: Iterable[HostPlan],
        pages: Iterable[int],
        *,
        epoch: int,
        ready: bool,
        bundle: int,
        now: float,
    ) -> None:
        self.policy = policy
        self.hosts = {plan.name: Host(plan, heard_at=now) for plan in hosts}
        self.book = PageQueue(pages, ready, bundle)
        self.attempts: dict[str, Attempt] = {}
        self.storage = StorageHealth(policy)
        self.now = self.began = self.heard_to = now
        self.delivered = 0
        self.limit = policy.limit
        self._epoch = epoch
        self._count = 0
        self._commands: list[do.Command] = []

    def issue(self, command: do.Command) -> None:
        """This is to be done."""
        self._commands.append(command)

    def take_commands(self) -> list[do.Command]:
        """All that is to be done since this was last asked."""
        commands, self._commands = self._commands, []
        return commands

    def idle_hosts(self) -> list[Host]:
        """Those that pages may be sent to."""
        return [host for host in self.hosts.values() if host.state is HostState.IDLE]

    def allot(self, host: Host, slots: int | None) -> None:
        """From now on the job has so many slots there; None: all."""
        if host.allotted != slots:
            host.allotted = slots
            self.issue(do.SetSlotLimit(host.name, slots))
            if slots == 0:
                for attempt in host.in_flight.values():
                    self.revoke(attempt, "the job's slots are on other hosts")

    def set_state(self, host: Host, state: HostState, reason: str) -> None:
        """A host is this now, because of that."""
        if (host.state, host.reason) != (state, reason):
            host.state, host.reason = state, reason
            host.budget.spend(self.now)
            self.issue(do.ReportHost(host.name, state.value, reason))

    # Attempts

    def send(self, page: Page, host: Host, because: str = "") -> None:
        """Begin an attempt."""
        self._count += 1
        attempt = Attempt(
            f"{self._epoch}.{self._count}", page.number, host.name, self.now, look=host.look
        )
        self.attempts[attempt.name] = page.live[attempt.name] = attempt
        host.in_flight[attempt.name] = attempt
        host.backlog += page.work
        if host.plan.is_carried:
            host.fed[self.book.bundle_of(page)] = None
        page.attempts += 1
        if page.state is PageState.WAITING:
            self.book.move(page, PageState.SENT)
        self.issue(do.RenderPage(host.name, page.number, attempt.name, because, page.renderer))

    def land(self, attempt: Attempt) -> None:
        """The host has nothing more to do for it."""
        host = self.hosts[attempt.host]
        if host.in_flight.pop(attempt.name, None) is not None:
            host.backlog -= self.book[attempt.page].work
            if not host.in_flight:
                host.backlog = 0.0  # sums of floats drift

    def forget(self, attempt: Attempt) -> Page:
        """The attempt is over; answers its page."""
        if self.attempts.pop(attempt.name, None) is not None and attempt.rendered_at is not None:
            self.hosts[attempt.host].verifying -= 1
        self.land(attempt)
        page = self.book[attempt.page]
        page.live.pop(attempt.name, None)
        return page

    def revoke(self, attempt: Attempt, reason: str) -> None:
        """Ask for it back, unless it was begun."""
        if attempt.started_at is None and not attempt.is_revoking:
            attempt.revoked_at, attempt.called_back = self.now, reason
            self.issue(do.RevokeAttempt(attempt.host, attempt.name))

    def kill(self, attempt: Attempt, reason: str) -> None:
        """End it on its host."""
        if not attempt.is_killed:
            attempt.killed_at, attempt.kept_at, attempt.called_back = self.now, None, reason
            self.issue(do.KillAttempt(attempt.host, attempt.name))

    def release(self, attempt: Attempt, reason: str) -> None:
        """The attempt ended without a page, and without anybody's fault."""
        page = self.forget(attempt)
        if not (attempt.is_called_off and attempt.is_free):
            self.hosts[attempt.host].budget.spend(self.now)
        if page.live or page.state in SETTLED:
            self.issue(
                do.DropAttempt(page.number, attempt.host, attempt.name, reason, attempt.is_hedged)
            )
        else:
            self.issue(do.ReturnPage(page.number, attempt.host, attempt.name, reason))
        self.reconsider(page)

    def reconsider(self, page: Page) -> None:
        """What a page is after one of its attempts has ended."""
        if page.state in SETTLED or page.state is PageState.UNREADY:
            return
        if any(attempt.rendered_at is not None for attempt in page.live.values()):
            state = PageState.VERIFYING
        elif page.live:
            state = PageState.SENT
        elif self._is_given_up(page) and not self._falls_back(page):
            self.settle(page, PageState.FAILED)
            return
        else:
            state = PageState.WAITING
        if page.state is not state:
            self.book.move(page, state)

    def settle(self, page: Page, state: PageState) -> None:
        """The page has reached an end, or another one."""
        self.book.move(page, state)
        self.issue(do.FinishPage(page.number, state))

    def _is_given_up(self, page: Page) -> bool:
        retries = self.policy.retries
        return page.charged >= retries or (page.charged > 0 and page.disconnects >= 2 * retries)

    def _falls_back(self, page: Page) -> bool:
        """Whether there is another renderer for it, on any host that may come to it."""
        for renderer in range(page.renderer + 1, self.policy.renderers):
            hosts = [host for host in self.hosts.values() if host.state is not HostState.REFUSED]
            if any(host.renderers is None or renderer in host.renderers for host in hosts):
                reason = page.failures[-1].reason
                page.renderer, page.forgiven, page.disconnects = renderer, len(page.failures), 0
                self.issue(do.FallBack(page.number, renderer, reason))
                return True
        return False
