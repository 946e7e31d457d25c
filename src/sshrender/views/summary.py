"""Describe the end of a run: pages, failures with their reasons, and hosts that had problems."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.core.states import FailureKind
from sshrender.errors import ExitCode, ended_with
from sshrender.views import hostwords, jobstats
from sshrender.views.text import clean, clock_time, count, duration, on_pages

MAX_LISTED = 20
"""Failed or suspect pages, or hosts with problems, that are listed; the others are only counted."""

MAX_FONTS = 5

CHECK_HOSTS = "sshrender hosts"

HEALTHY = ("idle", "unknown")
"""States of hosts that need no line: *unknown* are those that the run did not use."""


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for a summary, given as ``--json`` prints it."""
    step = next_step(summary)
    yield _headline(summary)
    yield from _reason(summary, step)
    yield from _files(summary)
    yield from failed_pages(summary["failed_pages"])
    yield from suspect_pages(summary["suspect_pages"])
    for note in summary["notes"]:
        yield f"  document: {clean(note)}"
    yield from missing_fonts(summary["fonts_missing"])
    hosts = [host for host in summary["hosts"] if _is_worth_a_line(host, summary)]
    hosts.sort(key=lambda host: hostwords.rank(host["state"]))
    yield from map(_host, hosts[:MAX_LISTED])
    yield from _more(hosts, "host with a problem", "hosts with problems")
    if summary.get("stats"):
        yield from jobstats.lines(summary["stats"])
    yield from _error_line(summary, step)
    if step:
        yield f"hint: {step}"


def _files(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the files are that the run wrote beside its pages."""
    for key, name in (
        ("assembled", "all pages"),
        ("overview", "overview"),
        ("overview_embedded", "mailable"),
    ):
        if summary.get(key):
            yield f"  {name:<9} {clean(summary[key], 4096)}"


def next_step(summary: Mapping[str, Any]) -> str:
    """Return the command that explains or mends what a run left undone; empty if there is nothing."""
    code, pages = summary.get("exit_code", 0), summary["pages"]
    # A document that could not be opened has no job to name.
    if not summary["job"]:
        return ""
    is_refused = any(host["state"] == "refused" for host in summary["hosts"])
    if not code:  # all pages are there, and the next job will lack these hosts, too
        return CHECK_HOSTS if is_refused else ""
    job = shlex.quote(clean(summary["job"]))
    if summary["failed_pages"]:
        # Names in the output folder are taken by files of others: no page has a history that would
        # explain it.
        if all(page["kind"] == FailureKind.UNWRITABLE.value for page in summary["failed_pages"]):
            return f"free the names that cannot be written, then: sshrender resume {job}"
        return f"sshrender why {job} --page {summary['failed_pages'][0]['page']}"
    if not pages["missing"]:
        if "assembled" in summary:
            return ""  # the file of --assemble could not be made: its error has its own hint
        is_refused = False  # no host is needed any more
    # sshrender hosts finds the problems of hosts.
    if code in (ExitCode.NO_HOST, ExitCode.RENDERER, ExitCode.AUTHENTICATION) or is_refused:
        if _are_drained(summary):
            return undrain(summary["hosts"][0]["name"])
        return CHECK_HOSTS
    return _step_of_job(summary, job)


def _step_of_job(summary: Mapping[str, Any], job: str) -> str:
    """Return the command where neither a page nor a host is the cause."""
    code, reason = summary.get("exit_code", 0), str(summary.get("reason") or "")
    # A run of the queue ends while a user holds the job (JobEnd.HELD).
    if code == ExitCode.LEASE and reason.startswith("held by "):
        return f"sshrender release {job}"
    if code in (ExitCode.DOCUMENT, ExitCode.LEASE):
        return f"sshrender status {job}"
    return f"sshrender resume {job}"


def undrain(host: str) -> str:
    """Return the command that puts a drained host back into use."""
    return f"sshrender undrain {shlex.quote(clean(host))}"


def _are_drained(summary: Mapping[str, Any]) -> bool:
    """Return whether the run had no hosts but drained ones."""
    return {host["state"] for host in summary["hosts"]} == {"drained"}


def brief(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield at most ten lines, for a mail from cron: the result, failed pages, hosts with problems."""
    step = next_step(summary)
    yield _headline(summary)
    yield from _reason(summary, step)
    yield from list(failed_pages(summary["failed_pages"]))[:3]
    if len(summary["failed_pages"]) > 3:
        yield f"  and {count(len(summary['failed_pages']) - 3, 'more failed page')}"
    troubled = [host for host in summary["hosts"] if host["state"] not in HEALTHY]
    yield from (_host(host) for host in troubled[:2])
    if len(troubled) > 2:
        yield f"  and {count(len(troubled) - 2, 'more host')} that could not be used"
    yield from _error_line(summary, step)
    if step:
        yield f"hint: {step}"
    elif summary["job"]:
        yield f"hint: sshrender status {shlex.quote(clean(summary['job']))}"


def totals(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over several documents: of pages by state, and of documents by state."""
    pages: Counter[str] = Counter(dict.fromkeys(("total", "done", "suspect", "failed", "missing"), 0))
    for each in summaries:
        # Failed documents have no pages in their summary.
        pages.update({key: each["pages"][key] for key in pages if key in each.get("pages", {})})
    states = Counter(str(each["state"]) for each in summaries)
    return {"documents": {"total": len(summaries), **states}, "pages": dict(pages)}


def total_line(fields: Mapping[str, Any]) -> str:
    """Return the sum over several documents in words; ``fields`` as ``totals`` returns them."""
    documents, pages = dict(fields["documents"]), fields["pages"]
    words = [f"{documents.pop('total')} documents"]
    words[0] += ": " + ", ".join(f"{number} {state}" for state, number in documents.items())
    words.append(f"{pages['done'] + pages['suspect']} of {count(pages['total'], 'page')} delivered")
    words += [f"{pages[key]} {key}" for key in ("suspect", "failed", "missing") if pages[key]]
    if "seconds" in fields:
        words.append(duration(fields["seconds"]))
    return "; ".join([words[0], ", ".join(words[1:])])


def failure(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return what failed, and a hint, for the object of a command that did not end with 0."""
    # In a command with several jobs, the first that ended with the command's code represents all.
    code = result["exit_code"]
    for each in sorted(result.get("jobs", ()), key=lambda each: each.get("exit_code") != code):
        if each.get("error") or each.get("exit_code"):
            what, step = (each["error"], each["hint"]) if each.get("error") else failure(each)
            named = str(each.get("job") or each.get("document"))
            # The document is named once.
            return what if what.startswith(named) else f"{named}: {what}", str(step)
    job, pages = result.get("job"), result.get("pages", {})
    what = str(result.get("reason") or "")
    if not what:
        words = [f"{count(pages[key], 'page')} {key}" for key in ("failed", "missing") if pages.get(key)]
        what = ", ".join(words) or ended_with(code)
    # Only the summary of a run has what next_step() needs.
    step = next_step(result) if job and "failed_pages" in result else ""
    shown = f"sshrender status {shlex.quote(clean(job))}" if job else "sshrender status"
    return what, step or shown


def failed_pages(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each of the first failed pages, with its reason, and the number of the others."""
    for page in pages[:MAX_LISTED]:
        hosts = clean(", ".join(page["hosts"]))
        # A suspect page that counts as failed (--strict) has no failed attempt.
        attempts = f"{count(page['attempts'], 'attempt')} " if page["attempts"] else ""
        what = f"page {page['page']} failed ({page['kind']}): {clean(page['reason'])}"
        yield f"  {what} [{attempts}on {hosts}]" if hosts else f"  {what}"
    yield from _more(pages, "failed page")


def suspect_pages(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each of the first suspect pages, with its first diagnostic; count the others."""
    for page in pages[:MAX_LISTED]:
        yield f"  page {page['page']} suspect: {clean(page['said'][0])}"
    yield from _more(pages, "suspect page")


def missing_fonts(fonts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line: fonts that the document uses but does not contain, and their pages."""
    if fonts:
        named = [on_pages(clean(each["font"]), clean(each["pages"], 60)) for each in fonts[:MAX_FONTS]]
        more = f" and {len(fonts) - MAX_FONTS} more" if len(fonts) > MAX_FONTS else ""
        noun = "font" if len(fonts) == 1 else "fonts"
        yield f"  {noun} not in the PDF, replaced: {', '.join(named)}{more}"


def _headline(summary: Mapping[str, Any]) -> str:
    pages = summary["pages"]
    delivered = pages["done"] + pages["suspect"]
    words = [f"{delivered} of {count(pages['total'], 'page')} in {clean(summary['output'])}"]
    words += [f"{pages[key]} {key}" for key in ("suspect", "failed", "missing") if pages[key]]
    used = sum(host["pages"] > 0 for host in summary["hosts"])
    if used:
        # The time of rendering, if any host has rendered.
        words.append(f"{duration(summary['seconds'])} on {count(used, 'host')}")
    elif pages["total"] and delivered == pages["total"]:
        words.append("nothing to render, all pages were there")
    else:
        words.append(f"{duration(summary['seconds'])}, no host delivered a page")
    return f"{summary['job']}: {summary['state']}, " + ", ".join(words)


def _is_error(summary: Mapping[str, Any], step: str) -> bool:
    """Return whether the run failed without a printed error; a printed error has its own hint."""
    return bool(step) and 0 < summary.get("exit_code", 0) < 128


def _error_line(summary: Mapping[str, Any], step: str) -> Iterator[str]:
    """Yield the line by which scripts recognize an error of any command."""
    if _is_error(summary, step):
        yield f"sshrender: error: {clean(failure(summary)[0], 1000)}"


def _reason(summary: Mapping[str, Any], step: str) -> Iterator[str]:
    if summary.get("reason") and not _is_error(summary, step):
        yield f"  reason: {clean(summary['reason'])}"
    paused = summary.get("paused")
    if paused:
        # ``until`` may be missing: a pause without an end.
        until = paused["until"] and f"; the run would have waited until {clock_time(paused['until'])}"
        yield f"  paused since {clock_time(paused['since'])}{until or ''}"


def _is_worth_a_line(host: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    if host["state"] == "unknown":  # it had no time to answer: that matters if pages are missing
        return bool(host["reason"]) and summary["pages"]["missing"] > 0
    return host["state"] not in HEALTHY or bool(host["failures"])


def _host(host: Mapping[str, Any]) -> str:
    reason = f": {clean(host['reason'])}" if host["reason"] else ""
    failures = f" ({count(host['failures'], 'failure')})" if host["failures"] else ""
    # The run has ended: that a host could be used until then is nothing to report.
    is_usable = host["state"] == "idle"
    state = "" if is_usable else " " + hostwords.word(host["state"], is_working=False)
    return f"  host {clean(host['name'])}{clean(state)}{failures}{reason}"


def _more(items: Sequence[Any], noun: str, plural: str = "") -> Iterator[str]:
    if len(items) > MAX_LISTED:
        yield f"  and {count(len(items) - MAX_LISTED, f'more {noun}', plural and f'more {plural}')}"
