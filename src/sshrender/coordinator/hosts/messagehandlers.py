"""Translates a host's messages into events of the scheduler and entries of the journal.

A host is not believed about its attempts. A message counts only in the state in which the scheduler's
record of the attempt expects it (states.AttemptState); any other is neither recorded nor stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.coordinator.attemptrecords import AttemptRecords
from sshrender.coordinator.hosts.handshake import check_host
from sshrender.coordinator.hosts.router import HostRouter
from sshrender.coordinator.hosts.textbudget import TextBudget
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.journalrecorder import JournalRecorder
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.coordinator.workers.thumbnailwriter import ThumbnailWriter
from sshrender.core import events as ev
from sshrender.core.pagetransitions import may_end_attempt
from sshrender.core.records import Attempt
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FINISHED, AttemptState, FailureKind
from sshrender.transports import messages as msg
from sshrender.views.text import duration

_KINDS: dict[str, FailureKind] = {
    kind.value: kind for kind in FailureKind if kind not in (FailureKind.HOST, FailureKind.BAD_OUTPUT)
}
"""Kinds of failure that a host may report; the others are determined on this side."""


class HostMessages:
    """Translates the messages of all hosts of a run."""

    def __init__(
        self,
        plan: JobPlan,
        setups: Mapping[str, HostSetup],
        scheduler: Scheduler,
        host_router: HostRouter,
        journal_recorder: JournalRecorder,
        thumbnail_writer: ThumbnailWriter,
        attempts: AttemptRecords,
    ) -> None:
        self._plan = plan
        self._setups = setups
        self._scheduler = scheduler
        self._host_router = host_router
        self._journal_recorder = journal_recorder
        self._thumbnail_writer = thumbnail_writer
        self._attempts = attempts
        self._texts = TextBudget()
        self._with_thumbnail: set[tuple[str, int]] = set()
        self._reopened: set[tuple[str, int, bool]] = set()

    def events_of(self, host: str, message: msg.Message, at: float) -> list[ev.Event]:
        """Return the events of a message. ``at``: the time of its arrival."""
        if isinstance(message, msg.Heartbeat):
            return [ev.LoadSampled(host, message.others, message.ours, message.available_slots, at)]
        return MESSAGE_HANDLERS[type(message)](self, host, message)

    def attempt_failed(self, event: ev.AttemptFailed) -> list[ev.Event]:
        """Record that an attempt failed, if that counts, and return the event."""
        known = self._known(event.host, event.attempt)
        if (
            known is not None
            and may_end_attempt(known, event)
            and not self._is_expected(known, event.kind)
        ):
            self._journal_recorder.failed(known, event.kind, event.reason)
        return [event]

    def _known(self, host: str, attempt: str) -> Attempt | None:
        """Return the attempt, if it has not ended and is this host's."""
        known = self._scheduler.attempts.get(attempt)
        return known if known is not None and known.host == host else None

    def _is_expected(self, attempt: Attempt, kind: FailureKind) -> bool:
        """Return whether this side ended the attempt, or its page is finished.

        Its end has been recorded then.
        """
        # KILLED was requested here; of a finished page every other attempt is dropped.
        return kind is FailureKind.KILLED or self._scheduler.page_queue[attempt.page].state in FINISHED

    def _on_hello(self, host: str, hello: msg.Hello) -> list[ev.Event]:
        event = check_host(host, hello, self._setups[host].san, self._plan.spec.settings.recipes)
        if isinstance(event, ev.HostConnected):
            # Only now: its hello names the folder.
            self._host_router.begin(host, hello.folder)
            self._journal_recorder.host_connected(self._setups[host], hello, event)
        return [event]

    def _on_rendered(self, host: str, report: msg.Rendered) -> list[ev.Event]:
        known = self._known(host, report.attempt)
        # A repeated report must not replace the record of the first.
        if known is None or known.state is AttemptState.VERIFYING:
            return []
        # Substituted fonts: find out in advance whether the document lacks fonts on other pages as well.
        if report.has_substituted_fonts:
            self._plan.reading.want_fonts(self._plan.pages)
        # The budget is spent only on reports that count: others could use it up.
        kept = report._replace(diagnostics=self._texts.lines(host, report.diagnostics))
        self._attempts.add(kept)
        return [ev.PageRendered(host, report.attempt, report.seconds, kept.diagnostics)]

    def _on_failed(self, host: str, failed: msg.Failed) -> list[ev.Event]:
        kind = _KINDS[failed.kind]
        if kind is FailureKind.STORAGE and self._host_router.needs_transfer(host):
            kind = FailureKind.HOST  # its own disk, not the shared folder
        if kind is FailureKind.TIMEOUT:
            allowed = duration(self._plan.request.limits.page_timeout)
            failed = failed._replace(reason=f"{failed.reason} of {allowed}")
        event = ev.AttemptFailed(host, failed.attempt, kind, failed.reason, is_reported=True)
        known = self._known(host, failed.attempt)
        if known is None or not may_end_attempt(known, event):
            return []
        return self.attempt_failed(event._replace(reason=self._texts.reason(host, failed.reason)))

    def _on_suspected(self, host: str, suspected: msg.Suspected) -> list[ev.Event]:
        """Store diagnostics of a page of this host that are new."""
        known = self._known(host, suspected.attempt)
        number = suspected.page if known is None else known.page
        # If two hosts have reported the page, either may be delivered, whichever came last.
        if known is None and not self._scheduler.is_rendered_by(number, host):
            return []
        before = self._scheduler.page_queue[number].diagnostics if known is None else known.diagnostics
        # dict.fromkeys: a host may repeat a line within one message.
        new = tuple(line for line in dict.fromkeys(suspected.diagnostics) if line not in before)
        said = self._texts.lines(host, new[: max(0, msg.MAX_TEXTS - len(before))])
        return [ev.PageSuspected(host, suspected.attempt, number, said)] if said else []

    def _on_reopening(self, host: str, message: msg.Reopening) -> list[ev.Event]:
        """Record that a slot opens the document again after a page of this host: once for each page."""
        key = host, message.page, message.is_over
        if key not in self._reopened and self._scheduler.is_rendered_by(message.page, host):
            self._reopened.add(key)
            self._journal_recorder.reopening(host, message.page, message.seconds, message.is_over)
        return []

    def _on_thumbnail(self, host: str, thumbnail: msg.ThumbnailRendered) -> list[ev.Event]:
        """Store one thumbnail for each page of the host: a repetition would only be written again."""
        key = host, thumbnail.page
        if key not in self._with_thumbnail and self._scheduler.is_rendered_by(thumbnail.page, host):
            self._with_thumbnail.add(key)
            self._thumbnail_writer.submit(self._plan.page_file(thumbnail.page), thumbnail.data)
        return []

    def _on_noted(self, host: str, noted: msg.Noted) -> list[ev.Event]:
        if noted.diagnostics and not self._plan.history.notes:
            self._journal_recorder.document_diagnosed(host, self._texts.lines(host, noted.diagnostics))
        return []

    def _on_trouble(self, host: str, trouble: msg.Trouble) -> list[ev.Event]:
        reason = self._texts.reason(host, trouble.reason)
        # If a limit let it render pages before, it may do so again when other processes of its user end.
        refusal = trouble.refusal
        has_rendered = self._scheduler.hosts[host].pages_done > 0
        if refusal is not None and refusal in msg.NEEDS_ADMINISTRATOR and not has_rendered:
            return [ev.HostRefused(host, refusal.value, reason, refusal.is_tried_again)]
        # Lost, not refused: the host is connected again after a pause.
        return [ev.HostLost(host, reason)]


MESSAGE_HANDLERS: Mapping[type, Callable[[HostMessages, str, Any], list[ev.Event]]] = {
    msg.Hello: HostMessages._on_hello,
    msg.Started: lambda _, host, message: [ev.PageStarted(host, message.attempt)],
    msg.Rendered: HostMessages._on_rendered,
    msg.Failed: HostMessages._on_failed,
    msg.Revoked: lambda _, host, message: [ev.AttemptRevoked(host, message.attempt)],
    msg.Kept: lambda _, host, message: [ev.AttemptKept(host, message.attempt)],
    msg.Suspected: HostMessages._on_suspected,
    msg.Reopening: HostMessages._on_reopening,
    msg.ThumbnailRendered: HostMessages._on_thumbnail,
    msg.Noted: HostMessages._on_noted,
    msg.Trouble: HostMessages._on_trouble,
    msg.Bye: lambda _, host, _message: [ev.HostFinished(host)],
    # Only hosts that count pages before the run are asked for it (pagecountprobe.py).
    msg.Inspected: lambda _, host, _message: [
        ev.HostDistrusted(host, "it counted pages without a request")
    ],
}
"""The handler of each message but heartbeats, which need the time of their arrival."""
