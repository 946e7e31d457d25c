"""The coordinator: one loop that feeds the scheduler and carries out what it says.

The loop itself does no I/O that can block: hosts have their links, pages their prover, the journal
its scribe, the lease its keeper. They all post into one queue.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sshrender.coordinator import prover as pv
from sshrender.coordinator.chronicle import Chronicle
from sshrender.coordinator.clerk import Asked, Clerk, drained_event, event_of
from sshrender.coordinator.early import Links
from sshrender.coordinator.ferry import Landed, Strayed
from sshrender.coordinator.gallery import Gallery
from sshrender.coordinator.greeting import judge
from sshrender.coordinator.hostlink import Heard, LinkFailed
from sshrender.coordinator.keeper import LeaseGone
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.parts import PartsFailed, PartSplitter
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.probe import StorageProbe
from sshrender.coordinator.samples import LoadSamples
from sshrender.coordinator.signals import SignalCaught
from sshrender.coordinator.tidings import Tidings
from sshrender.coordinator.wires import Wires
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import snapshot
from sshrender.core.records import Attempt
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import SETTLED, FailureKind
from sshrender.job.drains import Drain
from sshrender.job.folder import WORK
from sshrender.job.lease import Lease
from sshrender.job.nonce import Nonce
from sshrender.job.proof.prove import Expected
from sshrender.runner.storage import Watch
from sshrender.transports import messages as msg
from sshrender.utf8 import writable
from sshrender.views.protocol import View

_SAID_BY_RUNNERS: dict[str, FailureKind] = {
    kind.value: kind for kind in FailureKind if kind not in (FailureKind.HOST, FailureKind.BAD_OUTPUT)
}
"""Kinds of failure that a host may report; of the others we are the judge."""

TICK = 0.25
MOST_AT_ONCE = 1000
"""Items between two looks at what follows from them: no host can keep the scheduler from its work."""

CLOSING = 2.0
"""Seconds that pages being proved, and the journal, get when a run ends."""


class Coordinator:
    """One run of one job over some hosts."""

    def __init__(
        self,
        plan: JobPlan,
        hosts: Sequence[HostSetup],
        lease: Lease,
        nonce: Nonce,
        links: Links,
        inbox: queue.SimpleQueue[Any],
        view: View,
        drained: Mapping[str, Drain],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._setups = {setup.plan.name: setup for setup in hosts}
        self._lease = lease
        self._inbox = inbox
        self._view = view
        self._clock = clock
        self._nonce = nonce
        self._watches = [Watch(str(folder)) for folder in (plan.folder.work, plan.output)]
        self._wires = Wires(plan, self._setups, links, nonce, inbox.put)
        self._chronicle = Chronicle(plan, view, lease.ensure, inbox.put, lease.epoch)
        self._landed: set[str] = set()
        self._reports: dict[str, msg.Rendered] = {}
        self._told: set[str] = set()
        self._scheduler = Scheduler(
            replace(
                plan.policy,
                renderers=max(1, len(plan.spec.settings.recipes)),
                limit=plan.attributes.limit,
                ends_when_held=plan.is_from_queue,
            ),
            [setup.plan for setup in hosts],
            plan.pages,
            epoch=lease.epoch,
            ready=plan.spec.settings.split == 0,
            recovered=[
                ev.Recovered(record.page, record.is_suspect, record.said, record.host)
                for record in plan.history.pages.values()
            ],
            rule=self._chronicle.rule,
            bundle=self._wires.larder.per_part,
            pins=[(page, only) for page, only in plan.pins.items() if page in set(plan.pages)],
            now=clock(),
        )
        for drain in drained.values():
            self._scheduler.handle(drained_event(drain), now=clock())
        self._prover = pv.Prover(plan.reading, lease.ensure, inbox.put)
        self._tidings = Tidings(plan.reading, plan.pages)
        self._clerk = Clerk(plan, inbox.put, lease.ensure, drained, lease.epoch)
        self._samples = LoadSamples()
        self._probe = StorageProbe(plan, inbox.put, lease.epoch)
        self._gallery = Gallery(plan.folder)
        self._outcome: Outcome | None = None
        self._signal: int | None = None
        self._began = clock()
        self._shown_at = -TICK
        self._handlers: dict[type, Callable[[Any], list[ev.Event]]] = {
            Heard: self._on_heard,
            LinkFailed: self._on_link_failed,
            pv.Proved: self._on_proved,
            pv.Disproved: self._on_disproved,
            pv.StorageTrouble: self._on_storage_trouble,
            pv.SyncRefused: self._on_sync_refused,
            Landed: self._on_landed,
            Strayed: self._on_strayed,
            ev.AttemptRevoked: lambda event: [event],
            ev.StorageFailed: self._on_storage_failed,
            ev.StorageRecovered: self._on_storage_recovered,
            ev.PagesReady: lambda event: [event],
            ev.DrainRequested: lambda event: [event],
            ev.UndrainRequested: lambda event: [event],
            PartsFailed: self._on_parts_failed,
            SignalCaught: self._on_signal,
            Asked: self._on_asked,
            LeaseGone: self._on_lease_gone,
        }
        self._actions: dict[type, Callable[[Any], None]] = {
            do.ConnectHost: lambda c: self._wires.connect(c.host),
            do.RenderPage: self._render,
            do.AllotSlots: lambda c: self._wires.send(c.host, "width", slots=c.slots),
            do.RevokeAttempt: lambda c: self._wires.call_off("revoke", c),
            do.KillAttempt: lambda c: self._wires.call_off("kill", c),
            do.ProvePage: self._prove,
            do.CloseHost: lambda c: self._wires.close(c.host),
            do.FinishHost: lambda c: self._wires.send(c.host, "finish"),
            do.ProbeStorage: lambda c: self._probe.look(),
            do.SettlePage: lambda c: self._chronicle.settled(self._scheduler.book[c.page], c.state),
            do.ReturnPage: lambda c: self._chronicle.tell("page_returned", **c._asdict()),
            do.DropAttempt: self._drop,
            do.FallBack: self._fall_back,
            do.ReadFonts: lambda c: self._plan.reading.want_fonts(),
            do.ReportRuling: self._chronicle.ruled,
            do.ReportHost: lambda c: self._chronicle.tell("host_state", **c._asdict()),
            do.EndJob: self._end,
        }
        self._message_events: dict[type, Callable[[str, Any], list[ev.Event]]] = {
            msg.Hello: self._greet,
            msg.Beat: lambda host, m: [ev.LoadSampled(host, m.others, m.ours, m.seats)],
            msg.Started: lambda host, m: [ev.PageStarted(host, m.attempt)],
            msg.Rendered: self._report,
            msg.Failed: self._fail,
            msg.Revoked: lambda host, m: [ev.AttemptRevoked(host, m.attempt)],
            msg.Suspected: lambda host, m: [ev.PageSuspected(host, m.attempt, m.page, m.said)],
            msg.Pictured: self._hang,
            msg.Noted: self._note,
            msg.Trouble: lambda host, m: [ev.HostLost(host, m.reason)],
            msg.Bye: lambda host, m: [ev.HostFinished(host)],
            msg.Inspected: lambda host, m: [],
        }

    def run(self) -> Outcome:
        """See the job through; returns when it has ended, for whatever reason."""
        self._clerk.start()
        for watch in self._watches:
            watch.start()
        self._chronicle.tell(
            "run_started",
            pages=len(self._plan.pages),
            output=writable(str(self._plan.output)),
            coordinator=self._lease.holder,
            hosts=list(self._setups),
        )
        self._start_splitting()
        self._carry_out(self._scheduler.start(self._clock()))
        while self._outcome is None:
            events = self._next_events()
            self._carry_out(self._scheduler.handle(*events, now=self._clock()))
            self._show()
            self._tell_loads()
        return self._outcome

    def _tell_loads(self) -> None:
        """Who watches the journal from elsewhere sees the hosts' loads, too."""
        loads = self._samples.due(self._scheduler.hosts.values(), self._clock())
        if loads and self._outcome is None:
            self._chronicle.tell("hosts_sampled", loads=loads)

    def _show(self) -> None:
        """Pictures are costly on a large farm, so views get a few a second, however much happens."""
        now = self._clock()
        if now - self._shown_at >= TICK or self._outcome is not None:
            self._shown_at = now
            self._view.snapshot(snapshot.take(self._scheduler), now)

    def status_line(self) -> str:
        """How the run stands, in one line."""
        shot = snapshot.take(self._scheduler)
        working = sum(host.running > 0 for host in shot.hosts)
        return (
            f"{self._plan.spec.name}: {shot.settled}/{shot.total} pages"
            f" ({shot.suspect} suspect, {shot.failed} failed),"
            f" {working} of {len(shot.hosts)} hosts at work,"
            f" {self._clock() - self._began:.0f} s"
        )

    def _next_events(self) -> list[ev.Event]:
        """Everything that has come in, waiting at most a tick for the first."""
        events: list[ev.Event] = []
        try:
            item = self._inbox.get(timeout=TICK)
            for _ in range(MOST_AT_ONCE):
                events += self._handlers[type(item)](item)
                item = self._inbox.get_nowait()
            events += self._handlers[type(item)](item)
        except queue.Empty:
            events.append(ev.Ticked())
        return events + self._read_on() + self._look_for_hangs()

    def _read_on(self) -> list[ev.Event]:
        """What the document turns out to be."""
        events = self._tidings.new()
        if any(isinstance(event, ev.FontsKnown) for event in events):
            self._chronicle.fonts_missing(self._tidings.fonts)
        return events

    def _look_for_hangs(self) -> list[ev.Event]:
        """Who waits for a dead server reports nothing, so somebody has to notice."""
        if self._scheduler.paused:
            return []  # the probe looks now
        hanging = [watch.folder for watch in self._watches if watch.is_hanging()]
        return (
            self._on_storage_failed(ev.StorageFailed(f"{hanging[0]} does not answer")) if hanging else []
        )

    def _carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            self._actions[type(command)](command)

    # What came in

    def _on_heard(self, heard: Heard) -> list[ev.Event]:
        heard.link.taken()
        if not self._wires.is_current(heard.link):
            return []
        return self._message_events[type(heard.message)](heard.link.host, heard.message)

    def _on_link_failed(self, failed: LinkFailed) -> list[ev.Event]:
        host = failed.link.host
        if not self._wires.is_current(failed.link):
            return []
        if failed.refusal.may_come_back:
            return [ev.HostLost(host, failed.reason)]
        return [ev.HostRefused(host, failed.refusal.value, failed.reason)]

    def _greet(self, host: str, hello: msg.Hello) -> list[ev.Event]:
        event = judge(host, hello, self._setups[host].san, self._plan.spec.settings.recipes)
        if isinstance(event, ev.HostGreeted):
            self._wires.begin(host, hello.folder)
            self._chronicle.greeted(self._setups[host], hello, event)
        return [event]

    def _report(self, host: str, report: msg.Rendered) -> list[ev.Event]:
        attempt = self._scheduler.attempts.get(report.attempt)
        if report.has_stand_ins:
            self._plan.reading.want_fonts()
        if attempt is not None and attempt.host == host:
            self._reports.setdefault(report.attempt, report)  # the first word counts
        return [ev.PageRendered(host, report.attempt, report.seconds, report.said)]

    def _fail(self, host: str, failed: msg.Failed) -> list[ev.Event]:
        kind = _SAID_BY_RUNNERS.get(failed.kind, FailureKind.CRASHED)
        if kind is FailureKind.STORAGE and self._wires.is_ferried(host):
            kind = FailureKind.HOST  # its own disk, which is nobody else's trouble
        return self._attempt_failed(host, failed.attempt, kind, failed.reason)

    def _attempt_failed(self, host: str, attempt: str, kind: FailureKind, reason: str) -> list[ev.Event]:
        known = self._scheduler.attempts.get(attempt)
        if known is not None and known.host == host and not self._is_called_off(known, kind):
            self._chronicle.failed(known, kind, reason)
        return [ev.AttemptFailed(host, attempt, kind, reason)]

    def _is_called_off(self, attempt: Attempt, kind: FailureKind) -> bool:
        """Whether it failed by our own wish, or nobody needs it any more: then it is told why."""
        return kind is FailureKind.KILLED or self._scheduler.book[attempt.page].state in SETTLED

    def _note(self, host: str, noted: msg.Noted) -> list[ev.Event]:
        self._chronicle.noted(host, noted.said)
        return []

    def _hang(self, host: str, pictured: msg.Pictured) -> list[ev.Event]:
        if self._scheduler.is_drawn_by(pictured.page, host):
            self._gallery.hang(self._plan.page_file(pictured.page), pictured.data)
        return []

    def _on_proved(self, result: pv.Proved) -> list[ev.Event]:
        if not self._is_first(result):
            return []
        task = result.task
        report = self._reports.pop(task.attempt)
        attempts = self._scheduler.book[task.page].attempts
        ghostscript = self._scheduler.hosts[task.host].ghostscript
        renderer = self._plan.recipe_name(self._scheduler.book[task.page].renderer)
        self._chronicle.delivered(result, report, attempts, ghostscript, renderer)
        carriage = self._wires.carriage(task.host, task.attempt)
        events: list[ev.Event] = [ev.PageDelivered(task.host, task.attempt, carriage)]
        if result.doubt:
            events.insert(0, ev.PageSuspected(task.host, task.attempt, task.page, (result.doubt,)))
        return events

    def _is_first(self, result: pv.Proved) -> bool:
        """Two hosts may have drawn the page: it was the other, or it will be, that has published it."""
        attempt = self._scheduler.attempts.get(result.task.attempt)
        if attempt is None:
            self._reports.pop(result.task.attempt, None)
            return False
        return not (result.was_taken and self._scheduler.is_proving_another(attempt))

    def _on_disproved(self, result: pv.Disproved) -> list[ev.Event]:
        task = result.task
        self._reports.pop(task.attempt, None)
        kind = FailureKind.HOST if result.is_absent else FailureKind.BAD_OUTPUT
        return self._attempt_failed(task.host, task.attempt, kind, result.reason)

    def _on_storage_trouble(self, result: pv.StorageTrouble) -> list[ev.Event]:
        """It is tried again with each return of the storage, and told once."""
        task = result.task
        if task.attempt in self._told:
            return [ev.AttemptFailed(task.host, task.attempt, FailureKind.STORAGE, result.reason)]
        self._told.add(task.attempt)
        return self._attempt_failed(task.host, task.attempt, FailureKind.STORAGE, result.reason)

    def _on_sync_refused(self, refused: pv.SyncRefused) -> list[ev.Event]:
        reason = writable(f"{refused.folder}: {refused.reason}")
        self._chronicle.tell("folder_not_synced", reason=reason)
        return []

    def _on_landed(self, landed: Landed) -> list[ev.Event]:
        self._landed.add(landed.task.attempt)
        self._prover.submit(landed.task)
        return []

    def _on_strayed(self, strayed: Strayed) -> list[ev.Event]:
        task = strayed.task
        self._reports.pop(task.attempt, None)
        return self._attempt_failed(task.host, task.attempt, FailureKind.HOST, strayed.reason)

    def _on_storage_failed(self, event: ev.StorageFailed) -> list[ev.Event]:
        if not self._scheduler.paused:
            self._chronicle.tell("storage_failed", reason=event.reason)
        return [event]

    def _on_storage_recovered(self, event: ev.StorageRecovered) -> list[ev.Event]:
        if self._scheduler.paused:
            self._chronicle.tell("storage_recovered")
        return [event]

    def _on_parts_failed(self, failed: PartsFailed) -> list[ev.Event]:
        """What has no part yet is rendered from the whole document."""
        self._chronicle.tell("split_failed", reason=failed.reason)
        self._wires.split = 0
        return [ev.PagesReady(tuple(self._plan.pages))]

    def _on_signal(self, caught: SignalCaught) -> list[ev.Event]:
        self._signal = caught.number
        return [ev.StopRequested(f"signal {caught.number}")]

    def _on_asked(self, asked: Asked) -> list[ev.Event]:
        request = asked.request
        self._chronicle.tell("requested", is_late=False, **asdict(request))
        if "priority" in request.changes:
            self._wires.tell_priority(request.changes["priority"])
        return [event_of(request, self._plan.attributes.limit)]

    def _on_lease_gone(self, gone: LeaseGone) -> list[ev.Event]:
        return [ev.StopRequested(LeaseGone.REASON)]

    # What is to be done

    def _render(self, command: do.RenderPage) -> None:
        self._chronicle.sent(command)
        self._wires.render(command, self._work_name(command.page, command.attempt))

    def _fall_back(self, command: do.FallBack) -> None:
        name = self._plan.recipe_name(command.renderer)
        self._chronicle.tell("page_fell_back", page=command.page, to=name, reason=command.reason)

    def _drop(self, command: do.DropAttempt) -> None:
        self._chronicle.tell("attempt_dropped", **command._asdict())
        self._wires.forget(command.host, command.attempt)

    def _work_name(self, page: int, attempt: str) -> str:
        """Unguessable, so that nobody who may write to ``work/`` can lay a trap there."""
        epoch, _, number = attempt.partition(".")
        return f"{WORK}/p{page:06d}.e{epoch}.a{number}.{self._nonce.word}"

    def _prove(self, command: do.ProvePage) -> None:
        report = self._reports[command.attempt]
        name = self._plan.page_file(command.page)
        expected = Expected(
            device=self._plan.device,
            dpi=self._plan.spec.settings.dpi,
            box=report.page_size,
            bytes=report.bytes,
            sha256=report.sha256,
            is_sized=self._plan.is_sized(self._scheduler.book[command.page].renderer),
        )
        task = pv.Proving(
            host=command.host,
            page=command.page,
            attempt=command.attempt,
            work=self._plan.folder.path / self._work_name(command.page, command.attempt),
            final=self._plan.folder.pages / name,
            target=self._plan.output / name,
            expected=expected,
        )
        if self._wires.is_ferried(command.host) and command.attempt not in self._landed:
            self._wires.fetch(task)
        else:
            self._prover.submit(task)

    def _start_splitting(self) -> None:
        if self._plan.spec.settings.split and not self._scheduler.book.is_settled():
            PartSplitter(self._plan, self._inbox.put).start()

    # The end

    def _end(self, command: do.EndJob) -> None:
        """Leave nothing running, keep what was proved, and say how it went."""
        self._wires.close_all()
        self._keep_last_pages()
        self._prover.stop()
        self._plan.reading.await_fonts(CLOSING)
        self._read_on()
        self._close_gallery()
        self._outcome = Outcome.of(
            self._plan,
            self._scheduler,
            command,
            signal=self._signal,
            seconds=self._clock() - self._began,
        )
        self._chronicle.tell("run_ended", state=self._outcome.state, reason=command.reason)
        self._chronicle.close(CLOSING)
        self._clerk.stop()
        for watch in self._watches:
            watch.stop()

    def _close_gallery(self) -> None:
        self._gallery.close(CLOSING)
        lost, reason = self._gallery.lost, self._gallery.reason
        if lost:
            self._chronicle.tell("thumbnails_lost", count=lost, reason=reason)

    def _keep_last_pages(self) -> None:
        """Pages that were being proved when the run ended are kept if they are proved now."""
        self._prover.drain(CLOSING)
        events: list[ev.Event] = []
        while not self._inbox.empty():
            item = self._inbox.get()
            if isinstance(item, pv.Proved):
                events += self._on_proved(item)
        self._carry_out(self._scheduler.handle(*events, now=self._clock()))
