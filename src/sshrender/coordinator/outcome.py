"""The outcome of a run: the summary that ``--json`` prints, and the exit code."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.coordinator.workers.verificationresults import OutputGone
from sshrender.core import commands as do
from sshrender.core import snapshot
from sshrender.core.records import Host, Page
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FailureKind, HostState, JobEnd, PageState
from sshrender.errors import ExitCode
from sshrender.job.journal.storagepause import Pause
from sshrender.transports.interface import Refusal

_REFUSED_BY = {
    Refusal.AUTHENTICATION.value: ExitCode.AUTHENTICATION,
    Refusal.HOST_KEY.value: ExitCode.AUTHENTICATION,
    Refusal.NO_PYTHON.value: ExitCode.RENDERER,
    Refusal.NO_GHOSTSCRIPT.value: ExitCode.RENDERER,
    Refusal.NO_SANDBOX.value: ExitCode.RENDERER,
    Refusal.SAN.value: ExitCode.STORAGE,
    Refusal.FILES.value: ExitCode.STORAGE,
}
"""The exit code when all hosts were refused for the same kind of reason."""

# Compared with the reason, as a StopRequested has nothing else.
_GONE = {LeaseGone.REASON: ExitCode.LEASE, OutputGone.REASON: ExitCode.STORAGE}
"""The exit code if the run lost something that it needs; otherwise that of the document."""

_FINAL = frozenset({JobEnd.COMPLETE, JobEnd.CANCELLED, JobEnd.DEADLINE})
"""Ends after which the queue does not start the job again."""


@dataclass(frozen=True, slots=True)
class FailedPage:
    """A failed page: its last failure, and the hosts that failed on it."""

    page: int
    kind: str
    reason: str
    attempts: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostSummary:
    """The state and the work of a host at the end."""

    name: str
    state: str
    reason: str
    pages: int
    failures: int
    hedged: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run. ``code`` is an ExitCode or 128 + signal."""

    job: str
    state: str
    code: int
    reason: str
    job_dir: str
    output: str
    pages: dict[str, int]
    suspect_pages: dict[int, tuple[str, ...]]
    failed_pages: tuple[FailedPage, ...]
    notes: tuple[str, ...]
    fonts: dict[str, str]
    seconds: float
    hosts: tuple[HostSummary, ...]
    paused: Pause | None
    """The pause in which it ended, if the storage failed then."""
    is_over: bool
    """Whether the queue does not start the job again, unless a user requests it."""

    @classmethod
    def of(
        cls,
        plan: JobPlan,
        scheduler: Scheduler,
        command: do.EndJob,
        signal: int | None,
        seconds: float,
    ) -> Outcome:
        """Return the outcome of a scheduler that has ended."""
        shot = snapshot.take(scheduler)
        pages = scheduler.page_queue.pages.values()
        suspect = {p.number: p.diagnostics for p in pages if p.state is PageState.SUSPECT}
        failed = [_failed(p) for p in pages if p.state is PageState.FAILED]
        if plan.request.strict:
            failed += [_too_suspect(p) for p in pages if p.state is PageState.SUSPECT]
            # With --strict a suspect page is counted as failed everywhere, also by the exit code.
            shot = replace(shot, suspect=0, failed=len(failed))
        return cls(
            job=plan.spec.name,
            state=_state(shot, command.end),
            code=_code(scheduler, shot, command, signal),
            reason=_reason(shot, command),
            job_dir=str(plan.folder.path),
            output=str(plan.output),
            pages={
                "total": shot.total,
                "done": shot.done,
                "suspect": shot.suspect,
                "failed": shot.failed,
                "missing": shot.missing,
            },
            suspect_pages=suspect,
            failed_pages=tuple(sorted(failed, key=lambda page: page.page)),
            notes=tuple(plan.history.notes),
            fonts=plan.history.fonts,
            seconds=seconds,
            hosts=tuple(_host(host) for host in scheduler.hosts.values()),
            paused=Pause.of_run(shot, time.time()),
            is_over=command.end in _FINAL,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "schema": 1,
            "job": self.job,
            "state": self.state,
            "job_dir": self.job_dir,
            "output": self.output,
            "pages": self.pages,
            "failed_pages": [asdict(page) for page in self.failed_pages],
            "suspect_pages": [
                {"page": page, "said": list(said)} for page, said in self.suspect_pages.items()
            ],
            "notes": list(self.notes),
            "fonts_missing": [{"font": font, "pages": pages} for font, pages in self.fonts.items()],
            "seconds": round(self.seconds, 3),
            "hosts": [asdict(host) for host in self.hosts],
            "exit_code": self.code,
            "reason": self.reason,
            "paused": None if self.paused is None else self.paused.as_json(),
        }


def _reason(shot: snapshot.Snapshot, command: do.EndJob) -> str:
    """Return why the run ended; a pause explains why it had delivered no more until then."""
    if not (shot.paused and command.reason) or command.end is JobEnd.STORAGE:
        return command.reason
    return f"{command.reason}, while the run was paused: {shot.paused}"


def _state(shot: snapshot.Snapshot, end: JobEnd) -> str:
    if end is JobEnd.COMPLETE:
        # No page was delivered; otherwise failed pages make it partial.
        if shot.failed == shot.total:
            return "failed"
        return "partial" if shot.failed else "done"
    if end is JobEnd.CANCELLED:
        return "cancelled"
    if end is JobEnd.HELD:
        return "partial"
    # Failed pages count as finished, too: so this asks for at least one delivered page.
    return "partial" if shot.settled > shot.failed else "failed"


def _code(
    scheduler: Scheduler,
    shot: snapshot.Snapshot,
    command: do.EndJob,
    signal: int | None,
) -> int:
    match command.end:
        case JobEnd.COMPLETE:
            return _complete_code(scheduler, shot)
        case JobEnd.NO_HOST:
            return _no_host_code(list(scheduler.hosts.values()))
        case JobEnd.STORAGE:
            return ExitCode.STORAGE
        case JobEnd.CANCELLED:
            return ExitCode.PARTIAL
        case JobEnd.DEADLINE:
            return ExitCode.DEADLINE
        case JobEnd.HELD:
            return ExitCode.LEASE  # the same as for a job that is held before its run (jobrun.py)
        case JobEnd.STOPPED:
            if signal is not None:
                return 128 + signal
            return _GONE.get(command.reason, ExitCode.DOCUMENT)


def _complete_code(scheduler: Scheduler, shot: snapshot.Snapshot) -> ExitCode:
    """Return the exit code of a run that has finished every page."""
    if not shot.failed:
        return ExitCode.OK
    # All pages, delivered ones too: these have no failures, so any of them makes the result False.
    failures = [page.failures for page in scheduler.page_queue.pages.values()]
    # If the storage takes none of the pages, it is at fault, not the pages.
    if all(each and each[-1].kind is FailureKind.UNWRITABLE for each in failures):
        return ExitCode.STORAGE
    return ExitCode.PARTIAL


def _no_host_code(hosts: list[Host]) -> ExitCode:
    return no_host_code(host.refusal if host.state is HostState.REFUSED else "" for host in hosts)


def no_host_code(refusals: Iterable[str]) -> ExitCode:
    """Return the exit code of the reason (a Refusal's value) that all hosts share; else NO_HOST."""
    # One code for all hosts, or the general one: two hosts refused for different reasons have no
    # common cause.
    codes = {_REFUSED_BY.get(refusal, ExitCode.NO_HOST) for refusal in refusals}
    return codes.pop() if len(codes) == 1 else ExitCode.NO_HOST


def _failed(page: Page) -> FailedPage:
    last = page.failures[-1]
    hosts = tuple(dict.fromkeys(failure.host for failure in page.failures if failure.host))
    return FailedPage(page.number, last.kind.value, last.reason, page.attempts, hosts)


def _too_suspect(page: Page) -> FailedPage:
    """Return a suspect page as a failed one, as ``--strict`` counts it."""
    return FailedPage(page.number, "suspect", page.diagnostics[-1], page.attempts, (page.host,))


def _host(host: Host) -> HostSummary:
    return HostSummary(
        host.name, host.state.value, host.reason, host.pages_done, host.failures, host.hedged
    )
