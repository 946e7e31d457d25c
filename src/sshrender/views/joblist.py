"""Format jobs for ``status``: a table of all jobs, or one job in detail.

The input is what ``status --json`` prints.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sshrender.views import summary
from sshrender.views.rendersettings import settings_in_words
from sshrender.views.text import clean, count, duration

Report = Mapping[str, Any]
"""A job as ``status --json`` has it."""

_TITLES = ("JOB", "STATE", "PAGES", "SUSPECT", "FAILED", "LAST EVENT", "PRIORITY", "OWNER")


def table(
    reports: Sequence[Report], damaged: Mapping[str, str] | None = None, *, has_accounts: bool = False
) -> Iterator[str]:
    """Yield one line for each job, in columns; then each damaged job with the reason."""
    if reports:
        yield from _aligned(reports, has_accounts)
    elif not damaged:
        yield "no jobs"
    for name, why in sorted((damaged or {}).items()):
        yield f"{clean(name)}  damaged: {clean(why)}"


def _aligned(reports: Sequence[Report], has_accounts: bool) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [(*_TITLES, "CPU SECONDS") if has_accounts else _TITLES]
    rows += [(*_row(report), _cpu(report)) if has_accounts else _row(report) for report in reports]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(report: Report) -> tuple[str, ...]:
    pages = report["pages"]
    delivered = pages["done"] + pages["suspect"]
    return (
        clean(report["job"]),
        report["state"],
        f"{delivered}/{pages['total']}",
        str(pages["suspect"] or "-"),
        str(pages["failed"] or "-"),
        _local_time(report["updated"]),
        str(report.get("priority") or "-"),
        clean(report["owner"] or "-", 40),
    )


def _cpu(report: Report) -> str:
    return f"{sum(account['cpu_seconds'] for account in report['accounts']):.1f}"


def whole(report: Report) -> Iterator[str]:
    """Yield everything about one job, in about a screenful."""
    document, settings = report["document"], report["settings"]
    yield f"{clean(report['job'])}: {_state(report)}"
    yield (
        f"  document  {clean(document['name'])}, {document['bytes']:,} bytes,"
        f" {count(document['pages'], 'page')}"
    )
    yield f"  settings  {settings_in_words(settings)}, pages {settings['pages']}"
    yield f"  folder    {clean(report['job_dir'], 4096)}"
    if report.get("unsigned"):
        yield f"  not run   {clean(report['unsigned'], 4096)}"
    if report["output"]:
        yield f"  output    {clean(report['output'], 4096)}"
    yield f"  submitted {_local_time(report['created'])}, last event {_local_time(report['updated'])}"
    yield from _queue(report)
    yield f"  pages     {_counts(report['pages'])}"
    for host in report["hosts"]:
        yield _host(host)
    yield from summary.failed_pages(report["failed_pages"])
    yield from summary.suspect_pages(report["suspect_pages"])
    for note in report["notes"]:
        yield f"  document: {clean(note)}"
    if report["state"] in ("partial", "failed"):
        yield f"hint: {again(report)} renders the missing and failed pages"


def again(report: Report) -> str:
    """Return the command that runs the job again."""
    command = "resubmit" if report["submitted"] else "resume"
    return f"sshrender {command} {shlex.quote(clean(report['job']))}"


def _state(report: Report) -> str:
    words = str(report["state"])
    if report["coordinator"]:
        words += f" on {clean(report['coordinator'])}"
    if report["reason"]:
        words += f" ({clean(report['reason'])})"
    return words + f", {count(report['runs'], 'run')}"


def _queue(report: Report) -> Iterator[str]:
    """Yield a line with the job's queue attributes, if it has any."""
    words = [f"owner {clean(report['owner'])}"] if report["owner"] else []
    words += [f"priority {report['priority']}"] if report["priority"] else []
    words += [f"at most {count(report['limit'], 'slot')} at a time"] if report["limit"] else []
    words += [f"after {clean(', '.join(report['after']))}"] if report["after"] else []
    words += [f"not before {_local_time(report['not_before'])}"] if report["not_before"] else []
    if words:
        yield "  queue     " + ", ".join(words)


def _counts(pages: Mapping[str, int]) -> str:
    words = [f"{pages['done'] + pages['suspect']} of {pages['total']} delivered"]
    words += [f"{pages[key]} {key}" for key in ("suspect", "failed", "missing") if pages[key]]
    return ", ".join(words)


def _host(host: Mapping[str, Any]) -> str:
    words = [count(host["pages"], "page")]
    if host["pages"]:
        words.append(
            f"{host['seconds'] / host['pages']:.2f} s/page, {duration(host['seconds'])} in total"
        )
    if host["failures"]:
        words.append(count(host["failures"], "failure"))
    if host.get("hedged"):
        words.append(f"{host['hedged']} hedged")
    reason = f": {clean(host['reason'])}" if host["reason"] else ""
    return f"  host      {clean(host['name'])} {host['state']}{reason}; " + ", ".join(words)


def _local_time(text: str) -> str:
    """Return a time of the journal in the time zone of this machine."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return clean(text, 30)
