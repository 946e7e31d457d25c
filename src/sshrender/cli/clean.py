"""``sshrender clean``: removes finished jobs from the shared folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import completion, options
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views import output


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
            "--older-than", help="Only jobs unchanged for this long, as in 30d.", metavar="TIME"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the jobs; remove nothing.")] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Remove finished jobs from the shared folder. Running, held and queued jobs are never removed.

    Delivered pages stay, and so does the account of what the job used.
    """
    from sshrender.api.jobs import on_san, san_folder
    from sshrender.api.removal import is_unwanted, left_behind, removable_jobs, remove, remove_folder
    from sshrender.config.settings import resolve

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
    removed = []
    for folder, report in removable_jobs(place, job or [], age):
        if dry_run or failures.attempt(place, partial(remove, folder, is_unwanted)):
            removed.append(report.name)
            would = "would be " if dry_run else ""
            output.note(f"{report.name} ({report.state}) {would}removed")
    if not dry_run:
        for left in on_san(place, partial(left_behind, place)):
            failures.attempt(place, partial(remove_folder, left))
    if json_:
        output.as_json({"schema": 1, "removed": removed, "dry_run": dry_run})
    raise typer.Exit(most_severe(failures.codes))


class _Failures:
    """Reports an error of one job, so that the others are still removed."""

    def __init__(self, progress: str) -> None:
        self._progress = progress
        self.codes: list[ExitCode] = []

    def attempt(self, san: Path, work: Callable[[], bool]) -> bool:
        """Return whether ``work`` succeeded. Raises UserError if the shared folder itself fails."""
        from sshrender.api.jobs import on_san, require_readable
        from sshrender.views.reporter import Reporter

        try:
            return on_san(san, work)
        except UserError as error:
            Reporter(sys.stderr, progress=self._progress).error(error)
            self.codes.append(error.code)
            require_readable(san)
            return False


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
