"""The coordinator: one loop that feeds the scheduler and carries out what it says.

The loop itself does no I/O that can block: hosts have their links, pages their verifier, the journal
its scribe, the lease its keeper. They all post into one queue.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from typing import Any

from sshrender.coordinator.documentevents import DocumentEvents
from sshrender.coordinator.hosts.connection import HostSpoke, LinkFailed
from sshrender.coordinator.hosts.filetransfer import TransferDone, TransferFailed
from sshrender.coordinator.hosts.loadsampler import LoadSamples
from sshrender.coordinator.hosts.messagehandlers import HostMessages
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.hosts.router import HostRouter
from sshrender.coordinator.journalrecorder import JournalRecorder
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.signals import SignalCaught
from sshrender.coordinator.workers import verifier as vf
from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.coordinator.workers.localcanary import LocalCanary
from sshrender.coordinator.workers.pageremover import PageRemover
from sshrender.coordinator.workers.partsplitter import PartsFailed, PartSplitter
from sshrender.coordinator.workers.requestpoller import (
    RequestPoller,
    RequestReceived,
    RequestsRefused,
    drained_event,
    event_of,
)
from sshrender.coordinator.workers.storageprobe import StorageProbe
from sshrender.coordinator.workers.thumbnailwriter import ThumbnailWriter
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import snapshot
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FailureKind, PageState
from sshrender.job.drains import Drain
from sshrender.job.folder import WORK
from sshrender.job.lease import Lease
from sshrender.job.nonce import Nonce
from sshrender.job.verification.verify import Expected
from sshrender.runner.processlimits import FILE_TO_MEMORY
from sshrender.runner.storage import Watch
from sshrender.utf8 import writable
from sshrender.views.protocol import View

TICK = 0.25
MAX_CONCURRENT = 1000
"""Items between two looks at what follows from them: no host can keep the scheduler from its work."""

MAY_COME = 5.0
"""Seconds after the time to connect in which a host may still greet, and have its page image counted."""

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
        links: ConnectionPool,
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
        self._name_key = secrets.token_bytes(32)
        self._watches = [Watch(str(folder)) for folder in (plan.folder.work, plan.output)]
        self._host_router = HostRouter(plan, self._setups, links, nonce, inbox.put)
        self._journal_recorder = JournalRecorder(plan, view, lease.ensure, inbox.put, lease.epoch)
        self._transferred: set[str] = set()
        self._told: set[str] = set()
        self._second: dict[str, vf.Verified] = {}
        self._scheduler = Scheduler(
            replace(
                plan.policy,
                renderers=max(1, len(plan.spec.settings.recipes)),
                limit=plan.attributes.limit,
                ends_when_held=plan.is_from_queue,
                compare_longest=MAY_COME + max((setup.connect_timeout for setup in hosts), default=0.0),
            ),
            [setup.plan for setup in hosts],
            plan.pages,
            epoch=lease.epoch,
            ready=plan.spec.settings.split == 0,
            recovered=[
                ev.Recovered(
                    record.page,
                    record.is_suspect,
                    record.said,
                    record.host,
                    self._journal_recorder.look_of(record.page),
                )
                for record in plan.history.pages.values()
            ],
            rule=self._journal_recorder.rule,
            votes=self._journal_recorder.votes,
            bundle=self._host_router.document_parts.per_part,
            pins=[(page, only) for page, only in plan.pins.items() if page in set(plan.pages)],
            now=clock(),
        )
        for drain in drained.values():
            self._scheduler.handle(drained_event(drain), now=clock())
        self._verifier = vf.Verifier(
            plan.reading, self._may_publish, inbox.put, FILE_TO_MEMORY * plan.limits.page_memory
        )
        self._document_events = DocumentEvents(plan.reading, plan.pages)
        self._request_poller = RequestPoller(
            plan, inbox.put, lease.ensure, drained, lease.epoch, self._setups
        )
        self._samples = LoadSamples()
        self._canary = LocalCanary(inbox.put)
        self._withdrawer = PageRemover(plan, lease.ensure, inbox.put)
        self._probe = StorageProbe(plan, inbox.put, lease.epoch, self._verifier.trouble)
        self._thumbnail_writer = ThumbnailWriter(plan.folder)
        self._messages = HostMessages(
            plan,
            self._setups,
            self._scheduler,
            self._host_router,
            self._journal_recorder,
            self._thumbnail_writer,
        )
        self._to_do: deque[do.Command] = deque()
        self._outcome: Outcome | None = None
        self._signal: int | None = None
        self._began = clock()
        self._shown_at = -TICK
        self._heard_to: float | None = None
        self._handlers: dict[type, Callable[[Any], list[ev.Event]]] = {
            HostSpoke: self._on_heard,
            LinkFailed: self._on_link_failed,
            vf.Verified: self._on_verified,
            vf.Rejected: self._on_rejected,
            vf.StorageTrouble: self._on_storage_trouble,
            vf.SyncRefused: self._on_sync_refused,
            TransferDone: self._on_transfer_done,
            TransferFailed: self._on_transfer_failed,
            ev.AttemptRevoked: lambda event: [event],
            ev.CanaryRendered: lambda event: [event],
            ev.StorageFailed: self._on_storage_failed,
            ev.StorageRecovered: self._on_storage_recovered,
            ev.PagesReady: lambda event: [event],
            ev.DrainRequested: lambda event: [event],
            ev.UndrainRequested: lambda event: [event],
            PartsFailed: self._on_parts_failed,
            SignalCaught: self._on_signal,
            RequestReceived: self._on_request,
            RequestsRefused: self._on_requests_refused,
            LeaseGone: self._on_gone,
            vf.DocumentGone: self._on_gone,
        }
        self._actions: dict[type, Callable[[Any], None]] = {
            do.ConnectHost: lambda c: self._host_router.connect(c.host),
            do.RenderPage: self._render,
            do.SetSlotLimit: lambda c: self._host_router.send(c.host, "width", slots=c.slots),
            do.RevokeAttempt: lambda c: self._host_router.call_off("revoke", c),
            do.KillAttempt: lambda c: self._host_router.call_off("kill", c),
            do.VerifyPage: self._verify_page,
            do.CloseHost: lambda c: self._host_router.close(c.host),
            do.FinishHost: lambda c: self._host_router.send(c.host, "finish"),
            do.ProbeStorage: lambda _c: self._probe.look(),
            do.FinishPage: self._settle,
            do.ReturnPage: self._return,
            do.DropAttempt: self._drop,
            do.FallBack: self._fall_back,
            do.WithdrawPage: self._withdraw,
            do.RenderCanary: lambda _c: self._canary.begin(),
            do.ReadFonts: lambda _c: self._plan.reading.want_fonts(),
            do.RecordReference: self._journal_recorder.ruled,
            do.ReportHost: lambda c: self._journal_recorder.tell("host_state", **c._asdict()),
            do.EndJob: self._end,
        }

    def run(self) -> Outcome:
        """See the job through; returns when it has ended, for whatever reason."""
        self._request_poller.start()
        for watch in self._watches:
            watch.start()
        self._journal_recorder.tell(
            "run_started",
            pages=len(self._plan.pages),
            output=writable(str(self._plan.output)),
            coordinator=self._lease.holder,
            hosts=list(self._setups),
        )
        self._start_splitting()
        self._carry_out(self._scheduler.start(self._clock()))
        while self._outcome is None:
            self._take_in()
            if self._outcome is None:
                events = self._read_on() + self._look_for_hangs() + self._reconsider()
                now = self._clock()
                self._carry_out(self._scheduler.handle(*events, now=now, heard_to=self._heard_to))
            self._show()
            self._tell_loads()
        return self._outcome

    def _tell_loads(self) -> None:
        """Who watches the journal from elsewhere sees the hosts' loads, too."""
        loads = self._samples.due(self._scheduler.hosts.values(), self._clock())
        if loads and self._outcome is None:
            self._journal_recorder.tell("hosts_sampled", loads=loads)

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

    def _take_in(self) -> None:
        """Everything that has come in, waiting at most a tick for the first."""
        try:
            item = self._inbox.get(timeout=TICK)
            for _ in range(MAX_CONCURRENT):
                self._take(item)
                if self._outcome is not None:
                    return
                item = self._inbox.get_nowait()
            self._take(item)
        except queue.Empty:
            self._heard_to = None

    def _take(self, item: Any) -> None:
        """One item, and what is to be done at once.

        An error while a host's message is handled is that host's trouble, whatever the cause: the others
        go on. The commands that were issued are carried out, so that the run stays consistent.
        """
        try:
            events = self._handlers[type(item)](item)
            self._carry_out(self._scheduler.take(*events, now=self._clock()))
        except Exception as error:
            if not isinstance(item, HostSpoke):
                raise
            what = f"its message could not be handled ({type(error).__name__}: {error!s:.200})"
            event = ev.HostDistrusted(item.link.host, writable(what))
            self._carry_out(self._scheduler.take(event, now=self._clock()))

    def _read_on(self) -> list[ev.Event]:
        """What the document turns out to be."""
        events = self._document_events.new()
        if any(isinstance(event, ev.FontsKnown) for event in events):
            self._journal_recorder.fonts_missing(self._document_events.fonts)
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
        """Those first that an error left undone."""
        self._to_do.extend(commands)
        while self._to_do:
            command = self._to_do.popleft()
            self._actions[type(command)](command)

    # What came in

    def _on_heard(self, heard: HostSpoke) -> list[ev.Event]:
        heard.link.taken()
        self._heard_to = heard.at
        if not self._host_router.is_current(heard.link):
            return []
        return self._messages.events_of(heard.link.host, heard.message, heard.at)

    def _on_link_failed(self, failed: LinkFailed) -> list[ev.Event]:
        host = failed.link.host
        if not self._host_router.is_current(failed.link):
            return []
        if failed.refusal.may_come_back:
            return [ev.HostLost(host, failed.reason)]
        return [ev.HostRefused(host, failed.refusal.value, failed.reason)]

    def _attempt_failed(self, host: str, attempt: str, kind: FailureKind, reason: str) -> list[ev.Event]:
        return self._messages.attempt_failed(ev.AttemptFailed(host, attempt, kind, reason))

    def _on_verified(self, result: vf.Verified) -> list[ev.Event]:
        if not self._is_first(result):
            return []
        task = result.task
        if result.was_taken and task.page in self._plan.history.withdrawn:
            self._messages.forget(task.attempt)
            self._plan.history.withdrawn[task.page] = result.picture.sha256
            return [ev.PageTaken(task.host, task.attempt)]
        report = self._messages.reports.pop(task.attempt)
        attempts = self._scheduler.book[task.page].attempts
        ghostscript = self._scheduler.hosts[task.host].ghostscript
        renderer = self._plan.recipe_name(self._scheduler.book[task.page].renderer)
        self._journal_recorder.delivered(result, report, attempts, ghostscript, renderer)
        carriage = self._host_router.carriage(task.host, task.attempt)
        events: list[ev.Event] = [ev.PageDelivered(task.host, task.attempt, carriage)]
        if result.doubt:
            events.insert(0, ev.PageSuspected(task.host, task.attempt, task.page, (result.doubt,)))
        return events

    def _is_first(self, result: vf.Verified) -> bool:
        """Two hosts may have rendered the page: the other has published it, or what was found is its."""
        name = result.task.attempt
        attempt = self._scheduler.attempts.get(name)
        if attempt is None:
            self._messages.forget(name)
            return False
        if result.was_taken and self._scheduler.is_verifying_another(attempt, besides=self._second):
            self._second[name] = result
            return False
        return True

    def _reconsider(self) -> list[ev.Event]:
        """The other attempts at these pages may have come to nothing since."""
        kept, self._second = self._second, {}
        return [event for result in kept.values() for event in self._on_verified(result)]

    def _on_rejected(self, result: vf.Rejected) -> list[ev.Event]:
        task = result.task
        self._messages.forget(task.attempt)
        kind = FailureKind.HOST if result.is_absent else FailureKind.BAD_OUTPUT
        return self._attempt_failed(task.host, task.attempt, kind, result.reason)

    def _on_storage_trouble(self, result: vf.StorageTrouble) -> list[ev.Event]:
        """It is tried again with each return of the storage, and told once."""
        task = result.task
        if task.attempt in self._told:
            return [ev.AttemptFailed(task.host, task.attempt, FailureKind.STORAGE, result.reason)]
        self._told.add(task.attempt)
        return self._attempt_failed(task.host, task.attempt, FailureKind.STORAGE, result.reason)

    def _on_sync_refused(self, refused: vf.SyncRefused) -> list[ev.Event]:
        self._journal_recorder.tell(
            "folder_not_synced", reason=writable(f"{refused.folder}: {refused.reason}")
        )
        return []

    def _on_transfer_done(self, transferred: TransferDone) -> list[ev.Event]:
        self._transferred.add(transferred.task.attempt)
        self._verifier.submit(transferred.task)
        return []

    def _on_transfer_failed(self, strayed: TransferFailed) -> list[ev.Event]:
        task = strayed.task
        self._messages.forget(task.attempt)
        return self._attempt_failed(task.host, task.attempt, FailureKind.HOST, strayed.reason)

    def _on_storage_failed(self, event: ev.StorageFailed) -> list[ev.Event]:
        if not self._scheduler.paused:
            self._journal_recorder.tell("storage_failed", reason=event.reason)
        return [event]

    def _on_storage_recovered(self, event: ev.StorageRecovered) -> list[ev.Event]:
        if self._scheduler.paused:
            self._journal_recorder.tell("storage_recovered")
        return [event]

    def _on_parts_failed(self, failed: PartsFailed) -> list[ev.Event]:
        """What has no part yet is rendered from the whole document."""
        self._journal_recorder.tell("split_failed", reason=failed.reason)
        self._host_router.split = 0
        return [ev.PagesReady(tuple(self._plan.pages))]

    def _on_signal(self, caught: SignalCaught) -> list[ev.Event]:
        self._signal = caught.number
        return [ev.StopRequested(f"signal {caught.number}")]

    def _on_request(self, asked: RequestReceived) -> list[ev.Event]:
        request = asked.request
        self._journal_recorder.tell("requested", is_late=False, **asdict(request))
        if "priority" in request.changes:
            self._host_router.tell_priority(request.changes["priority"])
        return [event_of(request, self._plan.attributes.limit)]

    def _on_requests_refused(self, refused: RequestsRefused) -> list[ev.Event]:
        self._journal_recorder.tell("requests_refused", count=refused.count)
        return []

    def _on_gone(self, gone: LeaseGone | vf.DocumentGone) -> list[ev.Event]:
        return [ev.StopRequested(gone.REASON)]

    def _may_publish(self) -> None:
        """In the verifier's threads. Raises LeaseLost, DocumentReplaced or OSError."""
        self._lease.ensure()
        self._plan.require_document()

    # What is to be done

    def _render(self, command: do.RenderPage) -> None:
        self._journal_recorder.sent(command)
        self._host_router.render(command, self._work_name(command.page, command.attempt))

    def _fall_back(self, command: do.FallBack) -> None:
        name = self._plan.recipe_name(command.renderer)
        self._journal_recorder.tell("page_fell_back", page=command.page, to=name, reason=command.reason)

    def _return(self, command: do.ReturnPage) -> None:
        self._messages.forget(command.attempt)
        self._journal_recorder.tell("page_returned", **command._asdict())

    def _withdraw(self, command: do.WithdrawPage) -> None:
        self._journal_recorder.withdrawn(command)
        self._withdrawer.remove(command.page)

    def _settle(self, command: do.FinishPage) -> None:
        self._journal_recorder.settled(self._scheduler.book[command.page], command.state)
        if command.state is PageState.FAILED:
            self._withdrawer.take_back(command.page)

    def _drop(self, command: do.DropAttempt) -> None:
        self._messages.forget(command.attempt)
        self._journal_recorder.tell("attempt_dropped", **command._asdict())
        self._host_router.forget(command.host, command.attempt)

    def _work_name(self, page: int, attempt: str) -> str:
        """Known to the one host that is told: another could put something in its place beforehand."""
        epoch, _, number = attempt.partition(".")
        word = blake2b(attempt.encode(), key=self._name_key, digest_size=12).hexdigest()
        return f"{WORK}/p{page:06d}.e{epoch}.a{number}.{word}"

    def _verify_page(self, command: do.VerifyPage) -> None:
        report = self._messages.reports[command.attempt]
        name = self._plan.page_file(command.page)
        expected = Expected(
            device=self._plan.device,
            dpi=self._plan.spec.settings.dpi,
            box=report.page_size,
            bytes=report.bytes,
            sha256=report.sha256,
            is_sized=self._plan.is_sized(self._scheduler.book[command.page].renderer),
        )
        task = vf.VerificationTask(
            host=command.host,
            page=command.page,
            attempt=command.attempt,
            work=self._plan.folder.path / self._work_name(command.page, command.attempt),
            final=self._plan.folder.pages / name,
            target=self._plan.output / name,
            expected=expected,
        )
        if self._host_router.is_ferried(command.host) and command.attempt not in self._transferred:
            self._host_router.fetch(task)
        else:
            self._verifier.submit(task)

    def _start_splitting(self) -> None:
        if self._plan.spec.settings.split and not self._scheduler.book.is_finished():
            PartSplitter(self._plan, self._inbox.put).start()

    # The end

    def _end(self, command: do.EndJob) -> None:
        """Leave nothing running, keep what was proved, and say how it went."""
        self._host_router.close_all()
        self._canary.stop()
        self._withdrawer.stop()
        self._keep_last_pages()
        self._verifier.stop()
        self._withdrawer.take_back_all()
        self._plan.reading.await_fonts(CLOSING)
        self._read_on()
        self._close_thumbnail_writer()
        self._outcome = Outcome.of(
            self._plan,
            self._scheduler,
            command,
            signal=self._signal,
            seconds=self._clock() - self._began,
        )
        self._journal_recorder.tell("run_ended", state=self._outcome.state, reason=command.reason)
        self._journal_recorder.close(CLOSING)
        self._request_poller.stop()
        for watch in self._watches:
            watch.stop()

    def _close_thumbnail_writer(self) -> None:
        self._thumbnail_writer.close(CLOSING)
        if lost := self._thumbnail_writer.lost:
            self._journal_recorder.tell(
                "thumbnails_lost", count=lost, reason=self._thumbnail_writer.reason
            )

    def _keep_last_pages(self) -> None:
        """Pages that were being proved when the run ended are kept if they are proved now."""
        self._verifier.drain(CLOSING)
        events: list[ev.Event] = []
        while not self._inbox.empty():
            if isinstance(item := self._inbox.get(), vf.Verified):
                events += self._on_verified(item)
        self._carry_out(self._scheduler.handle(*events, now=self._clock()))
