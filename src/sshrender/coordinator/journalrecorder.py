"""What is worth a line of the journal, and what of it the rest of this run has to remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.workers import verifier as vf
from sshrender.coordinator.workers.journalwriter import JournalWriterThread
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.records import Attempt, Page
from sshrender.core.states import FailureKind, PageState
from sshrender.job import journal
from sshrender.job.history import PageRecord
from sshrender.job.journal import JournalWriter
from sshrender.transports import messages as msg
from sshrender.views.protocol import View

MAX_FONT_NAMES = 200
"""Fonts whose absence is told of."""


class JournalRecorder:
    """Tells the journal and the views, and keeps ``plan.history`` up to date."""

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
            JournalWriter(plan.folder.journal), fence, lambda why: post(ev.StorageFailed(why))
        )

    def tell(self, kind: str, /, **fields: Any) -> None:
        """One entry."""
        entry = journal.entry(kind, time.time(), epoch=self._epoch, **fields)
        self._journal_writer.write(entry)
        self._view.entry(entry)

    def close(self, timeout: float) -> None:
        """Write what is left."""
        self._journal_writer.close(timeout)

    @property
    def rule(self) -> HostFingerprint | None:
        """What hosts have to draw, as earlier runs have drawn it; None while there is no page."""
        rule = self._history.rule
        if rule is None or not self._history.pages:
            return None
        return _look(rule)

    @property
    def votes(self) -> dict[str, HostFingerprint]:
        """The fingerprints of the hosts of earlier runs, where they count."""
        if self.rule is None:
            return {}
        looks = {host: _look(fields) for host, fields in self._history.hosts.items()}
        return {host: look for host, look in looks.items() if look != HostFingerprint()}

    def look_of(self, page: int) -> HostFingerprint | None:
        """The fingerprint of the host that rendered a page in an earlier run."""
        fields = self._history.looks.get(page)
        return None if fields is None else _look(fields)

    def greeted(self, setup: HostSetup, hello: msg.Hello, event: ev.HostConnected) -> None:
        """A host is there."""
        look = event.fingerprint
        self.tell(
            "host_greeted",
            host=event.host,
            cores=hello.cores,
            slots=setup.plan.slots or hello.slots,
            memory=hello.memory,
            python=hello.python,
            boot_id=hello.boot_id,
            others=hello.others,
            **(fields := _of(look)),
        )
        self._history.hosts[event.host] = fields

    def sent(self, command: do.RenderPage) -> None:
        """A page was sent."""
        why = {"because": command.because} if command.because else {}
        self.tell("page_sent", page=command.page, host=command.host, attempt=command.attempt, **why)

    def failed(self, attempt: Attempt, kind: FailureKind, reason: str) -> None:
        """An attempt came to nothing."""
        self.tell(
            "attempt_failed",
            page=attempt.page,
            host=attempt.host,
            attempt=attempt.name,
            kind=kind.value,
            reason=reason,
        )

    def delivered(
        self,
        result: vf.Verified,
        report: msg.Rendered,
        attempts: int,
        ghostscript: str,
        renderer: str,
    ) -> None:
        """A page is the user's."""
        task, picture = result.task, result.picture
        record = PageRecord(
            page=task.page,
            file=task.final.name,
            bytes=picture.bytes,
            sha256=picture.sha256,
            width=picture.width,
            height=picture.height,
            host=task.host,
            ghostscript=ghostscript,
            renderer=renderer,
            seconds=report.seconds,
            attempts=attempts,
            said=report.diagnostics + ((result.doubt,) if result.doubt else ()),
        )
        self._history.pages[task.page] = record
        self._history.withdrawn.pop(task.page, None)
        self.tell("page_delivered", attempt=task.attempt, cpu=report.cpu, **record.as_fields())

    def settled(self, page: Page, state: PageState) -> None:
        """A page has reached an end, or another one. That it is done was told with its delivery."""
        if state is PageState.FAILED:
            last = page.failures[-1]
            self.tell(
                "page_failed",
                page=page.number,
                kind=last.kind.value,
                reason=last.reason,
                attempts=page.attempts,
                hosts=[failure.host for failure in page.failures],
            )
        elif state is PageState.SUSPECT:
            record = self._history.pages[page.number]
            new = [line for line in page.diagnostics if line not in record.said]
            record.said = page.diagnostics
            if new:
                self.tell("page_suspected", page=page.number, said=new)

    def noted(self, host: str, said: tuple[str, ...]) -> None:
        """Ghostscript complains about the document as such; the first time counts."""
        if not self._history.notes:
            self._history.notes = list(said)
            self.tell("document_noted", host=host, said=list(said))

    def ruled(self, command: do.RecordReference) -> None:
        """What hosts have to draw."""
        self.tell("picture_ruled", agreed=command.hosts, **_of(command.fingerprint))

    def withdrawn(self, command: do.WithdrawPage) -> None:
        """A delivered page is no page any more."""
        self._history.withdraw(command.page)
        self.tell("page_withdrawn", **command._asdict())

    def fonts_missing(self, fonts: Mapping[str, str]) -> None:
        """The fonts that the document asks for and lacks, and on which pages."""
        told = dict(islice(fonts.items(), MAX_FONT_NAMES))
        if told and told != self._history.fonts:
            self._history.fonts = told
            self.tell("fonts_missing", fonts=told)


def _look(fields: Mapping[str, str]) -> HostFingerprint:
    return HostFingerprint(fields["ghostscript"], fields["canary"], fields["fonts"])


def _of(look: HostFingerprint) -> dict[str, str]:
    return {"ghostscript": look.ghostscript, "canary": look.canary, "fonts": look.fonts}
