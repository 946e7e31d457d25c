"""``sshrender clean``: remove jobs that are over, and the space that they take, from the SAN."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import completion, options
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.job.attributes import Attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.jobstatus import JobReport
    from sshrender.job.lease import Lease
    from sshrender.job.spec import JobSpec

_OVER = ("done", "partial", "failed", "cancelled")

_ASIDE = ".removed-"
"""So begins the name of a folder that is no job any more, and is being removed."""

_MOMENT = 600.0
"""Seconds after which nobody is about to remove such a folder any more: it was left behind."""


def clean(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Only these.", autocompletion=completion.jobs),
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
    from sshrender.cli.jobstore import on_san, san_folder
    from sshrender.config.settings import resolve

    if not job and older_than is None:
        raise UserError(
            ExitCode.USAGE,
            "which jobs are to be removed is not said",
            "sshrender clean --older-than 30d",
        )
    age = _seconds(older_than)
    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)
    mishaps = _Mishaps(settings.progress)
    removed = []
    for folder, told in _candidates(place, job or [], age):
        if dry_run or mishaps.keep_apart(place, partial(remove, folder, _is_unwanted)):
            removed.append(told.name)
            would = "would be " if dry_run else ""
            output.note(f"{told.name} ({told.state}) {would}removed")
    if not dry_run:
        for left in on_san(place, partial(_left_behind, place)):
            mishaps.keep_apart(place, partial(_remove_tree, left))
    if json_:
        output.as_json({"schema": 1, "removed": removed, "dry_run": dry_run})
    raise typer.Exit(most_severe(mishaps.codes))


class _Mishaps:
    """What goes wrong with one job is said, and keeps nobody from the others."""

    def __init__(self, progress: str) -> None:
        self._progress = progress
        self.codes: list[ExitCode] = []

    def keep_apart(self, san: Path, work: Callable[[], bool]) -> bool:
        """Whether ``work`` did what it is for. Raises UserError where the SAN itself fails."""
        from sshrender.cli.jobstore import on_san
        from sshrender.files import require_listing
        from sshrender.views.reporter import Reporter

        try:
            return on_san(san, work)
        except UserError as error:
            Reporter(sys.stderr, progress=self._progress).error(error)
            self.codes.append(error.code)
            on_san(san, partial(require_listing, san))
            return False


def _seconds(text: str | None) -> float:
    from sshrender.config.units import parse_duration

    try:
        return parse_duration(text or "0")
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--older-than {text}: {error}", "as in 30d or 12h") from None


def _candidates(san: Path, named: Sequence[str], age: float) -> list[tuple[JobFolder, JobReport]]:
    """Jobs that are over and old enough. Raises UserError for one that is named and is not over."""
    from sshrender.cli.jobstore import all_jobs, find_job
    from sshrender.cli.status import look
    from sshrender.files import user_in

    def find() -> list[tuple[JobFolder, JobSpec]]:
        if named:
            return [find_job(san, each) for each in named]
        jobs = all_jobs(san)
        user = user_in(san) if jobs else 0  # others' jobs are theirs to remove
        return [(folder, spec) for folder, spec in jobs if folder.belongs_to(user)]

    found = []
    for folder, report, _ in look(san, find, are_named=bool(named)):
        if not _is_over(report):
            if named:
                raise UserError(
                    ExitCode.USAGE,
                    f"{report.name} is {report.state}, not over",
                    f"sshrender cancel {shlex.quote(report.name)} calls it off",
                )
        elif _age(folder, report) >= age:
            found.append((folder, report))
    return found


def _is_over(report: JobReport) -> bool:
    """Also a job that somebody rendered and left half done: its age is all that speaks for it."""
    was_never_begun = report.state == "queued" and not report.attributes.is_queued
    return (report.state in _OVER or was_never_begun) and not report.coordinator


def _age(folder: JobFolder, report: JobReport) -> float:
    """Seconds since its last event; none where the journal holds something, but no moment to go by."""
    try:
        if report.updated == report.created and folder.journal.stat().st_size:
            return 0.0
    except OSError:
        pass  # there is no journal: no run has begun
    try:
        return time.time() - datetime.fromisoformat(report.updated).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _is_unwanted(found: Attributes) -> bool:
    """Not where somebody has submitted it again."""
    return bool(found.over) or not found.is_queued


def remove(folder: JobFolder, may_go: Callable[[Attributes], bool]) -> bool:
    """Take a job from the SAN, all but its account: whether it is gone.

    Not where somebody sees it through, or its attributes say that it is to stay (``may_go``). Raises
    UserError or OSError.
    """
    from sshrender.job import attributes, lease

    _require_folder(folder)
    attributes.load(folder)  # what is damaged is left as it is, its lease too
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return False
    except FileNotFoundError:
        if os.path.lexists(folder.path):
            raise
        return False  # another clean was faster
    aside: Path | None = None
    try:
        found = attributes.load(folder)
        aside = _put_aside(folder, held) if may_go(found) else None
    except lease.LeaseLost:
        return False  # this process was stopped for so long that another one has the job by now
    finally:
        if aside is None:  # else the lease is gone with the folder, whose name may be another's by now
            held.release()
    return aside is not None and _remove_tree(aside)


def _require_folder(folder: JobFolder) -> None:
    """Raises UserError for a symbolic link: what would be removed lies elsewhere."""
    if folder.path.is_symlink():
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.path} is a symbolic link, not a job's folder",
            f"rm {shlex.quote(str(folder.path))} removes the link alone",
        )


def _put_aside(folder: JobFolder, held: Lease) -> Path | None:
    """Out of everybody's sight at once, for removing may take long: where it is now.

    None where another process has the job by now. Raises LeaseLost or OSError.
    """
    from sshrender.cli.usagereport import of_job
    from sshrender.files import rename
    from sshrender.job import accounting, fencedfiles
    from sshrender.job.folder import JobFolder

    accounts = of_job(folder.path)
    account = accounting.keep(folder, accounts) if accounts else None
    remove_marker = _marker_remover(folder)  # its signature holds under this name only
    aside = folder.path.with_name(f"{_ASIDE}{folder.name}-{secrets.token_hex(4)}")
    is_ours = False
    try:
        held.ensure()
        rename(folder.path, aside)
        # Between the two another process may have taken the job over: then it gets its folder back.
        is_ours = fencedfiles.newest_epoch(aside) == held.epoch
        if not is_ours:
            rename(aside, folder.path)
            return None
    finally:
        if account is not None and not is_ours:
            account.unlink(missing_ok=True)  # or its pages would count twice
    remove_marker()
    with contextlib.suppress(OSError):
        JobFolder(aside).spec.unlink()  # a job no more, under whatever name
    return aside


def _marker_remover(folder: JobFolder) -> Callable[[], None]:
    """Removes the one file outside of the folder: only where the owner said where it is.

    Raises OSError, and so may what it returns.
    """
    from sshrender.job import attributes, delivery

    try:
        found = attributes.load_signed(folder)
    except UserError:
        return lambda: None
    output = delivery.place(found, folder)
    return lambda: None if output is None else delivery.remove_marker(output, found.output_marker)


def _left_behind(san: Path) -> list[Path]:
    """Folders of ours that somebody began to remove, and did not. Raises OSError."""
    from sshrender.files import user_in
    from sshrender.job.folder import JobFolder

    try:
        with os.scandir(san) as entries:
            found = [san / entry.name for entry in entries if entry.name.startswith(_ASIDE)]
    except FileNotFoundError:
        return []  # this user's own is made with the first job
    user = user_in(san) if found else 0
    return [path for path in found if JobFolder(path).belongs_to(user) and _is_old(path)]


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _MOMENT
    except FileNotFoundError:
        return False


def _remove_tree(folder: Path) -> bool:
    """All that can be removed; others may be at it as well. Raises OSError where something is left."""
    from sshrender.files import remove_tree

    within = os.open(folder.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(folder.name, within)
    finally:
        os.close(within)
    return True
