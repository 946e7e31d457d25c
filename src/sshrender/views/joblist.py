"""Format jobs for ``status``: a table of all jobs, or one job in detail.

The input is what ``status --json`` prints.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views import hostwords, jobstats, queuewords, summary
from sshrender.views.pooltable import queue_in_words
from sshrender.views.rendersettings import resolution_in_words, settings_in_words
from sshrender.views.text import clean, count, duration, local_time, pause, waits_until

MAX_WAITING = 10
"""Waiting pages that are listed: a storage that is late with one is late with many."""

Report = Mapping[str, Any]
"""A job as ``status --json`` has it."""

_TITLES = (
    "JOB",
    "STATE",
    "PAGES",
    "LEFT",
    "SUSPECT",
    "FAILED",
    "SETTINGS",
    "LAST EVENT",
    "PRIORITY",
    "OWNER",
)


def table(
    reports: Sequence[Report], damaged: Mapping[str, str] | None = None, *, has_accounts: bool = False
) -> Iterator[str]:
    """Yield one line for each job, in columns; then each job that cannot be read, with the reason."""
    if reports:
        yield from _aligned(reports, has_accounts)
    elif not damaged:
        yield "no jobs"
    # Such a job has no row: its state is not known.
    for name, why in sorted((damaged or {}).items()):
        yield f"{clean(name)}  cannot be read: {clean(why)}"
    remedies = [queuewords.remedy(report.get("waits") or "") for report in reports]
    if any(remedies):
        yield f"hint: {next(filter(None, remedies))}"


def _aligned(reports: Sequence[Report], has_accounts: bool) -> Iterator[str]:
    further = {"CPU SECONDS": _cpu} if has_accounts else {}
    # Last, and only if needed, as it is the widest.
    if any(map(_waits, reports)):
        further["WAITS"] = _waits
    rows: list[tuple[str, ...]] = [(*_TITLES, *further)]
    rows += [(*_row(report), *(cell(report) for cell in further.values())) for report in reports]
    # Columns are as wide as their content.
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(report: Report) -> tuple[str, ...]:
    pages = report["pages"]
    delivered = pages["done"] + pages["suspect"]
    return (
        clean(report["job"]),
        report["state"],
        # For a removed job, the rendered pages are known, but not their total.
        str(delivered) if report["state"] == "removed" else f"{delivered}/{pages['total']}",
        _left(report) or "-",
        str(pages["suspect"] or "-"),
        str(pages["failed"] or "-"),
        _settings(report.get("settings")),
        local_time(report["updated"]),
        str(report.get("priority") or "-"),
        clean(report["owner"] or "-", 40),
    )


def _left(report: Report) -> str:
    """Return the time that the rest will take; empty if it is unknown."""
    seconds = report.get("seconds_left")
    return "" if seconds is None else duration(seconds)


def _settings(settings: Mapping[str, Any] | None) -> str:
    """Return what renders at which resolution, as ``png16m 150 dpi`` or ``mutool 150 dpi crop``."""
    if settings is None:
        return "-"  # a job that was removed left only its account
    # A recipe without an extension is the built-in Ghostscript.
    recipes = [recipe["name"] for recipe in settings["recipes"] if recipe["extension"]]
    shown = resolution_in_words(settings)
    words = [f"{clean(recipes[0] if recipes else settings['device'], 30)} {shown} dpi"]
    words += [clean(settings["box"], 10)] if settings.get("box") else []
    words += ["{}x{}px".format(*settings["size"])] if settings.get("size") else []
    return " ".join(words)


def _waits(report: Report) -> str:
    """Return in a few words what a job of the queue waits for, and a running one for a host."""
    if report["state"] == "held" or (report["state"] == "queued" and report["reason"]):
        return clean(report["reason"], 60)
    return clean(report.get("waits") or _without_host(report), 60)


def _without_host(report: Report) -> str:
    """Return that no host is usable; empty if one is, or if the job needs none."""
    # Only then does the state of a host say something: after the run it is the last one of the journal.
    is_running = report["state"] in ("running", "paused") and report["coordinator"]
    # A held job waits for its release, and one without missing pages for no host.
    if not is_running or not report["pages"]["missing"]:
        return ""
    none, wait = hostwords.none_usable(host["state"] for host in report["hosts"]), report.get("no_host")
    return none and none + waits_until(wait["until"] or "" if wait else "")


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
    yield f"  submitted {local_time(report['created'])}, last event {local_time(report['updated'])}"
    yield from _queue(report)
    left = _left(report)
    yield f"  pages     {_counts(report['pages'])}" + (f"; about {left} left" if left else "")
    if report.get("overview"):
        yield f"  overview  {clean(report['overview'], 4096)}"
    if report.get("stats"):
        yield from jobstats.lines(report["stats"])
    is_running = report["state"] in ("running", "paused", "held") and bool(report["coordinator"])
    if none := _without_host(report):
        yield f"  waits     {none} (sshrender hosts shows why)"
    if report.get("waits"):
        yield f"  waits     {clean(report['waits'])}"
    for pool in report.get("pools", ()):
        yield f"  {queue_in_words(pool)}"
    for host in sorted(report["hosts"], key=_rank):
        yield _host(host, is_running, report.get("withheld"))
    yield from _problems(report)


def _problems(report: Report) -> Iterator[str]:
    """Yield what is wrong with the pages and the document of a job, and the command that runs it."""
    yield from _waiting(report)
    yield from summary.failed_pages(report["failed_pages"])
    yield from summary.suspect_pages(report["suspect_pages"])
    for note in report["notes"]:
        yield f"  document: {clean(note)}"
    if step := next_step(report):
        yield f"hint: {step}"


def next_step(report: Report) -> str:
    """Return what can be typed so that the job continues, or ends; empty if nothing has to be done."""
    job, state = shlex.quote(clean(report["job"])), report["state"]
    if report.get("unsigned"):
        return ""  # another user's, or one whose key has to be imported first
    if state == "held":
        return f"sshrender release {job}"
    if state == "paused":
        return f"it continues when the storage works again; to stop it: sshrender cancel {job}"
    if state in ("partial", "failed"):
        return again(report)
    if state == "cancelled" and report["pages"]["missing"]:
        return f"to render the missing pages: {again(report)}"
    return _start(report, job) or ("sshrender hosts" if _without_host(report) else "")


def _start(report: Report, job: str) -> str:
    """Return the command that starts a job of the queue; empty if only other jobs have to end."""
    if report["state"] != "queued":
        return ""
    # No coordinator takes a job that was never submitted.
    if not report["submitted"]:
        return again(report)
    # It can start, so its conditions are met.
    if report.get("waits"):
        return queuewords.remedy(report["waits"])
    if report["after"]:
        return f"to start it without waiting for others: sshrender alter {job} --after ''"
    if report["not_before"]:
        return f"to start it now: sshrender alter {job} --not-before ''"
    return ""


def headline(report: Report) -> str:
    """Return the state of a job and its pages in one line."""
    return f"{clean(report['job'])}: {_state(report)}, {_counts(report['pages'])}"


def again(report: Report) -> str:
    """Return the command that runs the job again."""
    # A job of the queue is put back into it, any other is run by its user.
    command = "resubmit" if report["submitted"] else "resume"
    return f"sshrender {command} {shlex.quote(clean(report['job']))}"


def _waiting(report: Report) -> Iterator[str]:
    """Yield a line for each rendered page that waits: the reason, and until when."""
    for waits in report.get("waiting_pages", ())[:MAX_WAITING]:
        words = pause(waits["since"], waits["until"])
        yield f"  page {waits['page']}: rendered, {words}: {clean(waits['reason'])}"
    more = len(report.get("waiting_pages", ())) - MAX_WAITING
    if more > 0:
        yield f"  {count(more, 'more page')} wait"


def _state(report: Report) -> str:
    words = str(report["state"])
    if report["coordinator"]:
        words += f" on {clean(report['coordinator'])}"
    paused = report.get("paused")
    if paused:
        words += f" {pause(paused['since'], paused['until'])}"
    if report["reason"]:
        words += f" ({clean(report['reason'])})"
    return words + f", {count(report['runs'], 'run')}"


def _queue(report: Report) -> Iterator[str]:
    """Yield a line with the job's queue attributes, if it has any."""
    words = [f"owner {clean(report['owner'])}"] if report["owner"] else []
    words += [f"priority {report['priority']}"] if report["priority"] else []
    words += [f"at most {count(report['limit'], 'slot')} at a time"] if report["limit"] else []
    words += [f"after {clean(', '.join(report['after']))}"] if report["after"] else []
    words += [f"not before {local_time(report['not_before'])}"] if report["not_before"] else []
    if words:
        yield "  queue     " + ", ".join(words)


def _counts(pages: Mapping[str, int]) -> str:
    words = [f"{pages['done'] + pages['suspect']} of {pages['total']} delivered"]
    words += [f"{pages[key]} {key}" for key in ("suspect", "failed", "missing") if pages[key]]
    return ", ".join(words)


def _rank(host: Mapping[str, Any]) -> tuple[int, bool]:
    """Return a sort key that keeps the order of hosts that have no problem."""
    rank, _ = hostwords.rank(host["state"])
    # sorted() is stable, so hosts without a problem keep the order of the report.
    return min(rank, len(hostwords.TROUBLED)), False


def _host(host: Mapping[str, Any], is_running: bool, withheld: Mapping[str, Any] | None = None) -> str:
    """Return a line for a host. After the end, that it could be used until then says nothing.

    ``withheld``: the time in which no page is sent to any host, if that is now.
    """
    words = [count(host["pages"], "page")]
    if host["pages"]:
        words.append(
            f"{host['seconds'] / host['pages']:.2f} s/page, {duration(host['seconds'])} in total"
        )
    if host["failures"]:
        words.append(count(host["failures"], "failure"))
    if host.get("hedged"):
        words.append(f"{host['hedged']} hedged")
    why, is_working = host["reason"], host["running"] > 0
    if withheld and host["state"] == "idle" and not is_working:
        why = f"{pause('', withheld['until'])}: {withheld['reason']}"
    reason = f": {clean(why)}" if why else ""
    has_state = is_running or host["state"] in hostwords.TROUBLED
    state = hostwords.word(host["state"], is_working=is_working, is_withheld=bool(withheld))
    word = f" {state}" if has_state else ""
    # A semicolon after a reason, which may itself hold a colon.
    colon = "; " if word or reason else ": "
    return f"  host      {clean(host['name'])}{clean(word)}{reason}{colon}" + ", ".join(words)
