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
- A job that is held hands out nothing and gives nobody up; what is being drawn is finished. Then a run
  of the queue ends.

This module dispatches each event to its handler and ends the run. Handlers for hosts are in
hosttransitions.py, for pages in pagetransitions.py; assignment.py gives pages to hosts;
schedulerstate.py holds the state that they share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.assignment import Assignment
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.hosttransitions import HostTransitions
from sshrender.core.nohosttimeout import NoHostTimeout
from sshrender.core.pagequeue import PageQueue
from sshrender.core.pagetransitions import PageTransitions
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Attempt, Host
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import JobEnd, PageState

_COUNT_AFTER_THE_END = frozenset({ev.PageDelivered, ev.PageSuspected})
_NOT_WHEN_FINISHING = frozenset({ev.RetryRequested, ev.MoveRequested})
_RENDERED = frozenset({PageState.DONE, PageState.SUSPECT, PageState.VERIFYING})

_WATCH_INTERVAL = 0.1
"""Seconds between two looks at every attempt of every host: nothing there is a matter of less."""


class Scheduler:
    """One run of one job.

    ``rule``: the reference of earlier runs, ``votes``: the fingerprints of their hosts. ``pins``: the
    hosts that a page may only go to. ``bundle``: pages in each part of the document that hosts without a
    SAN are fed; 0: they are fed the whole.
    """

    def __init__(
        self,
        policy: Policy,
        hosts: Iterable[HostPlan],
        pages: Iterable[int],
        *,
        epoch: int = 1,
        ready: bool = True,
        recovered: Iterable[ev.Recovered] = (),
        rule: HostFingerprint | None = None,
        votes: Mapping[str, HostFingerprint] | None = None,
        bundle: int = 0,
        pins: Iterable[tuple[int, frozenset[str]]] = (),
        now: float = 0.0,
    ) -> None:
        self._run = run = SchedulerState(
            policy, hosts, pages, epoch=epoch, ready=ready, bundle=bundle, now=now
        )
        self._host_care = HostTransitions(run, rule, votes or {})
        self._page_care = PageTransitions(run, self._host_care)
        self._assignment = Assignment(run)
        self._no_host_timeout = NoHostTimeout(policy)
        self.end: JobEnd | None = None
        self.held = ""
        self._finish_by: float | None = None
        self._watched_at = -math.inf
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.HostGreeted: self._host_care.on_greeted,
            ev.HostRefused: self._host_care.on_refused,
            ev.HostLost: self._host_care.on_lost,
            ev.LoadSampled: self._host_care.on_load,
            ev.HostFinished: self._host_care.on_finished,
            ev.DrainRequested: self._host_care.on_drain,
            ev.UndrainRequested: self._host_care.on_undrain,
            ev.FontsKnown: self._host_care.on_fonts,
            ev.CanaryRendered: self._host_care.on_canary,
            ev.PageTaken: self._page_care.on_taken,
            ev.PagesReady: self._page_care.on_ready,
            ev.PagesWeighed: self._page_care.on_weighed,
            ev.PageStarted: self._page_care.on_started,
            ev.PageRendered: self._page_care.on_rendered,
            ev.AttemptFailed: self._page_care.on_failed,
            ev.AttemptRevoked: self._page_care.on_revoked,
            ev.AttemptKept: self._page_care.on_kept,
            ev.HostDistrusted: self._host_care.on_distrusted,
            ev.PageDelivered: self._page_care.on_delivered,
            ev.PageSuspected: self._page_care.on_suspected,
            ev.RetryRequested: self._page_care.on_retry,
            ev.MoveRequested: self._page_care.on_move,
            ev.StorageFailed: self._on_storage_failed,
            ev.StorageRecovered: self._on_storage_recovered,
            ev.StopRequested: self._on_stop,
            ev.CancelRequested: self._on_cancel,
            ev.HoldRequested: self._on_hold,
            ev.ReleaseRequested: self._on_release,
            ev.LimitChanged: self._on_limit,
            ev.Ticked: lambda _event: None,
        }
        for number, only in pins:
            run.book.pin(run.book[number], only)
        for page in recovered:
            self._page_care.recover(page)

    @property
    def policy(self) -> Policy:
        """The numbers that it goes by."""
        return self._run.policy

    @property
    def hosts(self) -> dict[str, Host]:
        """Every host, by name."""
        return self._run.hosts

    @property
    def book(self) -> PageQueue:
        """Every page."""
        return self._run.book

    @property
    def attempts(self) -> dict[str, Attempt]:
        """The attempts that have not ended, by name."""
        return self._run.attempts

    @property
    def delivered_here(self) -> int:
        """Pages delivered in this run."""
        return self._run.delivered

    @property
    def paused(self) -> str:
        """Why nothing is sent: what is wrong with the storage; empty while all is well."""
        return self._run.storage.paused

    def start(self, now: float) -> list[do.Command]:
        """The first commands of a run."""
        self._run.now = now
        if not self.book.is_finished():
            self._host_care.connect_all()
        self._advance()
        return self._run.take_commands()

    def handle(self, *events: ev.Event, now: float, heard_to: float | None = None) -> list[do.Command]:
        """Take in what happened; answer what to do. ``now`` is in seconds and never goes back.

        ``heard_to``: all that hosts have said until then was taken in, and no host is called silent for
        what it may have said since; None: until now.

        EndJob is the last command. Afterwards, and behind the event that ended the run, only pages
        that were being proved still count.
        """
        commands = self.take(*events, now=now)
        self._run.heard_to = self._run.now if heard_to is None else min(heard_to, self._run.now)
        self._advance()
        return sorted(
            commands + self._run.take_commands(), key=lambda command: isinstance(command, do.EndJob)
        )

    def take(self, *events: ev.Event, now: float) -> list[do.Command]:
        """Take in what happened, as ``handle`` does; what follows from the new state is left for then.

        What a host says counts only in the state in which the last thing that it said left us, so that
        messages are taken in one by one, however many have come.
        """
        self._run.now = max(now, self._run.now)
        for event in events:
            if self._counts(event):
                self._handlers[type(event)](event)
        return sorted(self._run.take_commands(), key=lambda command: isinstance(command, do.EndJob))

    def is_rendered_by(self, number: int, host: str) -> bool:
        """Whether the page was delivered from this host, is being proved for it, or is there now."""
        page = self.book.pages.get(number)
        if page is not None and page.host == host and page.state in _RENDERED:
            return True
        return any(attempt.page == number for attempt in self.hosts[host].in_flight.values())

    def is_verifying_another(self, attempt: Attempt, besides: Container[str] = ()) -> bool:
        """Whether another attempt at the same page is being proved, too, not counting ``besides``."""
        others = self.book[attempt.page].live.values()
        return any(
            each.rendered_at is not None and each.name not in besides
            for each in others
            if each is not attempt
        )

    def _counts(self, event: ev.Event) -> bool:
        if self.end is not None:
            return type(event) in _COUNT_AFTER_THE_END
        return self._finish_by is None or type(event) not in _NOT_WHEN_FINISHING

    # Storage

    def _on_storage_failed(self, event: ev.StorageFailed) -> None:
        self._run.storage.failed(self._run.now, event.reason)

    def _on_storage_recovered(self, _event: ev.StorageRecovered) -> None:
        was_paused = bool(self._run.storage.paused)
        doubted = self._run.storage.recovered()
        self._page_care.verify_again()
        if was_paused:
            self._host_care.try_again_after_outage()
        for name in doubted:
            self._host_care.count_storage_failure(self.hosts[name])

    # What people ask for

    def _on_stop(self, event: ev.StopRequested) -> None:
        self._end(JobEnd.STOPPED, event.reason)

    def _on_cancel(self, event: ev.CancelRequested) -> None:
        self._end(JobEnd.CANCELLED, f"cancelled by {event.by}")

    def _on_hold(self, event: ev.HoldRequested) -> None:
        self.held = f"held by {event.by}"
        for attempt in self.attempts.values():
            self._run.revoke(attempt, "the job is held")

    def _on_release(self, _event: ev.ReleaseRequested) -> None:
        self.held = ""

    def _on_limit(self, event: ev.LimitChanged) -> None:
        self._run.limit = event.limit

    # Time

    def _advance(self) -> None:
        """Everything that follows from the new state and from the time."""
        is_late = self.policy.deadline is not None and self._run.now >= self.policy.deadline
        is_finished = self.book.is_finished()
        if self.end is None and is_finished and (is_late or not self._is_undecided()):
            self._finish()
        if self.end is not None:
            return
        if is_late and not is_finished:
            self._end(JobEnd.DEADLINE, "the deadline passed")
            return
        if self._run.now - self._watched_at >= _WATCH_INTERVAL:
            self._watched_at = self._run.now
            for host in self.hosts.values():
                self._host_care.watch(host, may_reconnect=self._finish_by is None)
        self._watch_storage()
        if self.end is None and self._finish_by is None:
            if self._host_care.compare():
                self._page_care.withdraw_outvoted()
            self._host_care.release_quarantine()
            if not self.held:
                self._assignment.allot()
                self._assignment.assign()
                self._assignment.call_back()
                self._assignment.hedge()
                self._give_up_waiting()
            elif self.policy.ends_when_held and not self.attempts:
                self._end(JobEnd.HELD, self.held)

    def _is_undecided(self) -> bool:
        """Whether hosts that may still come may show that what was delivered is not what most render."""
        return self._finish_by is None and self._host_care.is_provisional

    def _watch_storage(self) -> None:
        given_up = self._run.storage.is_given_up(self._run.now)
        if given_up:
            self._end(JobEnd.STORAGE, given_up)
        elif self._run.storage.is_look_due(self._run.now):
            self._run.issue(do.ProbeStorage())

    # The end

    def _give_up_waiting(self) -> None:
        given_up = self._no_host_timeout.is_over(
            self._wanted_hosts(), self._run.now, has_delivered=self.delivered_here > 0
        )
        if given_up:
            self._end(JobEnd.NO_HOST, given_up)

    def _wanted_hosts(self) -> list[Host]:
        """Those that could draw any of what is left: pages that are pinned wait for few."""
        hosts = list(self.hosts.values())
        counts = self.book.counts
        if self.book.has_fresh() or any(
            counts[state] for state in (PageState.UNREADY, PageState.SENT, PageState.VERIFYING)
        ):
            return hosts
        waiting = self.book.constrained()
        return [host for host in hosts if any(host.can_render(page) for page in waiting)] or hosts

    def _finish(self) -> None:
        """All pages are settled: let the hosts say what they found out late."""
        run = self._run
        if self._finish_by is None:
            self._finish_by = run.now + self.policy.finish_wait
            for host in self.hosts.values():
                if host.is_connected and not self.paused:
                    host.is_finishing = True
                    run.issue(do.FinishHost(host.name))
        waiting = any(host.is_finishing and host.is_connected for host in self.hosts.values())
        if not waiting or run.now >= self._finish_by:
            self._end(JobEnd.COMPLETE, "")

    def _end(self, end: JobEnd, reason: str) -> None:
        self.end = end
        self._host_care.close_all()
        self._run.issue(do.EndJob(end, reason))
