"""Record the events of a run as journal entries, and keep the job's history current."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice

from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.coordinator.workers import verificationresults as vf
from sshrender.coordinator.workers.journalwriter import JournalWriterThread
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.records import Attempt, Page
from sshrender.core.states import FailureKind, PageState
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.history import PageRecord
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalformat import stamped
from sshrender.transports import messages as msg
from sshrender.views.interface import View

MAX_FONT_NAMES = 200
"""Missing fonts that are recorded: a document can name as many as it likes."""


class JournalRecorder:
    """Gives entries to the journal and to the view. ``plan.history`` is a replay of them, as on resume.

    ``fence`` raises LeaseLost if the journal belongs to another coordinator by now.
    """

    def __init__(
        self,
        plan: JobPlan,
        view: View,
        fence: Callable[[], None],
        post: Callable[[ev.StorageFailed], None],
        epoch: int = 0,
    ) -> None:
        self._epoch = epoch
        self._history = plan.history
        self._view = view
        self._journal_writer = JournalWriterThread(
            JournalWriter(plan.folder.journal, has_reserve=True),
            fence,
            lambda why, is_final: post(ev.StorageFailed(why, is_final)),
        )

    def record(self, entry: je.JournalEntry) -> None:
        """Record an entry of this moment."""
        entry = stamped(entry, time.time(), self._epoch)
        self._history.take(entry)
        self._journal_writer.write(entry)
        self._view.entry(entry)

    def record_durably(self, entry: je.JournalEntry, written: threading.Event) -> None:
        """Record an entry, and set ``written`` when a crash cannot lose it."""
        self.record(entry)
        self._journal_writer.notify(written)

    def close(self, timeout: float) -> None:
        """Write what is queued."""
        self._journal_writer.close(timeout)

    @property
    def reference(self) -> HostFingerprint | None:
        """The fingerprint that earlier runs required of hosts; None while there is no page."""
        reference = self._history.reference
        if reference is None or not self._history.pages:
            return None
        return _fingerprint(reference)

    @property
    def votes(self) -> dict[str, HostFingerprint]:
        """Return the fingerprints of hosts of earlier runs that count as votes for the reference."""
        if self.reference is None:
            return {}
        found = {host: _fingerprint(fields) for host, fields in self._history.hosts.items()}
        # A host without a fingerprint differs from nothing (core/fingerprint.py): it has no vote.
        return {host: each for host, each in found.items() if each != HostFingerprint()}

    def fingerprint_of(self, page: int) -> HostFingerprint | None:
        """Return the fingerprint of the host that rendered a page in an earlier run."""
        fields = self._history.fingerprints.get(page)
        return None if fields is None else _fingerprint(fields)

    def host_connected(self, setup: HostSetup, hello: msg.Hello, event: ev.HostConnected) -> None:
        """Record that a host completed the handshake."""
        fingerprint = event.fingerprint
        self.record(
            je.HostConnected(
                host=event.host,
                cores=hello.cores,
                slots=setup.plan.slots or hello.slots,
                memory=hello.memory,
                python=hello.python,
                boot_id=hello.boot_id,
                node=setup.node,
                load=hello.others,
                ghostscript=fingerprint.ghostscript,
                canary=fingerprint.canary,
                fonts=fingerprint.fonts,
            )
        )

    def host_state(self, command: do.ReportHost) -> None:
        """Record the new state of a host."""
        self.record(je.HostStateChanged(host=command.host, state=command.state, reason=command.reason))

    def sent(self, command: do.RenderPage) -> None:
        """Record that a page was sent."""
        self.record(
            je.PageSent(
                page=command.page, host=command.host, attempt=command.attempt, because=command.because
            )
        )

    def returned(self, command: do.ReturnPage) -> None:
        """Record that a page waits again."""
        self.record(
            je.PageReturned(
                page=command.page, host=command.host, attempt=command.attempt, reason=command.reason
            )
        )

    def dropped(self, command: do.DropAttempt) -> None:
        """Record an attempt that the page does not need any more."""
        self.record(
            je.AttemptDropped(
                page=command.page,
                host=command.host,
                attempt=command.attempt,
                reason=command.reason,
                is_hedged=command.is_hedged,
            )
        )

    def failed(self, attempt: Attempt, kind: FailureKind, reason: str) -> None:
        """Record an attempt that failed."""
        self.record(
            je.AttemptFailed(
                page=attempt.page,
                host=attempt.host,
                attempt=attempt.name,
                kind=kind.value,
                reason=reason,
            )
        )

    def delivered(
        self,
        result: vf.Verified,
        report: msg.Rendered,
        attempts: int,
        ghostscript: str,
        renderer: tuple[str, str],
    ) -> None:
        """Record a page that was delivered. ``renderer``: its name, and its version if known."""
        task, image = result.task, result.image
        record = PageRecord(
            page=task.page,
            file=task.final.name,
            bytes=image.bytes,
            sha256=image.sha256,
            width=image.width,
            height=image.height,
            host=task.host,
            ghostscript=ghostscript,
            renderer=renderer[0],
            renderer_version=renderer[1],
            seconds=report.seconds,
            attempts=attempts,
            diagnostics=report.diagnostics + ((result.doubt,) if result.doubt else ()),
        )
        self.record(record.as_entry(task.attempt, report.cpu))

    def page_finished(self, page: Page, state: PageState) -> None:
        """Record that a page has failed or become suspect; its delivery is an entry already."""
        if state is PageState.FAILED:
            last = page.failures[-1]
            self.record(
                je.PageFailed(
                    page=page.number,
                    kind=last.kind.value,
                    reason=last.reason,
                    attempts=page.attempts,
                    hosts=tuple(failure.host for failure in page.failures if failure.host),
                )
            )
        elif state is PageState.SUSPECT:
            # Diagnostics of the delivery are in its own entry already.
            known = self._history.pages[page.number].diagnostics
            new = tuple(line for line in page.diagnostics if line not in known)
            if new:
                self.record(je.PageSuspected(page=page.number, diagnostics=new))

    def fell_back(self, command: do.FallBack, recipe: str) -> None:
        """Record that another renderer renders a page from now on."""
        self.record(je.PageFellBack(page=command.page, to=recipe, reason=command.reason))

    def reopening(self, host: str, page: int, seconds: float, is_over: bool) -> None:
        """Record that a slot opens the document again after a page, or has done so."""
        self.record(je.DocumentReopening(host=host, page=page, seconds=seconds, is_over=is_over))

    def document_diagnosed(self, host: str, diagnostics: tuple[str, ...]) -> None:
        """Record Ghostscript's reports about the document as a whole, the first time only."""
        # Each host reports the same of one document.
        if not self._history.notes:
            self.record(je.DocumentDiagnosed(host=host, diagnostics=diagnostics))

    def reference_chosen(self, command: do.RecordReference) -> None:
        """Record the fingerprint that hosts have to have."""
        fingerprint = command.fingerprint
        self.record(
            je.ReferenceChosen(
                agreed=command.hosts,
                ghostscript=fingerprint.ghostscript,
                canary=fingerprint.canary,
                fonts=fingerprint.fonts,
            )
        )

    def withdrawn(self, command: do.WithdrawPage) -> None:
        """Record that a delivered page is removed and rendered again."""
        self.record(je.PageWithdrawn(page=command.page, host=command.host, reason=command.reason))

    def fonts_missing(self, fonts: Mapping[str, str]) -> None:
        """Record the fonts that the document uses and lacks, with their pages."""
        listed = dict(islice(fonts.items(), MAX_FONT_NAMES))
        if listed and listed != self._history.fonts:
            self.record(je.FontsMissing(fonts=listed))


def _fingerprint(fields: Mapping[str, str]) -> HostFingerprint:
    return HostFingerprint(fields["ghostscript"], fields["canary"], fields["fonts"])
