"""``sshrender status`` and ``sshrender why``: show jobs and their history."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import completion, hintcommands, jsonresult, options, tablewatch
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

_INTERVAL_HINT = "sshrender status --watch --interval 5s"


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
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="List only jobs in these states, as in running,queued. May be repeated."
            " [default: all states]",
            metavar="STATE",
            autocompletion=completion.states,
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", help="List only the jobs of this user. [default: all users]", metavar="NAME"
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Add the CPU time of each job; include removed jobs.")
    ] = False,
    stats: Annotated[
        bool, typer.Option("--stats", help="Add bytes, speed, CPU time and the slowest pages of JOB.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until interrupted.")
    ] = False,
    interval: Annotated[
        str, typer.Option("--interval", help="Time between two tables with --watch.", metavar="TIME")
    ] = "2s",
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """List all jobs, running ones first, or show one in detail."""
    from sshrender.api.jobselection import states_of

    wanted = _Wanted(job, states_of(state or ()), user, has_accounts=all_, has_stats=stats)
    wanted.check(is_watched=watch, is_json=json_)
    seconds = _interval(interval)
    place = _san(context, config)
    if json_:
        raise typer.Exit(jsonresult.put(wanted.as_json(place)))
    if watch:
        tablewatch.repeat(lambda: wanted.read(place), seconds)
    else:
        # Hints in the text get the options of this command.
        _print(hintcommands.in_hints(wanted.read(place).lines))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The selection of ``status``: one job, or all jobs with these states and this owner."""

    job: str | None
    states: tuple[str, ...]
    user: str | None
    has_accounts: bool
    has_stats: bool

    def check(self, *, is_watched: bool, is_json: bool) -> None:
        """Raise UserError for options that do not go together."""
        # Refused rather than ignored: the selection would seem to have found the job.
        if self.job is not None and (self.states or self.user is not None):
            name = "--state" if self.states else "--user"
            raise UserError(
                ExitCode.USAGE,
                f"{name} selects from all jobs, and {self.job} is one job",
                f"sshrender status {shlex.quote(self.job)}",
            )
        if self.job is None and self.has_stats:
            raise UserError(ExitCode.USAGE, "--stats is about one job", "sshrender report")
        if is_watched and is_json:
            raise UserError(
                ExitCode.USAGE,
                "--json prints one object, and --watch shows many",
                "sshrender status --json",
            )

    def as_json(self, san: Path) -> dict[str, Any]:
        """Return what ``--json`` prints. Raises UserError."""
        if self.job is not None:
            return self._one(san)
        damaged: dict[str, str] = {}
        rows = self._rows(san, damaged)
        return {"jobs": rows, **_as_json(damaged)}

    def read(self, san: Path) -> tablewatch.Shown:
        """Return the lines to print. Raises UserError."""
        from sshrender.views import joblist as view

        if self.job is not None:
            row = self._one(san)
            return tablewatch.Shown(
                [*view.whole(row)], is_last=row["state"] not in tablewatch.UNFINISHED
            )
        damaged: dict[str, str] = {}
        rows = self._rows(san, damaged)
        # Said only for a selection; an empty folder has its own words.
        if not rows and (self.states or self.user is not None):
            return tablewatch.Shown(["no job is like this"])
        return tablewatch.Shown([*view.table(rows, damaged, has_accounts=self.has_accounts)])

    def _one(self, san: Path) -> dict[str, Any]:
        from sshrender.api.statusreports import job_report, overview_of, stats_of, why_not_runnable

        found = job_report(san, self.job or "")
        row = {
            **found.report.as_json(),
            # A job that this machine would not run is shown with the reason.
            "unsigned": why_not_runnable(found.report) or None,
            "overview": overview_of(found),
        }
        return {**row, "stats": stats_of(found)} if self.has_stats else row

    def _rows(self, san: Path, damaged: dict[str, str]) -> list[dict[str, Any]]:
        """Return the selected jobs. A selection has no damaged ones, as their state is unknown."""
        from sshrender.api.jobselection import REMOVED, selected
        from sshrender.api.statusreports import add_accounts, job_reports

        is_selection = bool(self.states) or self.user is not None
        rows = [each.as_json() for each in job_reports(san, {} if is_selection else damaged)]
        # Removed jobs have only accounts, so these are read for that state as well.
        if self.has_accounts or REMOVED in self.states:
            add_accounts(san, rows)
        return selected(rows, self.states, self.user)


def why(
    context: typer.Context,
    job: options.Job,
    page: Annotated[
        int | None,
        typer.Option("--page", min=1, help="Show the whole history of this page.", metavar="N"),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Show the whole history of this host.",
            metavar="NAME",
            autocompletion=completion.hosts,
        ),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show all problems of a job and their causes, or the whole history of a page or a host."""
    from sshrender.api.history import history_of_host, history_of_page
    from sshrender.views import pagehistory

    if page is not None and host is not None:
        raise UserError(
            ExitCode.USAGE,
            "--page and --host cannot be used together",
            f"sshrender why {shlex.quote(job)} --page {page}",
        )
    place = _san(context, config)
    if page is None and host is None:
        _show_problems(place, job, is_json=json_)
        return
    # The page is 0 only if a host was given, so it is never used.
    found = history_of_host(place, job, host) if host else history_of_page(place, job, page or 0)
    if json_:
        entries = pagehistory.as_json(found.entries)
        raise typer.Exit(jsonresult.put({"job": found.job, "entries": entries, "now": found.now}))
    _print([*pagehistory.lines(found.entries), hintcommands.complete(found.now)])


def _show_problems(san: Path, job: str, *, is_json: bool) -> None:
    from sshrender.api.history import problems_of_job
    from sshrender.views import joblist, jobproblems

    found = problems_of_job(san, job)
    if is_json:
        problems = [each.as_json() for each in found.problems]
        shown = {key: found.row[key] for key in ("job", "state", "reason", "pages")}
        step = joblist.next_step(found.row)
        shown |= {"problems": problems, "now": found.now} | ({"hint": step} if step else {})
        raise typer.Exit(jsonresult.put(shown))
    _print(hintcommands.in_hints(jobproblems.lines(found.row, found.problems, now=found.now)))


def _interval(text: str) -> float:
    """Return the seconds between two tables. Raises UserError."""
    from sshrender.config.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--interval {text}: {error}", _INTERVAL_HINT) from None
    # Each table reads the journals of all jobs, so a shorter time would load the folder for nothing.
    if seconds < tablewatch.MIN_INTERVAL:
        raise UserError(
            ExitCode.USAGE,
            f"--interval {text}: at least {tablewatch.MIN_INTERVAL:g} s: each table reads all journals",
            _INTERVAL_HINT,
        )
    return seconds


def _san(context: typer.Context, config: Path | None) -> Path:
    from sshrender.api.jobs import san_folder
    from sshrender.config.settings import resolve

    return san_folder(resolve(options.typed(context), config).settings)


def _as_json(damaged: dict[str, str]) -> dict[str, Any]:
    rows = [{"job": name, "reason": why} for name, why in sorted(damaged.items())]
    return {"damaged": rows} if rows else {}


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        safeprint.line(line)
