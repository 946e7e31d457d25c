"""The history of a page or of a host in a job, and all its problems: each event and its cause."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshrender.api.statusreports import job_report, why_not_runnable
from sshrender.core.states import FailureKind
from sshrender.document import pagelist
from sshrender.errors import ExitCode, UserError
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.status.jobstatus import HostShare, JobReport
from sshrender.views import hostwords, joblist, jobproblems, pagehistory
from sshrender.views.jobproblems import Problem
from sshrender.views.text import clean, count


@dataclass(frozen=True, slots=True)
class History:
    """``entries``: those of the journal that concern the page or host; ``now``: its present state."""

    job: str
    entries: list[JournalEntry]
    now: str


@dataclass(frozen=True, slots=True)
class JobProblems:
    """All problems of a job. ``row``: as ``status --json`` has it; ``now``: its state in words."""

    row: dict[str, Any]
    problems: list[Problem]
    now: str


def problems_of_job(san: Path, named: str) -> JobProblems:
    """Return all problems of the job that the user names. Raises UserError."""
    _, report, entries = job_report(san, named)
    row = {**report.as_json(), "unsigned": why_not_runnable(report) or None}
    found = jobproblems.of(row, report.requested, report.missing, entries)
    return JobProblems(row, found, joblist.headline(row))


def history_of_page(san: Path, named: str, page: int) -> History:
    """Return the history of a page of the job that the user names. Raises UserError."""
    _, report, entries = job_report(san, named)
    return History(report.name, pagehistory.of_page(entries, page), _end_of_page(report, page))


def history_of_host(san: Path, named: str, host: str) -> History:
    """Return the history of a host in the job that the user names. Raises UserError."""
    _, report, entries = job_report(san, named)
    found = pagehistory.of_host(entries, host)
    return History(report.name, found, _end_of_host(report, host, bool(found)))


def _end_of_page(report: JobReport, page: int) -> str:
    """Return the page's present state as a sentence. Raises UserError if the job has no such page."""
    settings, total = report.spec.settings, report.spec.document.pages
    # The page list decides: a page of the document may not be one of the job.
    if page not in pagelist.parse(settings.pages, total):
        raise UserError(
            ExitCode.USAGE,
            f"page {page} is not a page of this job",
            f"the job has the pages {settings.pages}; the document has {total}",
        )
    kind = next((failed["kind"] for failed in report.failed if failed["page"] == page), None)
    if kind == FailureKind.TIMEOUT.value:
        # With the same time limit it would fail again; resubmit has no option for that limit.
        command = f"sshrender resume {shlex.quote(clean(report.name))} --page-timeout 1h"
        return f"page {page} has failed; to try it again, with an hour for it: {command}"
    if kind is not None:
        return f"page {page} has failed; to try it again: {joblist.again(report.as_json())}"
    if page in report.suspect:
        return f"page {page} is delivered, and suspect"
    if page in report.missing:
        return f"page {page} is not delivered; the job is {report.state}"
    return f"page {page} is delivered"


def _end_of_host(report: JobReport, host: str, is_known: bool) -> str:
    shares = {share.name: share for share in report.hosts}
    if host not in shares and not is_known:
        names = ", ".join(sorted(shares)) or "none yet"
        raise UserError(
            ExitCode.USAGE, f"{host} is not a host of this job", f"the hosts of this job: {names}"
        )
    # A page may have failed there, and nothing else happened.
    share = shares.get(host) or HostShare(host)
    reason = f" ({share.reason})" if share.reason else ""
    pages, failures = count(share.pages, "page"), count(share.failures, "failure")
    # Without a coordinator, the last "idle" in the journal is not the present state of the host.
    says_nothing = share.state == "unknown" or (share.state == "idle" and not report.coordinator)
    word = (
        "" if says_nothing else f"{hostwords.word(share.state, is_working=share.flights > 0)}{reason}, "
    )
    return f"{host}: {word}{pages}, {failures}"
