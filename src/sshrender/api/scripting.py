"""The functions for scripts: one call each, with settings as a mapping, nothing printed.

``settings`` has the names of the options (``page_timeout`` for ``--page-timeout``) and their values, as
text or as Python values. Variables and configuration files count as they do for the commands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sshrender.api import dependencies, hosts, statusreports, submission, usagetotals
from sshrender.api.dryrun import DryRunReport, plan_render
from sshrender.api.jobs import san_folder
from sshrender.api.queue import QueueResult, QueueRun
from sshrender.api.results import RenderResult
from sshrender.api.resumption import find_unfinished, resumption_of
from sshrender.api.runcontext import RunContext
from sshrender.api.runevents import DeliveredPage, EntryView, Listener, SilentListener
from sshrender.api.statusreports import JobOnDisk
from sshrender.config.settings import Settings, resolve
from sshrender.job.journal.journalentries import JournalEntry, PageDelivered
from sshrender.job.status.jobstatus import JobReport
from sshrender.views.interface import View

Options = Mapping[str, Any]
OnPage = Callable[[DeliveredPage], None]


class DeliveryListener(SilentListener):
    """Calls ``on_page`` for each page of one document, as soon as it has been delivered."""

    def __init__(self, on_page: OnPage) -> None:
        self._on_page = on_page
        self.output = Path()
        """The folder of the pages; known once the run has started."""

    @contextlib.contextmanager
    def showing(self, job: str) -> Iterator[View]:  # noqa: ARG002 - the protocol names it
        """See Listener."""
        yield EntryView(self._take)

    def _take(self, entry: JournalEntry) -> None:
        if isinstance(entry, PageDelivered):
            self._on_page(_delivered(entry, self.output))


def _delivered(entry: PageDelivered, output: Path) -> DeliveredPage:
    return DeliveredPage(
        number=entry.page,
        file=output / entry.file,
        host=entry.host,
        bytes=entry.bytes,
        seconds=entry.seconds,
        is_suspect=bool(entry.diagnostics),
    )


def render(
    document: Path, settings: Options | None = None, *, on_page: OnPage | None = None
) -> RenderResult:
    """Render a document and wait until all pages are delivered. Raises UserError for wrong settings.

    Later errors are in the result. ``on_page`` is called for each page that this run delivers, and must
    be short: the run waits for it.
    """
    listener: Listener = SilentListener()
    if on_page is not None:
        listener = DeliveryListener(on_page)
    context = _context(settings, listener)
    context.require_key()
    # The same request that render() makes: it names the folder of the pages, before the run begins.
    if isinstance(listener, DeliveryListener):
        listener.output = context.request(document, is_only=True).output
    return context.render(document, is_only=True)


def plan(document: Path, settings: Options | None = None) -> DryRunReport:
    """Return what a render would do; write nothing. Raises UserError."""
    return plan_render(_context(settings), document, is_only=True)


def resume(job: str, settings: Options | None = None) -> RenderResult:
    """Continue an unfinished job, and wait until it ends. Raises UserError if there is none."""
    typed = dict(settings or {})
    found = find_unfinished(typed, None, job)
    # The job's own folder: the settings may name another one.
    typed.setdefault("san", found.folder.path.parent)
    context = RunContext.start(typed, None, _silent, job=found.attributes.wishes)
    return context.resume(resumption_of(context, found))


def submit(
    document: Path,
    settings: Options | None = None,
    *,
    after: Iterable[str] = (),
    not_before: str = "",
    is_held: bool = False,
) -> submission.Submitted:
    """Put a document into the queue. Raises UserError.

    ``after``: jobs that must have ended first. ``not_before``: a time, as in ``22:30`` or ``2h``.
    """
    context = _context(settings)
    conditions = {
        "not_before": dependencies.start_time(not_before),
        "after": dependencies.job_names_of(context.san, after),
    }
    return submission.submit(context, document, conditions, is_held=is_held)


def run_queue(settings: Options | None = None) -> QueueResult:
    """Render all queued jobs, and return when none is waiting any more. Raises UserError."""
    run = QueueRun(_resolved(settings), None, lambda _line: None, is_once=True, wants_summaries=True)
    return run.run()


def list_jobs(settings: Options | None = None) -> list[JobReport]:
    """Return the reports of all jobs that can be read. Raises UserError."""
    return statusreports.job_reports(shared_folder(settings), {})


def status(job: str, settings: Options | None = None) -> JobOnDisk:
    """Return one job's folder, report and journal. Raises UserError."""
    return statusreports.job_report(shared_folder(settings), job)


def check_hosts(settings: Options | None = None) -> hosts.HostChecks:
    """Check every host of the inventory. Raises UserError if the shared folder fails."""
    return hosts.check_hosts(_context(settings))


def usage(by: Iterable[str] = ("month", "user"), settings: Options | None = None) -> usagetotals.Usage:
    """Return what was used, summed up by any of job, user, host and month. Raises UserError."""
    return usagetotals.usage(shared_folder(settings), list(by))


def shared_folder(settings: Options | None = None) -> Path:
    """Return the folder of all jobs, which the functions that change jobs need. Raises UserError."""
    return san_folder(_resolved(settings))


def _resolved(settings: Options | None) -> Settings:
    return resolve(dict(settings or {}), None).settings


def _context(settings: Options | None, listener: Listener | None = None) -> RunContext:
    return RunContext.start(settings or {}, None, lambda _found: listener or SilentListener())


def _silent(_settings: object) -> Listener:
    return SilentListener()
