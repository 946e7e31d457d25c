"""``sshrender status`` and ``sshrender why``: questions about jobs, answered from the SAN alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import completion, options
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.job.folder import JobFolder
    from sshrender.job.jobstatus import JobReport
    from sshrender.job.journalentries import JournalEntry
    from sshrender.job.leasefiles import Claim
    from sshrender.job.spec import JobSpec


MAX_LISTED_BYTES = 1 << 27
"""Of the journals of one other user."""

MAX_LISTED_JOURNAL = 8 << 20
"""Of one of them: some 20,000 pages. ``status JOB`` reads it whole."""


def status(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB]",
            help="A job's name, the beginning of one, or its folder.",
            autocompletion=completion.jobs,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="With what each host did for each job, removed ones too.")
    ] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show all jobs, a line each; or one, whole."""
    from sshrender.views import joblist as view

    settings = _settings(context, config)
    if job is None:
        damaged: dict[str, str] = {}
        rows = [each.as_json() for each in _reports(settings, damaged)]
        if all_:
            _add_accounts(settings, rows)
        if json_:
            output.as_json({"schema": 1, "jobs": rows, **_told_of(damaged)}, indent=1)
        else:
            _print(view.table(rows, damaged, has_accounts=all_))
        return
    report, _ = _report(settings, job)
    row = {**report.as_json(), "unsigned": _why_unsigned(report) or None}
    if json_:
        output.as_json(row, indent=1)
    else:
        _print(view.whole(row))


def _why_unsigned(report: JobReport) -> str:
    """Why this user's coordinator here would not run the job; empty where it would."""
    from sshrender.cli.jobstore import on_san
    from sshrender.errors import UserError
    from sshrender.job import attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.spec import require_signed_spec

    folder = JobFolder(Path(report.folder))

    def work() -> None:
        require_signed_spec(folder)
        attributes.load_signed(folder)

    try:
        on_san(folder.path.parent, work)
    except UserError as error:
        return error.what
    return ""


def why(
    context: typer.Context,
    job: options.Job,
    page: Annotated[
        int | None, typer.Option("--page", min=1, help="The story of this page.", metavar="N")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="The story of this host.",
            metavar="NAME",
            autocompletion=completion.hosts,
        ),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Tell the story of a page or a host in a job: each event and its cause."""
    from sshrender.errors import ExitCode, UserError
    from sshrender.views import pagehistory

    if (page is None) == (host is None):
        raise UserError(
            ExitCode.USAGE, "either --page N or --host NAME is needed", "sshrender why JOB --page 7"
        )
    settings = _settings(context, config)
    report, entries = _report(settings, job)
    if page is not None:
        told = pagehistory.of_page(entries, page)
        end = _end_of_page(report, page)
    else:
        assert host is not None
        told = pagehistory.of_host(entries, host)
        end = _end_of_host(report, host, bool(told))
    if json_:
        output.as_json(
            {"schema": 1, "job": report.name, "entries": pagehistory.as_json(told), "now": end}
        )
    else:
        _print([*pagehistory.lines(told), end])


def _end_of_page(report: JobReport, page: int) -> str:
    """What the story comes to. Raises UserError for a page that the job has not."""
    from sshrender.document import pagelist
    from sshrender.errors import ExitCode, UserError
    from sshrender.views import joblist as view

    settings, total = report.spec.settings, report.spec.document.pages
    if page not in pagelist.parse(settings.pages, total):
        raise UserError(
            ExitCode.USAGE,
            f"page {page} is no page of this job",
            f"its pages are {settings.pages} of {total}",
        )
    if any(failed["page"] == page for failed in report.failed):
        return f"page {page} has failed; {view.again(report.as_json())} has it tried anew"
    if page in report.suspect:
        return f"page {page} is delivered, and suspect"
    if page in report.missing:
        return f"page {page} is not delivered; the job is {report.state}"
    return f"page {page} is delivered"


def _end_of_host(report: JobReport, host: str, is_known: bool) -> str:
    from sshrender.errors import ExitCode, UserError
    from sshrender.job.jobstatus import HostShare

    shares = {share.name: share for share in report.hosts}
    if host not in shares and not is_known:
        names = ", ".join(sorted(shares)) or "none yet"
        raise UserError(ExitCode.USAGE, f"{host} is no host of this job", f"its hosts are {names}")
    share = shares.get(host) or HostShare(host)  # a page may have failed there, and nothing else
    reason = f" ({share.reason})" if share.reason else ""
    return f"{host}: {share.state}{reason}, {share.pages} pages, {share.failures} failures"


def _settings(context: typer.Context, config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(options.typed(context), config).settings


def _report(settings: Settings, named: str) -> tuple[JobReport, list[JournalEntry]]:
    """One job, and its journal."""
    from sshrender.cli.jobstore import find_job, san_folder

    san = san_folder(settings)
    ((_, report, entries),) = look(san, lambda: [find_job(san, named)], are_named=True)
    return report, entries


def _reports(settings: Settings, damaged: dict[str, str]) -> list[JobReport]:
    """All jobs; those that cannot be read go into ``damaged``, each with the reason."""
    from sshrender.cli.jobstore import all_jobs, san_folder

    san = san_folder(settings)
    return [report for _, report, _ in look(san, lambda: all_jobs(san, damaged), damaged)]


def _told_of(damaged: dict[str, str]) -> dict[str, Any]:
    rows = [{"job": name, "reason": why} for name, why in sorted(damaged.items())]
    return {"damaged": rows} if rows else {}


def _add_accounts(settings: Settings, rows: list[dict[str, Any]]) -> None:
    """To each job what it used; a row more for each that was removed."""
    from sshrender.cli.jobstore import job_names, on_san, san_folder
    from sshrender.cli.usagereport import accounts
    from sshrender.job.jobstatus import removed

    san = san_folder(settings)
    used: dict[str, list[Any]] = {}
    for account in on_san(san, lambda: list(accounts(san))):
        used.setdefault(account.job, []).append(account)
    for row in rows:
        row["accounts"] = [account.as_json() for account in used.pop(row["job"], [])]
    there = on_san(san, lambda: set(job_names(san)))  # of those some may have no row: see look
    rows += [removed(name, found) for name, found in sorted(used.items()) if name not in there]


Seen = tuple["JobFolder", "JobReport", list["JournalEntry"]]
"""A job, how it stands, and its journal."""


def look(
    san: Path,
    find: Callable[[], list[tuple[JobFolder, JobSpec]]],
    damaged: dict[str, str] | None = None,
    *,
    are_named: bool = False,
) -> list[Seen]:
    """Read these jobs, each journal once. Raises UserError where the SAN fails or does not answer.

    A job whose files cannot be read goes into ``damaged`` with the reason, unless they ``are_named``.
    Only of those are the journal's entries kept.
    """
    from sshrender.cli.jobstore import apart, on_san
    from sshrender.config.paths import state_folder
    from sshrender.coordinator.jobopening import require_san
    from sshrender.job import attributes, jobstatus, lease
    from sshrender.job.journal import read_journal

    unreadable: dict[Path, OSError] = {}
    reasons = {} if damaged is None else damaged
    budget = _Budget()

    def one(folder: JobFolder, spec: JobSpec, holder: Claim | None) -> Seen:
        if folder.lease in unreadable:
            raise unreadable[folder.lease]
        found = attributes.load_or_none(folder)
        if are_named:
            entries = list(read_journal(folder.journal))
            return folder, jobstatus.of(folder, spec, entries, holder, found), entries
        lines = read_journal(folder.journal, budget.of(folder))
        told = jobstatus.of(folder, spec, lines, holder, found)
        told.requested = told.missing = frozenset()  # of thousands of jobs nobody asks for these
        return folder, told, []

    def work() -> list[Seen]:
        if san != state_folder():  # which is made with the first job
            require_san(san)
        jobs = find()
        holders = lease.holders([folder.lease for folder, _ in jobs], unreadable=unreadable)
        reads = [(job[0].name, partial(one, *job, holders.get(job[0].lease))) for job in jobs]
        if are_named:
            return [read() for _, read in reads]
        seen = [apart(san, name, read, reasons) for name, read in reads]
        return [each for each in seen if each is not None]

    return on_san(san, work)


class _Budget:
    """Bytes of journals that a listing reads of each other user: what one wrote keeps nobody waiting."""

    def __init__(self) -> None:
        self._left: dict[int, int] = {}

    def of(self, folder: JobFolder) -> int:
        """How many of this job's may be read. Raises OSError."""
        from sshrender.job.journal import MAX_BYTES

        owner = folder.path.lstat().st_uid
        if owner == os.geteuid():
            return MAX_BYTES
        left = self._left.get(owner, MAX_LISTED_BYTES)
        with contextlib.suppress(FileNotFoundError):
            status = folder.journal.lstat()
            self._left[owner] = max(0, left - min(status.st_size, 512 * status.st_blocks))
        return min(left, MAX_LISTED_JOURNAL)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        output.line(line)
