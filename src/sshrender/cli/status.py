"""``sshrender status`` and ``sshrender why``: show jobs and their history."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import completion, options, repeatedoptions
from sshrender.views import output


def status(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="Name, unique prefix or folder of a job. [default: all jobs]",
            autocompletion=completion.jobs,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Add the CPU time of each job; include removed jobs.")
    ] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """List all jobs, or show one in detail."""
    from sshrender.api.jobreports import add_accounts, job_report, job_reports, why_not_runnable
    from sshrender.views import joblist as view

    place = _san(context, config)
    if job is None:
        damaged: dict[str, str] = {}
        rows = [each.as_json() for each in job_reports(place, damaged)]
        if all_:
            add_accounts(place, rows)
        if json_:
            output.as_json({"schema": 1, "jobs": rows, **_as_json(damaged)}, indent=1)
        else:
            _print(view.table(rows, damaged, has_accounts=all_))
        return
    report = job_report(place, job).report
    row = {**report.as_json(), "unsigned": why_not_runnable(report) or None}
    if json_:
        output.as_json(row, indent=1)
    else:
        _print(repeatedoptions.in_hints(view.whole(row)))


def why(
    context: typer.Context,
    job: options.Job,
    page: Annotated[
        int | None, typer.Option("--page", min=1, help="The history of this page.", metavar="N")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="The history of this host.",
            metavar="NAME",
            autocompletion=completion.hosts,
        ),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the history of a page or a host in a job: each event and its cause."""
    from sshrender.api.history import history_of_host, history_of_page
    from sshrender.errors import ExitCode, UserError
    from sshrender.views import pagehistory

    if page is not None and host is None:
        found = history_of_page(_san(context, config), job, page)
    elif host is not None and page is None:
        found = history_of_host(_san(context, config), job, host)
    else:
        raise UserError(
            ExitCode.USAGE,
            "either --page N or --host NAME is needed",
            f"sshrender status {shlex.quote(job)}",
        )
    if json_:
        entries = pagehistory.as_json(found.entries)
        output.as_json({"schema": 1, "job": found.job, "entries": entries, "now": found.now})
    else:
        _print([*pagehistory.lines(found.entries), repeatedoptions.complete(found.now)])


def _san(context: typer.Context, config: Path | None) -> Path:
    from sshrender.api.jobs import san_folder
    from sshrender.config.settings import resolve

    return san_folder(resolve(options.typed(context), config).settings)


def _as_json(damaged: dict[str, str]) -> dict[str, Any]:
    rows = [{"job": name, "reason": why} for name, why in sorted(damaged.items())]
    return {"damaged": rows} if rows else {}


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        output.line(line)
