"""``sshrender watch``: the dashboard, attached to a job that runs anywhere, or ran once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sshrender import gctuning
from sshrender.cli import errorlog, options
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.cli.dashboardsource import JobSource
    from sshrender.config.inventory import HostTable
    from sshrender.views.dashboard.app import Dashboard
    from sshrender.views.dashboard.source import Owner

LOOK = 0.5
"""Seconds between two looks at the journal where there is no terminal."""


def watch(
    context: typer.Context,
    job: options.Job,
    hosts: options.Hosts = None,
    san: options.San = None,
    verbose: options.Verbose = 0,
    config: options.Config = None,
) -> None:
    """Watch a job that runs anywhere, and ask things of it. Leaving it does nothing to the job."""
    from sshrender.cli.dashboardsource import JobSource
    from sshrender.cli.jobstore import find_job, on_san, san_folder
    from sshrender.config.settings import resolve

    gctuning.begin()
    settings = resolve(options.typed(context), config).settings
    folder = san_folder(settings)
    source = on_san(folder, lambda: JobSource(*find_job(folder, job), inventory_hosts(settings.hosts)))
    why_not = why_no_dashboard()
    if why_not:
        output.note(f"no dashboard: {why_not}")
        _follow(source, folder, verbose)
        return
    failed = show(_Watcher(source), source.facts.name)
    if failed:
        output.note(f"{failed}; plain lines follow, and Ctrl-C ends them")
        _follow(_again(folder, job, settings.hosts), folder, verbose)


def show(owner: Owner, title: str) -> str:
    """Run a dashboard to its end; what went wrong with it, in words, empty where nothing did.

    A job is not touched by what goes wrong with its dashboard, so nothing is raised. What the dashboard
    has survived is in the log, too.
    """
    dashboard: Dashboard | None = None
    try:
        from sshrender.views.dashboard.app import Dashboard

        dashboard = Dashboard(owner, title)
        dashboard.run_to_the_end()
    except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
        log = errorlog.record(error)
        kind = type(error).__name__
        return f"the dashboard failed by a defect of sshrender ({kind}); the traceback is in {log}"
    finally:
        for survived in dashboard.survived if dashboard is not None else ():
            errorlog.record(survived)
    return ""


def _again(san: Path, job: str, hosts: Path | None) -> JobSource:
    """The journal from its beginning: how much of it the dashboard has shown is not known."""
    from sshrender.cli.dashboardsource import JobSource
    from sshrender.cli.jobstore import find_job, on_san

    return on_san(san, lambda: JobSource(*find_job(san, job), inventory_hosts(hosts)))


def why_no_dashboard() -> str:
    """Why the streams cannot show one; empty when they can."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stderr, "standard error")):
        if stream is None or not stream.isatty():
            return f"{name} is not a terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return "the terminal is too simple (TERM)"
    return ""


def inventory_hosts(named: Path | None) -> list[HostTable]:
    """The hosts of the inventory, if there is one that can be read: a job can be watched without."""
    from sshrender.config import inventory as inv
    from sshrender.config.paths import find_inventory
    from sshrender.errors import UserError

    try:
        file = find_inventory(named)
        return [] if file is None else inv.expand(inv.load(file))
    except UserError:
        return []


class _Watcher:
    """See views.dashboard.source.Owner."""

    def __init__(self, source: JobSource) -> None:
        self._source = source

    def job(self) -> JobSource:
        """Always the same."""
        return self._source

    def is_over(self) -> bool:
        """The user decides."""
        return False

    def interrupt(self) -> str:
        """The job is not ours to stop: Ctrl-C leaves, as q does."""
        return ""


def _follow(source: JobSource, san: Path, verbose: int) -> None:
    """Plain lines until the job ends, or at once what there is when nobody coordinates it."""
    from sshrender.cli.jobstore import on_san
    from sshrender.views.pagehistory import lines, tell

    has_ended = False
    while not has_ended:
        holder = on_san(san, source.coordinator)
        entries = on_san(san, source.entries)
        shown = [entry for entry in entries if verbose or entry["type"] != "page_sent"]
        for line in lines([entry for entry in shown if tell(entry)]):
            output.line(line, flush=True)
        has_ended = not holder
        if not has_ended:
            time.sleep(LOOK)
