"""What each message of a host means for the run: the scheduler's events, and what is recorded.

Nothing here believes a host about its attempts: a message counts in the state in which our own record of
the attempt expects it (states.AttemptState). What does not count is neither recorded nor stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.coordinator.hosts.handshake import judge
from sshrender.coordinator.hosts.router import HostRouter
from sshrender.coordinator.hosts.textbudget import TextBudget
from sshrender.coordinator.journalrecorder import JournalRecorder
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.workers.thumbnailwriter import ThumbnailWriter
from sshrender.core import events as ev
from sshrender.core.pagetransitions import counts
from sshrender.core.records import Attempt
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import SETTLED, AttemptState, FailureKind
from sshrender.transports import messages as msg

_KINDS: dict[str, FailureKind] = {
    kind.value: kind for kind in FailureKind if kind not in (FailureKind.HOST, FailureKind.BAD_OUTPUT)
}
"""Kinds of failure that a host may report; the others are found out here."""


class HostMessages:
    """Answers the events of a message. ``reports``: of the attempts that are being verified."""

    def __init__(
        self,
        plan: JobPlan,
        setups: Mapping[str, HostSetup],
        scheduler: Scheduler,
        host_router: HostRouter,
        journal_recorder: JournalRecorder,
        thumbnail_writer: ThumbnailWriter,
    ) -> None:
        self.reports: dict[str, msg.Rendered] = {}
        self._plan = plan
        self._setups = setups
        self._scheduler = scheduler
        self._host_router = host_router
        self._journal_recorder = journal_recorder
        self._thumbnail_writer = thumbnail_writer
        self._texts = TextBudget()
        self._pictured: set[tuple[str, int]] = set()
        self._handlers: dict[type, Callable[[str, Any], list[ev.Event]]] = {
            msg.Hello: self._greet,
            msg.Started: lambda host, m: [ev.PageStarted(host, m.attempt)],
            msg.Rendered: self._report,
            msg.Failed: self._fail,
            msg.Revoked: lambda host, m: [ev.AttemptRevoked(host, m.attempt)],
            msg.Kept: lambda host, m: [ev.AttemptKept(host, m.attempt)],
            msg.Suspected: self._suspect,
            msg.ThumbnailRendered: self._keep_thumbnail,
            msg.Noted: self._note,
            msg.Trouble: lambda host, m: [ev.HostLost(host, self._texts.reason(host, m.reason))],
            msg.Bye: lambda host, _m: [ev.HostFinished(host)],
            msg.Inspected: lambda host, _m: [
                ev.HostDistrusted(host, "counts pages, which it was not asked for")
            ],
        }

    def events_of(self, host: str, message: msg.Message, at: float) -> list[ev.Event]:
        """What has happened. ``at``: when the message came."""
        if isinstance(message, msg.Beat):
            return [ev.LoadSampled(host, message.others, message.ours, message.seats, at)]
        return self._handlers[type(message)](host, message)

    def attempt_failed(self, event: ev.AttemptFailed) -> list[ev.Event]:
        """An attempt came to nothing: recorded where that counts."""
        known = self._known(event.host, event.attempt)
        if known is not None and counts(known, event) and not self._is_called_off(known, event.kind):
            self._journal_recorder.failed(known, event.kind, event.reason)
        return [event]

    def forget(self, attempt: str) -> None:
        """The attempt has ended."""
        self.reports.pop(attempt, None)

    def _known(self, host: str, attempt: str) -> Attempt | None:
        known = self._scheduler.attempts.get(attempt)
        return known if known is not None and known.host == host else None

    def _is_called_off(self, attempt: Attempt, kind: FailureKind) -> bool:
        """Whether it failed by our own wish, or its page is there: that is recorded with its end."""
        return kind is FailureKind.KILLED or self._scheduler.book[attempt.page].state in SETTLED

    def _greet(self, host: str, hello: msg.Hello) -> list[ev.Event]:
        event = judge(host, hello, self._setups[host].san, self._plan.spec.settings.recipes)
        if isinstance(event, ev.HostGreeted):
            self._host_router.begin(host, hello.folder)
            self._journal_recorder.greeted(self._setups[host], hello, event)
        return [event]

    def _report(self, host: str, report: msg.Rendered) -> list[ev.Event]:
        known = self._known(host, report.attempt)
        if known is None or known.state is AttemptState.VERIFYING:
            return []
        if report.has_stand_ins:
            self._plan.reading.want_fonts()
        kept = report._replace(said=self._texts.lines(host, report.said))
        self.reports[report.attempt] = kept
        return [ev.PageRendered(host, report.attempt, report.seconds, kept.said)]

    def _fail(self, host: str, failed: msg.Failed) -> list[ev.Event]:
        kind = _KINDS[failed.kind]
        if kind is FailureKind.STORAGE and self._host_router.is_ferried(host):
            kind = FailureKind.HOST  # its own disk, not the shared folder
        event = ev.AttemptFailed(host, failed.attempt, kind, failed.reason, is_reported=True)
        known = self._known(host, failed.attempt)
        if known is None or not counts(known, event):
            return []
        return self.attempt_failed(event._replace(reason=self._texts.reason(host, failed.reason)))

    def _suspect(self, host: str, suspected: msg.Suspected) -> list[ev.Event]:
        """Only lines that are new of a page of this host are stored."""
        known = self._known(host, suspected.attempt)
        number = suspected.page if known is None else known.page
        if not self._scheduler.is_rendered_by(number, host):
            return []
        before = self._scheduler.book[number].said if known is None else known.said
        new = tuple(line for line in dict.fromkeys(suspected.said) if line not in before)
        said = self._texts.lines(host, new[: max(0, msg.MAX_TEXTS - len(before))])
        return [ev.PageSuspected(host, suspected.attempt, number, said)] if said else []

    def _keep_thumbnail(self, host: str, pictured: msg.ThumbnailRendered) -> list[ev.Event]:
        """One for each page of the host: what comes again would only be written again."""
        key = host, pictured.page
        if key not in self._pictured and self._scheduler.is_rendered_by(pictured.page, host):
            self._pictured.add(key)
            self._thumbnail_writer.hang(self._plan.page_file(pictured.page), pictured.data)
        return []

    def _note(self, host: str, noted: msg.Noted) -> list[ev.Event]:
        if noted.said and not self._plan.history.notes:
            self._journal_recorder.noted(host, self._texts.lines(host, noted.said))
        return []
