"""Removes finished jobs from the shared folder.

A job's folder is renamed first, under its lease, so that no other process sees it half removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sshrender.api.jobs import all_jobs, find_job, on_san
from sshrender.api.statusreports import read_jobs
from sshrender.api.usagetotals import account_of
from sshrender.errors import ExitCode, UserError
from sshrender.job import fencedfiles, jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.lease import Lease
from sshrender.job.output import outputlocation
from sshrender.job.spec import JobSpec
from sshrender.job.status import accounting
from sshrender.job.status.jobstatus import JobReport
from sshrender.storage import files

Report = JobReport
Found = list[tuple[JobFolder, Report]]
"""Jobs, each with its report."""

_FINISHED = ("done", "partial", "failed", "cancelled")

HIDDEN_PREFIX = ".removed-"
"""Start of the name of a folder that is being removed, and is not a job any more."""

REMOVAL_TIMEOUT = 600.0
"""Seconds after which no other process can still be about to remove such a folder."""


def removable_jobs(
    san: Path, named: Sequence[str], age: float, recent: dict[str, float] | None = None
) -> Found:
    """Return jobs that neither run nor wait, and are old enough.

    ``age``: seconds since the job's last event. Without names: all jobs of this user. Some may be
    unfinished: see is_unfinished. Raises UserError for a named job that runs or waits; ``recent`` gets
    the age of each named one that is not old enough.
    """

    def find() -> list[tuple[JobFolder, JobSpec]]:
        if named:
            return [find_job(san, each) for each in named]
        jobs = all_jobs(san)
        user = files.user_in(san) if jobs else 0  # only their owner may remove the jobs of another user
        return [(folder, spec) for folder, spec in jobs if folder.belongs_to(user)]

    found: Found = []
    for folder, report, _ in read_jobs(san, find, are_named=bool(named)):
        if not _is_at_rest(report):
            if named:
                raise UserError(
                    ExitCode.USAGE,
                    f"{report.name} is {report.state}, not finished",
                    f"sshrender cancel {shlex.quote(report.name)}",
                )
        elif (since := _age(folder, report)) >= age:
            found.append((folder, report))
        elif named and recent is not None:
            recent[report.name] = since
    return found


def _is_at_rest(report: JobReport) -> bool:
    """Return whether a job is finished, or was left by ``render`` and is neither queued nor running."""
    was_left = report.state == "queued" and not report.attributes.is_queued
    return (report.state in _FINISHED or was_left) and not report.coordinator


def is_unfinished(report: JobReport) -> bool:
    """Return whether a job was interrupted, so that ``resume`` could still render its missing pages.

    A user who cancelled a job has finished it.
    """
    return report.pages["missing"] > 0 and report.state != jobattributes.CANCELLED


def is_sound(folder: JobFolder) -> bool:
    """Return True if the job's attributes can be read, else raise UserError: ``remove`` would, too."""
    jobattributes.load(folder)
    return True


def _age(folder: JobFolder, report: JobReport) -> float:
    """Return the seconds since its last event; 0 if the journal has entries, but none with a time."""
    try:
        if report.updated == report.created and folder.journal.stat().st_size:
            return 0.0
    except OSError:
        pass  # there is no journal: the job has never run
    try:
        return time.time() - datetime.fromisoformat(report.updated).timestamp()
    except (ValueError, OverflowError):
        # A time that cannot be read counts as now: nothing is removed by mistake.
        return 0.0


def is_unwanted(found: Attributes) -> bool:
    """Return whether a job may go: it is finished, or was never queued. One submitted again may not."""
    return bool(found.over) or not found.is_queued


def remove(folder: JobFolder, may_go: Callable[[Attributes], bool]) -> bool:
    """Remove a job from the shared folder, all but its account; return whether it is gone.

    It stays if it is running, or if ``may_go`` of its attributes is false. Raises UserError or OSError.
    """
    _require_folder(folder)
    jobattributes.load(folder)  # a damaged job is left as it is, its lease too
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return False
    except FileNotFoundError:
        # It is gone altogether, or only the lease's file is missing, which is an error.
        if os.path.lexists(folder.path):
            raise
        return False  # another clean has removed it
    aside: Path | None = None
    try:
        # Read again under the lease: it may have been submitted again meanwhile.
        found = jobattributes.load(folder)
        aside = _put_aside(folder, held) if may_go(found) else None
    except lease.LeaseLost:
        return False  # this process was stopped so long that another one has the job now
    finally:
        if aside is None:  # else the lease went with the folder, and a new job may have its name
            held.release()
    return aside is not None and remove_folder(aside)


def remove_finished(san: Path, named: str) -> bool:
    """Remove the finished job that the user names; return whether it is gone. Raises UserError."""
    ((folder, _),) = removable_jobs(san, [named], 0)
    return on_san(san, lambda: remove(folder, is_unwanted))


def _require_folder(folder: JobFolder) -> None:
    """Raise UserError for a symbolic link: the files to be removed would be somewhere else."""
    if folder.path.is_symlink():
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.path} is a symbolic link, not a job's folder; only the link may be removed",
            f"rm {shlex.quote(str(folder.path))}",
        )


def _put_aside(folder: JobFolder, held: Lease) -> Path | None:
    """Rename a job's folder to a hidden name, because removing it may take long; return the new path.

    Return None if another process has taken the job over. Raises LeaseLost or OSError.
    """
    # The account is written first: otherwise a crash would lose the usage of the job.
    accounts = account_of(folder.path)
    account = accounting.keep(folder, accounts) if accounts else None
    remove_marker = _marker_remover(folder)  # the signature is valid under this name only
    aside = folder.path.with_name(f"{HIDDEN_PREFIX}{folder.name}-{secrets.token_hex(4)}")
    is_ours = False
    try:
        # The last check before the rename; the one after it covers the time between.
        held.ensure()
        files.rename(folder.path, aside)
        # Between these two calls another process may take the job over: it gets its folder back.
        is_ours = fencedfiles.newest_epoch(aside) == held.epoch
        if not is_ours:
            files.rename(aside, folder.path)
            return None
    finally:
        if account is not None and not is_ours:
            account.unlink(missing_ok=True)  # else its pages would be counted twice
    # The job is gone from here on. What follows may fail without bringing it back.
    remove_marker()
    with contextlib.suppress(OSError):
        JobFolder(aside).spec.unlink()  # without it the folder is not a job under any name
    return aside


def _marker_remover(folder: JobFolder) -> Callable[[], None]:
    """Return a function that removes the output folder's marker, the only file outside the job's folder.

    It does nothing if the attributes that name the output folder are not signed by the owner. Raises
    OSError, and so may the function that is returned.
    """
    try:
        found = jobattributes.load_signed(folder)
    except UserError:
        return lambda: None
    output = outputlocation.place(found, folder)
    return lambda: None if output is None else outputlocation.remove_marker(output, found.output_marker)


def left_behind(san: Path) -> list[Path]:
    """Return folders of this user whose removal was started and not completed. Raises OSError."""
    try:
        with os.scandir(san) as entries:
            found = [san / entry.name for entry in entries if entry.name.startswith(HIDDEN_PREFIX)]
    except FileNotFoundError:
        return []  # the user's own folder is created with the first job
    user = files.user_in(san) if found else 0
    # Another process may be removing it at this moment; an old one was left by a crash.
    return [path for path in found if JobFolder(path).belongs_to(user) and _is_old(path)]


def _is_old(path: Path) -> bool:
    try:
        # The clock of the file server against ours: the limit is ten minutes, so a small difference does
        # not matter.
        return time.time() - path.lstat().st_mtime > REMOVAL_TIMEOUT
    except FileNotFoundError:
        return False


def remove_folder(folder: Path) -> bool:
    """Remove a folder, also while other processes do so. Raises OSError if something is left."""
    # O_PATH: the folder need not be readable, only searchable.
    within = os.open(folder.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.remove_tree(folder.name, within)
    finally:
        os.close(within)
    return True
