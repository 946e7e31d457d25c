"""``sshrender watch``: opens the dashboard of a job, or of all jobs, on whatever machine they run."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from sshrender.cli import completion, dashboard, jsonresult, options
from sshrender.errors import ExitCode, UserError
from sshrender.process import gctuning
from sshrender.views import safeprint

if TYPE_CHECKING:
    from pathlib import Path

    from sshrender.api.dashboardsource import JobSource
    from sshrender.api.joblistsource import JobListSource
    from sshrender.config.settings import Settings

POLL_INTERVAL = 0.5
"""Seconds between two reads of the journal if there is no terminal."""

LIST_INTERVAL = 2.0
"""Seconds between two reads of all jobs if there is no terminal."""


def watch(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="Name, unique prefix or folder of a job. [default: all jobs]",
            autocompletion=completion.jobs,
        ),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Open the dashboard of a job, or of all jobs and hosts. Leaving it does not stop a job.

    Without a terminal the command prints lines until no job runs: the events of the job, or the jobs
    that change. With --json it shows no dashboard; it prints the object when the job's run has ended.
    """
    from sshrender.api.dashboardsource import open_source
    from sshrender.api.joblistsource import whole_queue
    from sshrender.api.jobs import san_folder
    from sshrender.config.settings import resolve

    gctuning.begin()
    settings = resolve(options.typed(context), config).settings
    folder = san_folder(settings)
    # Ends the command.
    if json_:
        _wait_for_object(folder, job, settings, verbose)
    # Asked before the job is opened, so that the remark comes first.
    why_not = dashboard.why_no_dashboard()
    if why_not:
        safeprint.note(f"no dashboard: {why_not}")
    if job is None:
        _watch_all(whole_queue(folder, settings.hosts), why_not)
        return
    source = open_source(folder, job, settings.hosts, settings.ssh_config)
    if why_not:
        _follow(source, folder, verbose)
        return
    failed = dashboard.show(_Viewer(source, None), source.facts.name)
    if failed:
        safeprint.note(f"{failed}; plain lines follow, and Ctrl-C ends them")
        # A new source, because the old one has given its entries away.
        # The journal from its start: how much of it the dashboard has shown is unknown.
        _follow(open_source(folder, job, settings.hosts, settings.ssh_config), folder, verbose)


def _wait_for_object(folder: Path, job: str | None, settings: Settings, verbose: int) -> NoReturn:
    """Print the events on stderr until the job's run has ended, then the object."""
    from sshrender.api.dashboardsource import open_source
    from sshrender.api.statusreports import job_report

    if job is None:
        what = "--json prints the object of one job when its run has ended; JOB is missing"
        raise UserError(ExitCode.USAGE, what, "sshrender status --json")
    source = open_source(folder, job, settings.hosts, settings.ssh_config)
    _follow(source, folder, verbose, sys.stderr)
    raise typer.Exit(jsonresult.put(job_report(folder, job).report.as_json()))


def _watch_all(table: JobListSource, why_not: str) -> None:
    if not why_not:
        failed = dashboard.show(_Viewer(None, table), table.title)
        if not failed:
            return
        safeprint.note(f"{failed}; plain lines follow, and Ctrl-C ends them")
    _follow_all(table)


class _Viewer:
    """See views.dashboard.source.Owner."""

    def __init__(self, source: JobSource | None, table: JobListSource | None) -> None:
        self._source = source
        self._table = table

    def job(self) -> JobSource | None:
        """Return the job that the user named, always the same."""
        return self._source

    def jobs(self) -> JobListSource | None:
        """Return the list of all jobs, if the user named none."""
        return self._table

    def doing(self) -> str:
        """Return no text: an existing job is opened at once."""
        return ""

    def pause(self) -> None:
        """Return None: only the journal tells of a pause."""

    def is_over(self) -> bool:
        """Return False: the user leaves the dashboard, also of a job that has ended."""
        return False

    def interrupt(self) -> str:
        """Return no text: Ctrl-C leaves the dashboard, as q does, and does not stop the job."""
        return ""


def _follow(source: JobSource, san: Path, verbose: int, stream: TextIO | None = None) -> None:
    """Print the journal as plain lines until the job ends; if it is not running, print it once."""
    from sshrender.api.jobs import on_san
    from sshrender.job.journal.journalentries import PageSent
    from sshrender.views.pagehistory import lines, tell

    has_ended = False
    while not has_ended:
        # The holder is looked at before the entries are read: entries of its last moment are not missed.
        holder = on_san(san, source.coordinator)
        entries = on_san(san, source.entries)
        # A page that was sent says little to a reader; -v shows it.
        shown = [entry for entry in entries if verbose or not isinstance(entry, PageSent)]
        for line in lines([entry for entry in shown if tell(entry)]):
            safeprint.line(line, stream, flush=True)
        has_ended = not holder
        if not has_ended:
            time.sleep(POLL_INTERVAL)


def _follow_all(table: JobListSource) -> None:
    """Print each job when it has changed, until none runs; if none is running, print all of them once.

    A job that only waits in the queue is not waited for: perhaps no coordinator ever takes it.
    """
    from sshrender.views.joblines import changed

    before = None
    # The first listing is printed whole, as there is nothing to compare with.
    while True:
        listed = table.read()
        for line in changed(before, listed, time.time()):
            safeprint.line(line, flush=True)
        if not any(job.is_coordinated for job in listed.jobs):
            return
        before = listed
        time.sleep(LIST_INTERVAL)
