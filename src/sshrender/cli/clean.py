"""``sshrender clean``: removes finished jobs from the shared folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import completion, jsonresult, options
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views import safeprint
from sshrender.views.text import count, duration, local_time

if TYPE_CHECKING:
    from sshrender.api.removal import Found, Report


def clean(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="Jobs to remove. [default: all that --older-than selects]",
            autocompletion=completion.jobs,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            help="Remove only jobs unchanged for this long, as in 30d. [default: any]",
            metavar="TIME",
        ),
    ] = None,
    dry_run: Annotated[bool, options.dry_run("List the jobs; remove nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove unfinished jobs, too, without asking.")
    ] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Remove finished jobs from the shared folder. Running, held and queued jobs are never removed.

    An interrupted job is removed if it is named, or with --yes. With --older-than alone the command asks
    first on a terminal; without one it keeps such jobs. Delivered pages and the account of usage stay.
    """
    from sshrender.api.jobs import on_san, san_folder
    from sshrender.api.removal import is_unwanted, left_behind, removable_jobs, remove, remove_folder
    from sshrender.config.settings import resolve

    # Without a selection every finished job would be removed.
    if not job and older_than is None:
        raise UserError(
            ExitCode.USAGE,
            "name the jobs, or give --older-than TIME",
            "sshrender clean --older-than 30d",
        )
    age = _seconds(older_than)
    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)
    failures = _Failures(settings.progress)
    recent: dict[str, float] = {}
    found = removable_jobs(place, job or [], age, recent)
    result = _Result(
        dry_run, {name: _recent(seconds) for name, seconds in recent.items()}, is_json=json_
    )
    # Known before the first job is removed: an error later must not hide what is gone.
    jsonresult.know(removed=result.removed, dry_run=dry_run)
    # Named jobs, or --yes: the user has agreed to the removal of unfinished ones.
    if not job and not yes:
        found = _without_unfinished(found, result, failures, place, may_ask=not json_)
    for folder, report in found:
        if dry_run:
            result.remove(report)
            continue
        # None: an error, which was reported; False: the job may not go.
        is_gone = failures.attempt(place, partial(remove, folder, is_unwanted))
        if is_gone:
            result.remove(report)
        elif is_gone is not None:
            result.keep(report.name, "it was started or queued again")
    result.print_kept()
    # Folders that a killed clean has left; their jobs are gone already.
    if not dry_run:
        for left in on_san(place, partial(left_behind, place)):
            failures.attempt(place, partial(remove_folder, left))
    code = int(most_severe(failures.codes))
    if json_:
        code = jsonresult.put({**result.as_json(), **failures.first()}, code)
    raise typer.Exit(code)


@dataclass(slots=True)
class _Result:
    """The jobs that are removed, and those that are kept, with the reasons; each is printed."""

    is_dry_run: bool
    kept: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    is_json: bool = False

    def remove(self, report: Report) -> None:
        """Report a removed job, or one that would be."""
        self.removed.append(report.name)
        would = "would be " if self.is_dry_run else ""
        words = f"{report.name} ({_state(report)}) {would}removed"
        if self.is_dry_run and not self.is_json:  # the plan is what was asked for
            safeprint.line(words)
        else:
            safeprint.note(words)

    def keep(self, name: str, reason: str) -> None:
        """Remember why a job is kept."""
        self.kept[name] = reason

    def print_kept(self) -> None:
        """Print the jobs that are kept though the user may expect otherwise."""
        for name, reason in self.kept.items():
            safeprint.note(f"{name} kept: {reason}")

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        kept = [{"job": name, "reason": reason} for name, reason in self.kept.items()]
        return {"removed": self.removed, "kept": kept, "dry_run": self.is_dry_run}


def _without_unfinished(
    found: Found, result: _Result, failures: _Failures, san: Path, *, may_ask: bool
) -> Found:
    """Return the jobs to remove: unfinished ones only if the user at the terminal agrees.

    A damaged job is reported and left as it is: whether it is unfinished is not known.
    """
    from sshrender.api.removal import is_sound, is_unfinished

    damaged = [
        report.name
        for folder, report in found
        # Looked at before the question: the user must not be asked about a job that cannot be removed.
        if is_unfinished(report) and not failures.attempt(san, partial(is_sound, folder))
    ]
    found = [(folder, report) for folder, report in found if report.name not in damaged]
    unfinished = [report for _, report in found if is_unfinished(report)]
    if not unfinished:
        return found
    # Both ends of the question have to be at a terminal: cron has neither.
    if may_ask and not result.is_dry_run and sys.stdin.isatty() and sys.stderr.isatty():
        for report in unfinished:
            safeprint.note(f"{report.name}: {_state(report)}, last event {local_time(report.updated)}")
        which = "this unfinished job" if len(unfinished) == 1 else "these unfinished jobs"
        if typer.confirm(f"Remove {which}, too?", err=True):
            return found
    for report in unfinished:
        result.keep(report.name, f"{_state(report)}; --yes removes it, too")
    return [(folder, report) for folder, report in found if report.name not in result.kept]


def _state(report: Report) -> str:
    """Return the state of a job; of an unfinished one what removing it would lose."""
    from sshrender.api.removal import is_unfinished

    if not is_unfinished(report):
        return report.state
    return f"unfinished, {report.pages['missing']} of {count(report.pages['total'], 'page')} missing"


def _recent(seconds: float) -> str:
    return f"its last event was {duration(seconds)} ago"


class _Failures:
    """Reports an error of one job, so that the others are still removed."""

    def __init__(self, progress: str) -> None:
        self._progress = progress
        self.codes: list[ExitCode] = []
        self._errors: list[UserError] = []

    def first(self) -> dict[str, str]:
        """Return the error for ``--json``: of the jobs that could not be removed, the first one's."""
        return {"error": self._errors[0].what, "hint": self._errors[0].hint} if self._errors else {}

    def attempt(self, san: Path, work: Callable[[], bool]) -> bool | None:
        """Return the result of ``work``; None if it fails, unless the shared folder does.

        Raises UserError then.
        """
        from sshrender.api.jobs import on_san, require_readable
        from sshrender.views.reporter import Reporter

        try:
            return on_san(san, work)
        except UserError as error:
            Reporter(sys.stderr, progress=self._progress).error(error)
            self.codes.append(error.code)
            self._errors.append(error)
            # If the folder itself fails, every other job would fail in the same way.
            require_readable(san)
            return None


def _seconds(text: str | None) -> float:
    from sshrender.config.units import parse_duration

    try:
        return parse_duration(text or "0")
    except ValueError as error:
        raise UserError(
            ExitCode.USAGE,
            f"--older-than {text}: {error}",
            "--older-than takes a time such as 30d or 12h",
        ) from None
