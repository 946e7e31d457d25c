"""``sshrender watch``: opens the dashboard of a job, on whatever machine it runs or ran."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

import typer

from sshrender import gctuning
from sshrender.cli import dashboard, jsonresult, options
from sshrender.views import output

if TYPE_CHECKING:
    from pathlib import Path

    from sshrender.api.dashboardsource import JobSource

POLL_INTERVAL = 0.5
"""Seconds between two reads of the journal if there is no terminal."""


def watch(
    context: typer.Context,
    job: options.Job,
    hosts: options.Hosts = None,
    san: options.San = None,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Open the dashboard of a job. Leaving it does not stop the job.

    With --json there is no dashboard: the object is printed when the job's run has ended.
    """
    from sshrender.api.dashboardsource import open_source
    from sshrender.api.jobreports import job_report
    from sshrender.api.jobs import san_folder
    from sshrender.config.settings import resolve

    gctuning.begin()
    settings = resolve(options.typed(context), config).settings
    folder = san_folder(settings)
    source = open_source(folder, job, settings.hosts, settings.ssh_config)
    if json_:
        _follow(source, folder, verbose, sys.stderr)
        raise typer.Exit(jsonresult.put(job_report(folder, job).report.as_json()))
    why_not = dashboard.why_no_dashboard()
    if why_not:
        output.note(f"no dashboard: {why_not}")
        _follow(source, folder, verbose)
        return
    failed = dashboard.show(_Viewer(source), source.facts.name)
    if failed:
        output.note(f"{failed}; plain lines follow, and Ctrl-C ends them")
        # The journal from its start: how much of it the dashboard has shown is unknown.
        _follow(open_source(folder, job, settings.hosts, settings.ssh_config), folder, verbose)


class _Viewer:
    """See views.dashboard.source.Owner."""

    def __init__(self, source: JobSource) -> None:
        self._source = source

    def job(self) -> JobSource:
        """Return the job that is shown, always the same."""
        return self._source

    def is_over(self) -> bool:
        """Return False: the user leaves the dashboard, also of a job that has ended."""
        return False

    def interrupt(self) -> str:
        """Return no text: Ctrl-C leaves the dashboard, as q does, and does not stop the job."""
        return ""


def _follow(source: JobSource, san: Path, verbose: int, stream: TextIO | None = None) -> None:
    """Print the journal as plain lines until the job ends; if it is not running, print it once."""
    from sshrender.api.jobs import on_san
    from sshrender.job.journalentries import PageSent
    from sshrender.views.pagehistory import lines, tell

    has_ended = False
    while not has_ended:
        holder = on_san(san, source.coordinator)
        entries = on_san(san, source.entries)
        shown = [entry for entry in entries if verbose or not isinstance(entry, PageSent)]
        for line in lines([entry for entry in shown if tell(entry)]):
            output.line(line, stream, flush=True)
        has_ended = not holder
        if not has_ended:
            time.sleep(POLL_INTERVAL)
