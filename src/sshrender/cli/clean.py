"""``sshrender clean``: remove jobs that are over, and the space that they take, from the SAN."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import complete, options
from sshrender.errors import ExitCode, UserError

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.job.folder import JobFolder
    from sshrender.job.report import JobReport
    from sshrender.job.spec import JobSpec

_OVER = ("done", "partial", "failed", "cancelled")


def clean(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Only these.", autocompletion=complete.jobs),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="Whose last event is so long ago: 30d.", metavar="TIME"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which.")] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Remove jobs that are over from the SAN; a job that runs, is held or waits never.

    Pages that were delivered elsewhere stay, and so does the account of who used what.
    """
    from sshrender.config.settings import resolve

    if not job and older_than is None:
        raise UserError(
            ExitCode.USAGE,
            "which jobs are to be removed is not said",
            "sshrender clean --older-than 30d",
        )
    age = _seconds(older_than)
    settings = resolve(options.typed(context), config).settings
    removed = []
    for folder, told in _candidates(settings, job or [], age):
        if dry_run or _remove(folder):
            removed.append(told.name)
            would = "would be " if dry_run else ""
            print(f"{told.name} ({told.state}) {would}removed", file=sys.stderr)
    if json_:
        print(json.dumps({"schema": 1, "removed": removed, "dry_run": dry_run}))


def _seconds(text: str | None) -> float:
    from sshrender.config.units import parse_duration

    try:
        return parse_duration(text or "0")
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--older-than {text}: {error}", "as in 30d or 12h") from None


def _candidates(
    settings: Settings, named: Sequence[str], age: float
) -> list[tuple[JobFolder, JobReport]]:
    """Jobs that are over and old enough. Raises UserError for one that is named and is not over."""
    from sshrender.cli.jobs import all_jobs, find_job, san_folder
    from sshrender.cli.status import look
    from sshrender.files import user_in

    san = san_folder(settings)

    def find() -> list[tuple[JobFolder, JobSpec]]:
        if named:
            return [find_job(san, each) for each in named]
        user = user_in(san)  # others' jobs are theirs to remove
        return [(folder, spec) for folder, spec in all_jobs(san) if folder.belongs_to(user)]

    reports = look(san, find)
    found = []
    for folder, report, _ in reports:
        if not _is_over(report):
            if named:
                raise UserError(
                    ExitCode.USAGE,
                    f"{report.name} is {report.state}, not over",
                    f"sshrender cancel {report.name} calls it off",
                )
        elif time.time() - datetime.fromisoformat(report.updated).timestamp() >= age:
            found.append((folder, report))
    return found


def _is_over(report: JobReport) -> bool:
    """Also a job that somebody rendered and left half done: its age is all that speaks for it."""
    was_never_begun = report.state == "queued" and not report.attributes.is_queued
    return (report.state in _OVER or was_never_begun) and not report.coordinator


def _remove(folder: JobFolder) -> bool:
    """Whether it is gone; not where somebody has begun to see it through meanwhile."""
    from sshrender.cli.account import of_job
    from sshrender.cli.jobs import on_san
    from sshrender.job import accounting, attributes, delivery, lease

    san = folder.path.parent

    def work() -> bool:
        try:
            held = lease.take(folder.lease)
        except lease.LeaseHeld:
            return False
        try:
            found = attributes.load(folder)
            if found.is_queued and not found.over:
                return False  # somebody has submitted it again
            accounting.keep(folder, of_job(folder.path))
            output = delivery.place(found, folder)
            if output is not None:
                delivery.unmark(output, found.output_word)
            # Out of everybody's sight at once: removing may take long.
            aside = san / f".removed-{folder.name}-{secrets.token_hex(4)}"
            folder.path.rename(aside)
        finally:
            held.release()
        shutil.rmtree(aside)
        return True

    return on_san(san, work)
