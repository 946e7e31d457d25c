"""Reads the state of jobs from the shared folder alone: reports, journals, and usage.

Nothing here needs the jobs' coordinators: their leases tell which of them are running.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.api import queueplaces
from sshrender.api.jobs import all_jobs, find_job, job_names, on_san, read_or_record
from sshrender.api.queueplaces import QueuedJob
from sshrender.api.summaryfiles import on_folder
from sshrender.api.usagetotals import accounts
from sshrender.config.paths import state_folder
from sshrender.core.queueorder import LeaseHolder
from sshrender.errors import UserError
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.journal.journal import MAX_BYTES, read_journal
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.leasefiles import Claim
from sshrender.job.output import outputlocation
from sshrender.job.queue.queuescanner import entry_of
from sshrender.job.spec import JobSpec
from sshrender.job.status import jobstatus
from sshrender.job.status.accounting import Account
from sshrender.job.status.jobstatus import JobReport
from sshrender.storage import files
from sshrender.views import hostwords, jobstats
from sshrender.views.rate import JournalRate

MAX_LISTED_BYTES = 1 << 27
"""Bytes of the journals of one other user that a list of jobs reads."""

MAX_LISTED_JOURNAL = 8 << 20
"""Bytes of one such journal: some 20,000 pages. ``status JOB`` reads it whole."""


class JobOnDisk(NamedTuple):
    """A job, its state, and its journal (empty in a list of jobs)."""

    folder: JobFolder
    report: JobReport
    entries: list[JournalEntry]


def job_report(san: Path, named: str) -> JobOnDisk:
    """Return the job that the user names. Raises UserError."""
    (found,) = read_jobs(san, lambda: [find_job(san, named)], are_named=True)
    # Only then are other jobs looked at.
    if found.report.state == "queued":
        place = queueplaces.of_job(found.folder.path.parent, found.folder.name)
        if place is not None:
            found.report.queue_place, found.report.waits = place
    return found


def job_reports(san: Path, damaged: dict[str, str]) -> list[JobReport]:
    """Return the reports of all jobs; ``damaged`` gets the reason for each that cannot be read.

    Raises UserError.
    """
    found = read_jobs(san, lambda: all_jobs(san, damaged), damaged)
    left_alone = on_san(san, lambda: _left_alone(found))
    places = queueplaces.of((_queued_job(each, left_alone) for each in found), damaged)
    for each in found:
        if each.report.state == "queued" and each.folder.name in places:
            each.report.queue_place, each.report.waits = places[each.folder.name]
    return [each.report for each in found]


def _left_alone(jobs: Sequence[JobOnDisk]) -> set[str]:
    """Return the names of queued jobs that no coordinator starts (api/queueplaces.py)."""
    queued = (each for each in jobs if each.report.state == "queued")
    return {
        each.folder.name for each in queued if queueplaces.is_left_alone(each.folder, each.report.user)
    }


def _queued_job(job: JobOnDisk, left_alone: set[str]) -> QueuedJob:
    holder = LeaseHolder.ACTIVE if job.report.coordinator else LeaseHolder.NONE
    entry = entry_of(job.folder.name, job.report.attributes, holder)
    return QueuedJob(job.report.user, entry, job.folder.name in left_alone)


def why_not_runnable(report: JobReport) -> str:
    """Return why this user's coordinator on this machine would not run the job; empty if it would."""
    folder = JobFolder(Path(report.folder))
    try:
        on_san(folder.path.parent, lambda: queueplaces.require_runnable(folder))
    except UserError as error:
        name = files.name_of(report.user)
        is_other = report.user != os.geteuid() and report.attributes.owner.startswith(f"{name}@")
        return f"it is a job of user {name}" if is_other else error.what
    return ""


def overview_of(found: JobOnDisk) -> str | None:
    """Return the path of a job's HTML overview; None if none was written. Raises UserError."""
    path = found.folder.overview
    return str(path) if on_san(found.folder.path.parent, path.is_file) else None


def stats_of(found: JobOnDisk) -> dict[str, Any]:
    """Return the statistics of a job that the user named (views/jobstats.py)."""
    return jobstats.of(found.entries, found.report.requested)


def add_accounts(san: Path, rows: list[dict[str, Any]]) -> None:
    """Add to each job's row what it used; append a row for each removed job. Raises UserError."""
    used: dict[str, list[Account]] = {}
    # All accounts are read in one pass, because each is a file on the shared folder.
    for account in on_san(san, lambda: list(accounts(san))):
        used.setdefault(account.job, []).append(account)
    for row in rows:
        row["accounts"] = [account.as_json() for account in used.pop(row["job"], [])]
    # A damaged job has an account and no row, but it is not removed.
    # Read after the accounts: a job that was removed meanwhile has its account then.
    there = on_san(san, lambda: set(job_names(san)))
    rows += [jobstatus.removed(name, found) for name, found in sorted(used.items()) if name not in there]


def write_overview(san: Path, named: str) -> Path:
    """Write the HTML overview of a job; return its path. Raises UserError."""
    # Only an overview needs what the coordinator knows; a list of jobs is to start fast.
    from sshrender.coordinator import overviewwriter

    def work() -> Path:
        folder, spec = find_job(san, named)
        overviewwriter.write(folder, spec, lease.holders([folder.lease])[folder.lease])
        return folder.overview

    return on_san(san, work)


def write_overview_to_mail(san: Path, named: str, target: Path | None = None) -> Path:
    """Write the overview that contains its thumbnails; return its path. Raises UserError.

    Without ``target`` it is written next to the pages. If another user signed the job, or this machine
    does not see its output folder, it is written into the current folder.
    """
    from sshrender.coordinator import embeddedoverview

    found = job_report(san, named)
    holder = on_san(san, lambda: lease.holders([found.folder.lease])[found.folder.lease])
    document = found.report.spec.document.name
    if target is None:
        # The owner's signature vouches for the folder; an unsigned one could be anywhere.
        target = embeddedoverview.file_of(_output_of(found.folder) or Path.cwd(), document)
    place = target.absolute()
    return on_folder(
        place.parent,
        lambda: embeddedoverview.write(found.folder, found.report.spec, place, holder),
    )


def _output_of(folder: JobFolder) -> Path | None:
    """Return the output folder that the owner's key vouches for, if it is there."""

    def find() -> Path | None:
        output = outputlocation.place(jobattributes.load_signed(folder), folder)
        return output if output is not None and output.is_dir() else None

    try:
        return on_san(folder.path.parent, find)
    except UserError:
        return None  # of another user, who could name any folder


def read_jobs(
    san: Path,
    find: Callable[[], list[tuple[JobFolder, JobSpec]]],
    damaged: dict[str, str] | None = None,
    *,
    are_named: bool = False,
) -> list[JobOnDisk]:
    """Read these jobs, each journal once. Raises UserError if the shared folder fails or hangs.

    A job whose files cannot be read goes into ``damaged`` with the reason, unless the user named it
    (``are_named``). Only for named jobs the journal's entries are kept.
    """
    unreadable: dict[Path, OSError] = {}
    reasons = {} if damaged is None else damaged
    budget = _Budget()

    def one(folder: JobFolder, spec: JobSpec, holder: Claim | None) -> JobOnDisk:
        # The lease could not be read; the error belongs to this job and not to the list.
        if folder.lease in unreadable:
            raise unreadable[folder.lease]
        found = jobattributes.load_or_none(folder)
        rate, entries = JournalRate(), list[JournalEntry]()
        if are_named:
            entries = list(read_journal(folder.journal))
        # A journal of another user is read up to a limit, so that a list stays fast.
        lines = entries if are_named else read_journal(folder.journal, budget.of(folder))
        report = jobstatus.of(folder, spec, rate.following(lines), holder, found)
        # While no host renders, the former speed says nothing about the time left.
        if report.state == "running" and not hostwords.none_usable(host.state for host in report.hosts):
            report.seconds_left = rate.left(time.time(), report.pages["missing"])
        if not are_named:
            report.requested = report.missing = frozenset()  # a list of thousands of jobs shows neither
        report.user = folder.path.lstat().st_uid
        return JobOnDisk(folder, report, entries)

    def work() -> list[JobOnDisk]:
        if san != state_folder():  # which is created with the first job
            require_san(san)
        jobs = find()
        # All leases at once: if they have to be observed, that takes three seconds, for one as for a
        # thousand.
        holders = lease.holders([folder.lease for folder, _ in jobs], unreadable=unreadable)
        reads = [(job[0].name, partial(one, *job, holders.get(job[0].lease))) for job in jobs]
        if are_named:
            return [read() for _, read in reads]
        # A job whose files are damaged must not hide the others.
        seen = [read_or_record(san, name, read, reasons) for name, read in reads]
        return [each for each in seen if each is not None]

    return on_san(san, work)


class _Budget:
    """Bytes of journals that a list reads for each other user, so that one user cannot slow it down."""

    def __init__(self) -> None:
        self._left: dict[int, int] = {}

    def of(self, folder: JobFolder) -> int:
        """Return how many bytes of this job's journal may be read. Raises OSError."""
        owner = folder.path.lstat().st_uid
        # Own journals are read whole: the user pays for them.
        if owner == os.geteuid():
            return MAX_BYTES
        left = self._left.get(owner, MAX_LISTED_BYTES)
        # A job without a journal costs nothing.
        with contextlib.suppress(FileNotFoundError):
            status = folder.journal.lstat()
            # st_blocks counts 512 bytes each (stat(2)): a sparse file is charged with what it occupies.
            self._left[owner] = max(0, left - min(status.st_size, 512 * status.st_blocks))
        return min(left, MAX_LISTED_JOURNAL)
