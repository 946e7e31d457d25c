"""The state machine of one run: ``handle(*events, now) -> list[Command]``. No I/O, no clock, no threads.

The rules of the machine. States, kinds of failure and charges are defined in states.py.

Pages
- A page starts UNREADY while its part of the document is split off, else WAITING. PagesReady makes it
  WAITING.
- RenderPage makes it SENT, and creates an attempt with a name that is never used again. PageRendered
  makes it VERIFYING and issues VerifyPage. PageDelivered makes it DONE, or SUSPECT if the renderer
  reported a problem; PageSuspected may make a DONE page SUSPECT later.
- An attempt that ends without a page puts its page back to WAITING, unless another attempt at the same
  page is alive.
- A page that was charged ``retries`` times becomes FAILED, or starts again with the next recipe of the
  job. Until then it goes to hosts where it has not failed, and to others only when nothing else waits.
- RetryRequested makes a FAILED page WAITING. A new reference makes the pages of outvoted hosts UNREADY
  and withdraws their files; PagesReady follows when a file is gone.

Hosts
- start() makes every host CONNECTING. HostConnected makes it IDLE, BUSY or DRAINED once its fingerprint
  has been compared with the others' (compatibility.py). Only IDLE hosts get pages.
- LoadSampled makes an IDLE host BUSY when other people's load per core exceeds ``busy_above``, and a
  BUSY host IDLE when it falls below ``idle_below``. In between the state stays.
- HostRefused makes it REFUSED. It is tried again on request, when an outage of the storage or a new
  reference was the cause and has passed, and after a long pause if the host itself lacks something.
- HostLost, silence, a breach of the protocol (HostDistrusted) and recalled attempts that do not come
  back make it LOST. It is contacted again after a pause, which doubles each time; a delivered page
  resets that.
- Different pages that fail on it in a row make it QUARANTINED, unless no other host is IDLE. The pause
  doubles each time; it ends at once when no other host is left.
- DrainRequested makes it DRAINED, UndrainRequested undoes that, and has a host that was left tried again
  at once.
- HostsExpected says how many hosts may still be added: the run waits for them without a limit.
- HostAdded makes a new or a REMOVED host CONNECTING; HostRemoved makes a host REMOVED, which is no
  failure.
- All attempts of a host that becomes LOST, QUARANTINED, REFUSED or REMOVED return to the queue. Those of
  a host that becomes BUSY or DRAINED are recalled: queued ones at once, running ones killed after a
  grace period.

Who is charged for a failure
- Timeout, memory, crash, no output, bad output: the page, and the host if several pages in a row fail.
- A host's own trouble: the host only. But a page that was being rendered on ``2 * retries`` hosts when
  they disappeared becomes FAILED, as the page may be the cause.
- Storage: neither. Nothing is sent until a probe from here succeeds; a host that alone cannot write is
  refused.
- A name that cannot be written (unwritable): the page, which fails at once, and no host.
- What this side asked for (killed, revoked, held) and low memory: neither. Low memory costs the host a
  slot.

The run
- A held job sends nothing and recalls what no slot has started; what runs is finished. A run of the
  queue ends then.
- It ends (EndJob, the last command) when every page is finished, when no host is usable for too long,
  when the storage is away for too long, at the deadline, or when it is stopped or cancelled. Afterwards
  only pages that were being verified still count.

This module dispatches events to their handlers and ends the run. hosttransitions.py and
pagetransitions.py hold the handlers, assignment.py chooses pages and hosts, schedulerstate.py holds the
state they share.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.assignment import Assignment
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.hosttransitions import HOST_HANDLERS, HostTransitions
from sshrender.core.nohosttimeout import PROMISING, NoHostTimeout
from sshrender.core.pagequeue import PageQueue
from sshrender.core.pagetransitions import PAGE_HANDLERS, PageTransitions
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Attempt, Host
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import HostState, JobEnd, PageState

_APPLICABLE_AFTER_THE_END = frozenset({ev.PageDelivered, ev.PageSuspected})
"""Pages that were being verified when the run ended are kept."""

_IGNORED_WHILE_FINISHING = frozenset(
    {ev.RetryRequested, ev.MoveRequested, ev.HostAdded, ev.UndrainRequested}
)
"""They would reopen pages after the hosts were told that no page follows, or connect to more hosts."""

_RENDERED = frozenset({PageState.DONE, PageState.SUSPECT, PageState.VERIFYING})


@dataclass(frozen=True, slots=True)
class RunStart:
    """The state at the start of a run, besides its hosts and pages."""

    epoch: int = 1
    """The lease's epoch: makes the names of attempts unique among all coordinators of the job."""
    ready: bool = True
    """Whether pages can be sent at once; else each waits for PagesReady."""
    recovered: Iterable[ev.Recovered] = ()
    """The pages that earlier runs delivered."""
    blocked: Iterable[tuple[int, str]] = ()
    """Pages that earlier runs published and that cannot be delivered, each with the reason."""
    reference: HostFingerprint | None = None
    """The reference of earlier runs."""
    votes: Mapping[str, HostFingerprint] = field(default_factory=dict)
    """The fingerprints of their hosts."""
    pages_per_part: int = 0
    """Pages in each part of the document that is copied to hosts without a SAN; 0: the whole
    document."""
    pins: Iterable[tuple[int, frozenset[str]]] = ()
    """Pages with the only hosts that may render them."""
    now: float = 0.0
    """The scheduler's clock."""


class Scheduler:
    """One run of one job."""

    def __init__(
        self,
        policy: Policy,
        hosts: Iterable[HostPlan],
        pages: Iterable[int],
        start: RunStart | None = None,
    ) -> None:
        start = start or RunStart()
        self._run = run = SchedulerState(
            policy,
            hosts,
            pages,
            epoch=start.epoch,
            ready=start.ready,
            pages_per_part=start.pages_per_part,
            now=start.now,
        )
        self._host_transitions = HostTransitions(run, start.reference, start.votes)
        self._page_transitions = PageTransitions(run, self._host_transitions)
        self._assignment = Assignment(run)
        self._no_host_timeout = NoHostTimeout(policy)
        self._reported_no_host: float | None = None
        self.end: JobEnd | None = None
        self.held = ""
        self._finish_by: float | None = None
        self._finish_began = 0.0
        owners: tuple[tuple[Any, Mapping[type, Callable[[Any, Any], None]]], ...] = (
            (self._host_transitions, HOST_HANDLERS),
            (self._page_transitions, PAGE_HANDLERS),
            (self, JOB_HANDLERS),
        )
        self._handlers: dict[type, Callable[[Any], None]] = {
            kind: partial(handler, owner)
            for owner, handlers in owners
            for kind, handler in handlers.items()
        }
        for number, only in start.pins:
            run.page_queue.pin(run.page_queue[number], only)
        for page in start.recovered:
            self._page_transitions.recover(page)
        # Reported in start(), as __init__ issues no commands.
        self._blocked = tuple(start.blocked)

    @property
    def policy(self) -> Policy:
        """Return the policy that the scheduler was given."""
        return self._run.policy

    @property
    def hosts(self) -> dict[str, Host]:
        """Return every host by name."""
        return self._run.hosts

    @property
    def page_queue(self) -> PageQueue:
        """Return the queue, which holds every page."""
        return self._run.page_queue

    @property
    def attempts(self) -> dict[str, Attempt]:
        """Return the attempts that have not ended, by name."""
        return self._run.attempts

    @property
    def delivered_here(self) -> int:
        """Return the number of pages delivered in this run."""
        return self._run.delivered

    @property
    def limit(self) -> int | None:
        """Return how many slots the job may use at once; None: any number."""
        return self._run.limit

    @property
    def paused(self) -> str:
        """Return what is wrong with the storage while nothing is sent; empty while it works."""
        return self._run.storage.paused

    @property
    def paused_seconds(self) -> float:
        """Return how long it has been paused; 0 while it is not."""
        return self._run.storage.paused_seconds(self._run.now)

    @property
    def no_host_left(self) -> float | None:
        """Return for how long a run without a usable host waits; None: it does not, or no limit."""
        ends_at = self._no_host_timeout.ends_at
        return None if ends_at is None else max(0.0, ends_at - self._run.now)

    @property
    def withheld(self) -> tuple[str, float]:
        """Return why no page is sent though the storage works, and for how many seconds more."""
        return self._run.storage.withheld(self._run.now)

    @property
    def storage_left(self) -> float:
        """Return for how long pages that the storage does not take are still tried, though it works."""
        return self._run.storage.suspicion_left(self._run.now)

    def start(self, now: float) -> list[do.Command]:
        """Return the first commands of the run."""
        self._run.now = now
        for number, reason in self._blocked:
            self._page_transitions.fail_blocked(number, reason)
        # Otherwise every page is there already, or blocked: no host is contacted.
        if not self.page_queue.is_finished():
            self._host_transitions.connect_all()
        self._advance()
        return self._run.take_commands()

    def handle(
        self, *events: ev.Event, now: float, heard_until: float | None = None
    ) -> list[do.Command]:
        """Apply the events and return what to do. ``now`` is in seconds and never goes back.

        ``heard_until``: every message that hosts sent until then has been handled. No host counts as
        silent for messages that may still wait in the coordinator's queue. None: until now.

        EndJob is the last command. After the event that ended the run, only pages that were being
        verified still count.
        """
        run = self._run
        self._apply(events, now)
        run.heard_until = run.now if heard_until is None else min(heard_until, run.now)
        self._advance()
        return self._with_end_last(run.take_commands())

    def apply(self, *events: ev.Event, now: float) -> list[do.Command]:
        """Apply the events like ``handle``, but leave what follows from them to the next ``handle``.

        Whether a message counts depends on the state that the previous message left. So messages are
        applied one by one, however many have arrived, and assignment and timeouts run once for all.
        """
        self._apply(events, now)
        return self._with_end_last(self._run.take_commands())

    def _apply(self, events: Iterable[ev.Event], now: float) -> None:
        self._run.now = max(now, self._run.now)
        for event in events:
            if self._is_applicable(event):
                self._handlers[type(event)](event)

    def is_rendered_by(self, number: int, host: str) -> bool:
        """Return whether this host delivered the page, or it is being verified or rendered there."""
        page = self.page_queue.pages.get(number)
        if page is not None and page.host == host and page.state in _RENDERED:
            return True
        return any(attempt.page == number for attempt in self.hosts[host].in_flight.values())

    def is_verifying_another(self, attempt: Attempt, besides: Container[str] = ()) -> bool:
        """Return whether another attempt at the same page is being verified.

        ``besides``: attempts that do not count.
        """
        others = self.page_queue[attempt.page].live.values()
        return any(
            each.rendered_at is not None and each.name not in besides
            for each in others
            if each is not attempt
        )

    def _is_applicable(self, event: ev.Event) -> bool:
        if self.end is not None:
            return type(event) in _APPLICABLE_AFTER_THE_END
        return self._finish_by is None or type(event) not in _IGNORED_WHILE_FINISHING

    # Storage

    def _on_storage_failed(self, event: ev.StorageFailed) -> None:
        if event.is_final:
            self._end(JobEnd.STORAGE, event.reason)
            return
        self._run.storage.failed(self._run.now, event.reason)

    def _on_storage_recovered(self, _event: ev.StorageRecovered) -> None:
        # Read before recovered() clears it.
        was_paused = bool(self._run.storage.paused)
        suspected = self._run.storage.recovered()
        self._page_transitions.verify_again()
        if was_paused:
            self._host_transitions.reconnect_after_outage()
        for name, reason in suspected.items():
            # A probe from here succeeded, so the fault is that of the host.
            self._host_transitions.count_storage_failure(self.hosts[name], reason)

    # Requests of users

    def _on_stop(self, event: ev.StopRequested) -> None:
        self._end(JobEnd.STOPPED, event.reason)

    def _on_cancel(self, event: ev.CancelRequested) -> None:
        self._end(JobEnd.CANCELLED, f"cancelled by {event.by}")

    def _on_hold(self, event: ev.HoldRequested) -> None:
        self.held = f"held by {event.by}"
        # Running attempts continue: revoke() ignores those.
        for attempt in self.attempts.values():
            self._run.revoke(attempt, "the job is held")

    def _on_expected(self, event: ev.HostsExpected) -> None:
        self._no_host_timeout.expected = event

    def _on_release(self, _event: ev.ReleaseRequested) -> None:
        self.held = ""

    def _on_limit(self, event: ev.LimitChanged) -> None:
        self._run.limit = event.limit

    def _on_tick(self, event: ev.Ticked) -> None:
        """Do nothing: ``_advance`` handles the passing of time."""

    # Time

    def _advance(self) -> None:
        """Do everything that follows from the new state and from the time."""
        is_late = self.policy.deadline is not None and self._run.now >= self.policy.deadline
        is_finished = self.page_queue.is_finished()
        # The order matters. A finished job is complete even at the deadline; and a deadline ends the
        # wait for hosts that might outvote others.
        if self.end is None and is_finished and (is_late or not self._may_withdraw_pages()):
            self._finish()
        if self.end is not None:
            return
        if is_late and not is_finished:
            self._end(JobEnd.DEADLINE, "the deadline passed")
            return
        # Timeouts first, so that a lost host's pages are assigned to others on this turn.
        self._host_transitions.check_due(may_reconnect=self._finish_by is None)
        self._check_storage()
        if self.end is None and self._finish_by is None:
            # Withdrawn pages and released hosts come first: assignment has to see them.
            if self._host_transitions.update_reference():
                self._page_transitions.withdraw_outvoted()
            self._host_transitions.release_quarantine()
            if not self.held:
                self._assign()
            # No attempts: what was being rendered is finished and verified.
            elif self.policy.ends_when_held and not self.attempts:
                self._end(JobEnd.HELD, self.held)
            self._end_without_hosts()

    def _assign(self) -> None:
        """Give pages to hosts. Each step sees the slots that the earlier ones have filled."""
        self._assignment.share_slots()
        self._assignment.assign()
        # recall and hedge are for the end of the job: while a page waits, a free slot gets it.
        if not self.page_queue.has_waiting():
            self._assignment.recall()
            self._assignment.hedge()

    def _may_withdraw_pages(self) -> bool:
        """Return whether hosts that may still connect can outvote those that delivered pages."""
        return self._finish_by is None and self._host_transitions.is_provisional

    def _check_storage(self) -> None:
        given_up = self._run.storage.is_given_up(self._run.now)
        if given_up:
            self._end(JobEnd.STORAGE, given_up)
        elif self._run.storage.is_probe_due(self._run.now):
            self._run.issue(do.ProbeStorage())

    # The end

    def _end_without_hosts(self) -> None:
        if self.end is not None:
            return
        # While the job is held or the storage fails, no host could render: a wait begins afterwards.
        if self.held or self.paused:
            self._no_host_timeout.suspend()
            self._report_no_host()
            return
        given_up = self._no_host_timeout.is_over(
            self._suitable_states(), self._run.now, has_delivered=self.delivered_here > 0
        )
        if given_up:
            self._end(JobEnd.NO_HOST, given_up)
        else:
            self._report_no_host()

    def _report_no_host(self) -> None:
        """Have it recorded when the run begins to wait for a host, or waits no longer."""
        ends_at = self._no_host_timeout.ends_at
        if ends_at != self._reported_no_host:
            self._reported_no_host = ends_at
            self._run.issue(do.ReportNoHost(0.0 if ends_at is None else ends_at - self._run.now))

    def _suitable_states(self) -> frozenset[HostState]:
        """Return the states of the hosts that could render any page that is left.

        Pinned pages suit few hosts. If one of these may take pages, the others do not count.
        """
        # Pages in these states may return to the queue, where any host may suit them.
        host_counts, counts = self._run.host_counts, self.page_queue.counts
        does_any_suit = self.page_queue.has_unconstrained() or (
            counts[PageState.UNREADY] + counts[PageState.SENT] + counts[PageState.VERIFYING]
        )
        # The other states do not matter to NoHostTimeout if one of these is present.
        if does_any_suit and host_counts[HostState.IDLE]:
            return PROMISING  # the usual case, on every turn
        all_states = frozenset(state for state, count in host_counts.items() if count)
        if does_any_suit:
            return all_states
        constraints = list(self.page_queue.constrained.constraints())
        states = set()
        for host in self.hosts.values():
            if host.state not in states and any(each.allows(host) for each in constraints):
                states.add(host.state)
                # NoHostTimeout needs no more than one promising host.
                if host.state in PROMISING:
                    break
        # Without any suitable host the states of all decide: hosts may be added that suit.
        return frozenset(states) or all_states

    def _finish(self) -> None:
        """End the run, whose pages are all finished, once the hosts have sent late diagnostics."""
        run = self._run
        if self._finish_by is None:
            self._finish_by = run.now + self.policy.max_finish_wait
            self._finish_began = run.now
            for host in self.hosts.values():
                if host.is_connected and not self.paused:
                    host.is_finishing = True
                    run.issue(do.FinishHost(host.name))
        if run.now >= self._finish_by or not any(self._is_awaited(host) for host in self.hosts.values()):
            self._end(JobEnd.COMPLETE, "")

    def _is_awaited(self, host: Host) -> bool:
        """Return whether a host that was told to finish may still send diagnostics."""
        if not (host.is_finishing and host.is_connected):
            return False
        since = max(host.heard_at, self._finish_began)
        return self._run.heard_until - since < self.policy.finish_wait

    def _with_end_last(self, commands: list[do.Command]) -> list[do.Command]:
        """Return the commands in order, except that EndJob, which stops their execution, comes last."""
        if self.end is None:
            return commands
        # sorted() is stable: the order of all others stays.
        return sorted(commands, key=lambda command: isinstance(command, do.EndJob))

    def _end(self, end: JobEnd, reason: str) -> None:
        self.end = end
        self._host_transitions.close_all()
        self._run.issue(do.EndJob(end, reason))


JOB_HANDLERS: Mapping[type, Callable[[Scheduler, Any], None]] = {
    ev.StorageFailed: Scheduler._on_storage_failed,
    ev.StorageRecovered: Scheduler._on_storage_recovered,
    ev.StopRequested: Scheduler._on_stop,
    ev.CancelRequested: Scheduler._on_cancel,
    ev.HoldRequested: Scheduler._on_hold,
    ev.ReleaseRequested: Scheduler._on_release,
    ev.LimitChanged: Scheduler._on_limit,
    ev.HostsExpected: Scheduler._on_expected,
    ev.Ticked: Scheduler._on_tick,
}
"""Handlers of the events that concern the run as a whole."""
