"""Which page goes where, and what becomes of failures. ``handle(*events, now) -> list[Command]``.

The rules:

- Only idle hosts get pages. A host is idle while other people's threads per core stay below
  ``idle_below``, and stops being so above ``busy_above``; in between it stays what it is.
- A host holds as many attempts as it has slots, and for each slot a queue of ``queue_seconds``.
- A failure is charged to the page, the host, the storage or nobody (states.CHARGED). A page that
  was charged ``retries`` times has failed; until then it goes to hosts where it has not failed, and
  to others only when nothing else is left to do.
- A host on which different pages fail in a row is quarantined, unless it is the last one.
- When the storage fails, nothing is sent and nothing is charged until it is back.
- Whatever a host holds when it is lost, quarantined, drained or needed by its owner goes back to the
  queue.
- A job that is held hands out nothing and gives nobody up; what is being drawn is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import placement
from sshrender.core.pagebook import PageBook
from sshrender.core.patience import Patience
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Attempt, Failure, Host, Page
from sshrender.core.states import (
    CHARGED,
    Charge,
    FailureKind,
    HostState,
    JobEnd,
    PageState,
)
from sshrender.core.storagewatch import StorageWatch

_CONNECTED = frozenset({HostState.IDLE, HostState.BUSY})
_COUNT_AFTER_THE_END = frozenset({ev.PageDelivered, ev.PageSuspected})
_MOST_SAID = 40
"""Lines of what was said of a page that are kept (as in renderers/said.py)."""

_DELIVERED = frozenset({PageState.DONE, PageState.SUSPECT})
_DRAWN = _DELIVERED | {PageState.PROVING}


class Scheduler:
    """One run of one job."""

    def __init__(
        self,
        policy: Policy,
        hosts: Iterable[HostPlan],
        pages: Iterable[int],
        *,
        epoch: int = 1,
        ready: bool = True,
        recovered: Iterable[ev.Recovered] = (),
        now: float = 0.0,
    ) -> None:
        self.policy = policy
        self.hosts = {plan.name: Host(plan, heard_at=now) for plan in hosts}
        self.book = PageBook(pages, ready)
        self.attempts: dict[str, Attempt] = {}
        self.end: JobEnd | None = None
        self._storage = StorageWatch(policy)
        self.delivered_here = 0
        self.held = ""
        self._epoch = epoch
        self._count = 0
        self._now = self._began = now
        self._commands: list[do.Command] = []
        self._stalled: list[Attempt] = []
        self._patience = Patience(policy)
        self._finish_by: float | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.HostGreeted: self._on_greeted,
            ev.HostRefused: self._on_refused,
            ev.HostLost: self._on_lost,
            ev.LoadSampled: self._on_load,
            ev.PagesReady: self._on_ready,
            ev.PageStarted: self._on_started,
            ev.PageRendered: self._on_rendered,
            ev.AttemptFailed: self._on_failed,
            ev.AttemptRevoked: self._on_revoked,
            ev.PageDelivered: self._on_delivered,
            ev.PageSuspected: self._on_suspected,
            ev.StorageFailed: self._on_storage_failed,
            ev.StorageRecovered: self._on_storage_recovered,
            ev.StopRequested: self._on_stop,
            ev.CancelRequested: self._on_cancel,
            ev.HoldRequested: self._on_hold,
            ev.ReleaseRequested: self._on_release,
            ev.DrainRequested: self._on_drain,
            ev.UndrainRequested: self._on_undrain,
            ev.RetryRequested: self._on_retry,
            ev.HostFinished: self._on_finished,
            ev.Ticked: lambda event: None,
        }
        for page in recovered:
            self._recover(page)

    def start(self, now: float) -> list[do.Command]:
        """The first commands of a run."""
        self._now = now
        self._commands = []
        if not self.book.is_settled():
            for host in self.hosts.values():
                host.state = HostState.CONNECTING
                self._do(do.ConnectHost(host.name))
        self._advance()
        return self._commands

    def handle(self, *events: ev.Event, now: float) -> list[do.Command]:
        """Take in what happened; answer what to do. ``now`` is in seconds and never goes back.

        EndJob is the last command. Afterwards, and behind the event that ended the run, only pages
        that were being proved still count.
        """
        self._now = max(now, self._now)
        self._commands = []
        for event in events:
            if self.end is None or type(event) in _COUNT_AFTER_THE_END:
                self._handlers[type(event)](event)
        self._advance()
        return sorted(self._commands, key=lambda command: isinstance(command, do.EndJob))

    def _do(self, command: do.Command) -> None:
        self._commands.append(command)

    # Hosts

    def _on_greeted(self, event: ev.HostGreeted) -> None:
        host = self.hosts[event.host]
        host.is_connected, host.heard_at = True, self._now
        host.cores, host.others, host.ours = event.cores, event.others, event.ours
        host.slots = host.plan.slots or event.cores
        host.ghostscript = event.ghostscript
        host.retry_at = None
        host.storage_strikes = 0
        self._judge(host)

    def _judge(self, host: Host) -> None:
        """What a connected host is."""
        if host.drained:
            self._set_state(host, HostState.DRAINED, host.drained)
        elif host.plan.ignores_load or host.others_per_core < host.plan.idle_below:
            self._become_idle(host)
        else:
            self._set_state(host, HostState.BUSY, self._busy_reason(host))

    def _on_refused(self, event: ev.HostRefused) -> None:
        host = self.hosts[event.host]
        host.refusal = event.refusal
        self._disconnect(host, HostState.REFUSED, event.reason)

    def _on_lost(self, event: ev.HostLost) -> None:
        self._lose(self.hosts[event.host], event.reason)

    def _on_load(self, event: ev.LoadSampled) -> None:
        host = self.hosts[event.host]
        host.heard_at = self._now
        host.others, host.ours = event.others, event.ours
        if host.plan.ignores_load:
            return
        if host.state is HostState.IDLE and host.others_per_core > host.plan.busy_above:
            self._yield(host)
        elif host.state is HostState.BUSY:
            if host.others_per_core < host.plan.idle_below:
                self._become_idle(host)
            else:
                host.reason = self._busy_reason(host)

    def _on_finished(self, event: ev.HostFinished) -> None:
        host = self.hosts[event.host]
        if not host.is_finishing:
            self._distrust(host, "says good-bye, though nobody asked it to")
            return
        host.is_connected = False
        self._do(do.CloseHost(host.name))

    def _distrust(self, host: Host, what: str) -> None:
        """It does not keep to the protocol: broken or hostile, so longer and longer without it."""
        if host.is_connected:
            self._lose(host, f"does not keep to the protocol: {what}")

    def _become_idle(self, host: Host) -> None:
        self._set_state(host, HostState.IDLE, "")
        host.yielding_since = None

    def _yield(self, host: Host) -> None:
        """The owner is back: nothing new goes there, what is queued comes back, the rest soon."""
        self._set_state(host, HostState.BUSY, self._busy_reason(host))
        self._give_back(host, "the host's owner is back")

    def _give_back(self, host: Host, reason: str) -> None:
        host.yielding_since, host.yields_because = self._now, reason
        for attempt in host.in_flight.values():
            self._revoke(attempt, reason)

    def _busy_reason(self, host: Host) -> str:
        return (
            f"other people's load is {host.others_per_core:.2f} per core"
            f" (used below {host.plan.idle_below:g})"
        )

    def _lose(self, host: Host, reason: str) -> None:
        host.losses += 1
        pause = min(
            self.policy.reconnect_first * 2 ** min(host.losses - 1, 16),
            self.policy.reconnect_longest,
        )
        self._disconnect(host, HostState.LOST, reason, self._now + pause)

    def _quarantine(self, host: Host) -> None:
        host.quarantines += 1
        pause = min(
            self.policy.quarantine_first * 2 ** min(host.quarantines - 1, 16),
            self.policy.quarantine_longest,
        )
        reason = f"{len(host.streak)} different pages failed on it in a row"
        host.streak.clear()
        self._disconnect(host, HostState.QUARANTINED, reason, self._now + pause)

    def _disconnect(
        self, host: Host, state: HostState, reason: str, retry_at: float | None = None
    ) -> None:
        """Leave the host; whatever it holds goes back to the queue."""
        self._do(do.CloseHost(host.name))
        host.is_connected = False
        host.retry_at = retry_at
        host.yielding_since = host.stalled_since = None
        held, host.in_flight = list(host.in_flight.values()), {}
        for attempt in held:
            self._lose_attempt(attempt, reason)
        self._set_state(host, state, reason)

    def _lose_attempt(self, attempt: Attempt, reason: str) -> None:
        """The host took the attempt along. One that was being drawn may be the cause of it."""
        page = self._forget(attempt)
        if attempt.started_at is not None:
            page.losses += 1
            if page.losses >= 2 * self.policy.retries:
                page.failures.append(Failure(attempt.host, FailureKind.HOST, reason))
                self._settle(page, PageState.FAILED)
                return
        self._wait_again(page, attempt, f"the host was left: {reason}")

    def _wait_again(self, page: Page, attempt: Attempt, reason: str) -> None:
        self.book.move(page, PageState.WAITING)
        self._do(do.ReturnPage(page.number, attempt.host, attempt.name, reason))

    def _set_state(self, host: Host, state: HostState, reason: str) -> None:
        if (host.state, host.reason) != (state, reason):
            host.state, host.reason = state, reason
            self._do(do.ReportHost(host.name, state.value, reason))

    # Pages and attempts

    def _recover(self, recovered: ev.Recovered) -> None:
        page = self.book[recovered.page]
        page.said, page.host = recovered.said, recovered.host
        self.book.move(page, PageState.SUSPECT if recovered.suspect else PageState.DONE)

    def _on_ready(self, event: ev.PagesReady) -> None:
        for number in event.pages:
            page = self.book[number]
            if page.state is PageState.UNREADY:
                self.book.move(page, PageState.WAITING)

    def _attempt(self, event: Any) -> Attempt | None:
        """The attempt that an event speaks of; None when it is no longer this host's to speak of."""
        attempt = self.attempts.get(event.attempt)
        return attempt if attempt is not None and attempt.host == event.host else None

    def _on_started(self, event: ev.PageStarted) -> None:
        attempt = self._attempt(event)
        if attempt is not None:
            attempt.started_at = self._now

    def _on_rendered(self, event: ev.PageRendered) -> None:
        attempt = self._attempt(event)
        if attempt is None or attempt.rendered_at is not None:
            return
        attempt.rendered_at, attempt.seconds, attempt.said = self._now, event.seconds, event.said
        host = self.hosts[attempt.host]
        host.in_flight.pop(attempt.name, None)
        host.proving += 1
        self.book[attempt.page].host = attempt.host
        self.book.move(self.book[attempt.page], PageState.PROVING)
        self._do(do.ProvePage(attempt.host, attempt.page, attempt.name))

    def _on_delivered(self, event: ev.PageDelivered) -> None:
        attempt = self._attempt(event)
        if attempt is None:
            return
        page = self._forget(attempt)
        host = self.hosts[attempt.host]
        host.pages_done += 1
        host.streak.clear()
        host.losses = 0
        host.note_pace(attempt.seconds)
        page.host, page.said = attempt.host, page.said + attempt.said
        self.delivered_here += 1
        self._storage.took_a_page()
        self._settle(page, PageState.SUSPECT if page.said else PageState.DONE)

    def _on_suspected(self, event: ev.PageSuspected) -> None:
        attempt = self._attempt(event)
        if attempt is not None:  # still being proved
            attempt.said = (attempt.said + event.said)[:_MOST_SAID]
            return
        page = self.book.pages.get(event.page)
        if page is not None and page.host == event.host and page.state in _DELIVERED:
            page.said = (page.said + event.said)[:_MOST_SAID]
            self._settle(page, PageState.SUSPECT)

    def _on_revoked(self, event: ev.AttemptRevoked) -> None:
        attempt = self._attempt(event)
        if attempt is None:
            return
        if attempt.is_revoking or attempt.is_killed:
            self._wait_again(self._forget(attempt), attempt, attempt.called_back)
        else:
            self._distrust(self.hosts[event.host], "hands back a page that nobody asked for")

    def _on_failed(self, event: ev.AttemptFailed) -> None:
        attempt = self._attempt(event)
        if attempt is None:
            return
        if event.kind is FailureKind.KILLED and not attempt.is_killed:
            self._distrust(self.hosts[event.host], "calls off a page that nobody called off")
            return
        charge = CHARGED[event.kind]
        if charge is Charge.STORAGE:
            self._doubt_storage(attempt, event.reason)
            return
        page = self._forget(attempt)
        if charge is Charge.PAGE:
            self._charge(page, attempt, event)
        else:
            self._wait_again(page, attempt, attempt.called_back or event.reason)
            if charge is Charge.HOST:
                self._count_against(self.hosts[event.host], page)

    def _charge(self, page: Page, attempt: Attempt, event: ev.AttemptFailed) -> None:
        page.failures.append(Failure(event.host, event.kind, event.reason))
        host = self.hosts[event.host]
        if len(page.failures) >= self.policy.retries:
            self._settle(page, PageState.FAILED)
        else:
            self.book.move(page, PageState.WAITING)
        self._count_against(host, page)

    def _count_against(self, host: Host, page: Page) -> None:
        host.failures += 1
        host.streak.add(page.number)
        if len(host.streak) >= self.policy.quarantine_after and self._has_other_idle(host):
            self._quarantine(host)

    def _has_other_idle(self, host: Host) -> bool:
        return any(other.state is HostState.IDLE for other in self.hosts.values() if other is not host)

    def _settle(self, page: Page, state: PageState) -> None:
        self.book.move(page, state)
        self._do(do.SettlePage(page.number, state))

    def _forget(self, attempt: Attempt) -> Page:
        """The attempt is over; answers its page."""
        if self.attempts.pop(attempt.name, None) is not None and attempt.rendered_at is not None:
            self.hosts[attempt.host].proving -= 1
        self.hosts[attempt.host].in_flight.pop(attempt.name, None)
        return self.book[attempt.page]

    def _revoke(self, attempt: Attempt, reason: str) -> None:
        if attempt.started_at is None and not attempt.is_revoking:
            attempt.is_revoking, attempt.called_back = True, reason
            self._do(do.RevokeAttempt(attempt.host, attempt.name))

    def _kill(self, attempt: Attempt, reason: str) -> None:
        if not attempt.is_killed:
            attempt.is_killed, attempt.called_back = True, reason
            self._do(do.KillAttempt(attempt.host, attempt.name))

    # Storage

    @property
    def paused(self) -> str:
        """Why nothing is sent: what is wrong with the storage; empty while all is well."""
        return self._storage.paused

    def _doubt_storage(self, attempt: Attempt, reason: str) -> None:
        """Somebody could not write. Nothing is sent until we have looked from here."""
        if attempt.rendered_at is None:
            self._storage.doubt(self._now, reason, attempt.host)
            self.book.move(self._forget(attempt), PageState.WAITING)
        else:
            self._storage.doubt(self._now, reason)
            self._stalled.append(attempt)

    def _on_storage_failed(self, event: ev.StorageFailed) -> None:
        self._storage.failed(self._now, event.reason)

    def _on_storage_recovered(self, event: ev.StorageRecovered) -> None:
        doubted = self._storage.recovered()
        stalled, self._stalled = self._stalled, []
        for attempt in stalled:
            self._do(do.ProvePage(attempt.host, attempt.page, attempt.name))
        for name in doubted:
            self._strike(self.hosts[name])

    def _strike(self, host: Host) -> None:
        """The storage is well here, so it is this host that cannot write to it."""
        host.storage_strikes += 1
        if host.storage_strikes >= self.policy.storage_strikes and host.state in _CONNECTED:
            host.refusal = "san"
            self._disconnect(host, HostState.REFUSED, "cannot write to the shared folder")

    # What people ask for

    def _on_stop(self, event: ev.StopRequested) -> None:
        self._end(JobEnd.STOPPED, event.reason)

    def _on_cancel(self, event: ev.CancelRequested) -> None:
        self._end(JobEnd.CANCELLED, f"cancelled by {event.by}")

    def _on_hold(self, event: ev.HoldRequested) -> None:
        self.held = f"held by {event.by}"
        for attempt in self.attempts.values():
            self._revoke(attempt, "the job is held")

    def _on_release(self, event: ev.ReleaseRequested) -> None:
        self.held = ""

    def _on_drain(self, event: ev.DrainRequested) -> None:
        host = self.hosts.get(event.host)
        if host is None:
            return
        host.drained = f"drained by {event.by}" + (f": {event.note}" if event.note else "")
        if host.is_connected:
            self._set_state(host, HostState.DRAINED, host.drained)
            self._give_back(host, "its host is drained")

    def _on_undrain(self, event: ev.UndrainRequested) -> None:
        host = self.hosts.get(event.host)
        if host is None or not host.drained:
            return
        host.drained = ""
        host.yielding_since = None
        if host.is_connected:
            self._judge(host)

    def _on_retry(self, event: ev.RetryRequested) -> None:
        page = self.book.pages.get(event.page)
        if page is not None and page.state is PageState.FAILED and self._finish_by is None:
            page.failures.clear()
            page.losses = 0
            self.book.move(page, PageState.WAITING)

    # Time

    def _advance(self) -> None:
        """Everything that follows from the new state and from the time."""
        if self.end is None and self.book.is_settled():
            self._finish()
        if self.end is not None:
            return
        if self.policy.deadline is not None and self._now >= self.policy.deadline:
            self._end(JobEnd.DEADLINE, "the deadline passed")
            return
        for host in self.hosts.values():
            self._watch(host)
        self._watch_storage()
        if self.end is None and self._finish_by is None:
            self._release_quarantine()
            if not self.held:
                self._assign()
                self._steal()
                self._give_up_waiting()

    def _watch(self, host: Host) -> None:
        if host.is_connected and self._now - host.heard_at > self.policy.silence:
            self._lose(host, f"not heard for {self.policy.silence:g} s")
        elif host.retry_at is not None and self._now >= host.retry_at and self._finish_by is None:
            host.retry_at = None
            self._do(do.ConnectHost(host.name))
        grace = self.policy.yield_grace
        if host.yielding_since is not None and self._now - host.yielding_since >= grace:
            for attempt in host.in_flight.values():
                self._kill(attempt, host.yields_because)
        for attempt in list(host.in_flight.values()):
            self._watch_attempt(host, attempt)
        self._watch_stall(host)

    def _watch_attempt(self, host: Host, attempt: Attempt) -> None:
        """The runner keeps the page timeout; this is for a runner that does not."""
        if attempt.started_at is None or attempt.name not in host.in_flight:
            return
        late = self._now - attempt.started_at - self.policy.page_timeout
        if late > 2 * self.policy.overdue_grace:
            self._lose(host, f"does not end page {attempt.page}")
        elif late > self.policy.overdue_grace:
            self._kill(attempt, "it was overdue")

    def _watch_stall(self, host: Host) -> None:
        """A runner that beats but never begins what it was sent would hold the job for ever."""
        if not host.is_stalled():
            host.stalled_since = None
        elif host.stalled_since is None:
            host.stalled_since = self._now
        elif self._now - host.stalled_since > max(self.policy.stall, self.policy.page_timeout):
            self._lose(host, "does not begin the pages that it was sent")

    def _watch_storage(self) -> None:
        given_up = self._storage.is_given_up(self._now)
        if given_up:
            self._end(JobEnd.STORAGE, given_up)
        elif self._storage.is_look_due(self._now):
            self._do(do.ProbeStorage())

    def _release_quarantine(self) -> None:
        """When nobody else is left, the host that has served longest of its quarantine is let out."""
        active = {HostState.IDLE, HostState.BUSY, HostState.CONNECTING}
        if any(host.state in active for host in self.hosts.values()):
            return
        held = [host for host in self.hosts.values() if host.state is HostState.QUARANTINED]
        if held and all(host.retry_at is not None for host in held):
            first = min(held, key=lambda host: host.retry_at or 0.0)
            first.retry_at = None
            self._do(do.ConnectHost(first.name))

    # Handing out

    def _assign(self) -> None:
        if self._storage.holds_up() or not self.book.has_waiting():
            return
        takers = placement.takers(self.hosts.values(), self.policy)
        while takers:
            host = placement.emptiest(takers)
            page = placement.page_for(host, self.book, self.hosts.values())
            if page is not None:
                self._send(page, host)
            if page is None or host.room(self.policy) <= 0:
                takers.remove(host)

    def _send(self, page: Page, host: Host) -> None:
        self._count += 1
        attempt = Attempt(f"{self._epoch}.{self._count}", page.number, host.name, self._now)
        self.attempts[attempt.name] = attempt
        host.in_flight[attempt.name] = attempt
        page.attempts += 1
        self.book.move(page, PageState.SENT)
        self._do(do.RenderPage(host.name, page.number, attempt.name))

    def _steal(self) -> None:
        """At the tail: what is queued behind a running page goes to a slot that has nothing."""
        if self.book.has_waiting() or self.paused:
            return
        for attempt in list(placement.to_call_back(self.hosts.values(), self.attempts.values())):
            self._revoke(attempt, "another host had nothing to do")

    # The end

    def _give_up_waiting(self) -> None:
        hosts = self.hosts.values()
        given_up = self._patience.is_over(hosts, self._now, has_delivered=self.delivered_here > 0)
        if given_up:
            self._end(JobEnd.NO_HOST, given_up)

    def _finish(self) -> None:
        """All pages are settled: let the hosts say what they found out late."""
        if self._finish_by is None:
            self._finish_by = self._now + self.policy.finish_wait
            for host in self.hosts.values():
                if host.is_connected and not self.paused:
                    host.is_finishing = True
                    self._do(do.FinishHost(host.name))
        waiting = any(host.is_finishing and host.is_connected for host in self.hosts.values())
        if not waiting or self._now >= self._finish_by:
            self._end(JobEnd.COMPLETE, "")

    def _end(self, end: JobEnd, reason: str) -> None:
        self.end = end
        for host in self.hosts.values():
            if host.is_connected or host.state is HostState.CONNECTING:
                self._do(do.CloseHost(host.name))
            if host.state is HostState.CONNECTING:
                seconds = self._now - self._began
                self._set_state(
                    host, HostState.LOST, f"no answer in the {seconds:.1f} s that the run took"
                )
        self._do(do.EndJob(end, reason))

    def is_drawn_by(self, number: int, host: str) -> bool:
        """Whether the page was delivered from this host, is being proved for it, or is there now."""
        page = self.book.pages.get(number)
        if page is not None and page.host == host and page.state in _DRAWN:
            return True
        return any(attempt.page == number for attempt in self.hosts[host].in_flight.values())
