"""The end of a run in words: pages, what failed and why, and what became of each host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean, count, duration

MAX_LISTED = 20
MAX_FONTS = 5


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The lines for a summary as ``--json`` prints it."""
    yield _headline(summary)
    yield from failed_pages(summary["failed_pages"])
    yield from suspect_pages(summary["suspect_pages"])
    for note in summary["notes"]:
        yield f"  the document: {clean(note)}"
    yield from missing_fonts(summary["fonts_missing"])
    for host in summary["hosts"]:
        if host["state"] not in ("idle", "unknown") or host["failures"]:
            yield _host(host)


def brief(summary: Mapping[str, Any]) -> Iterator[str]:
    """At most ten lines, for a mail from cron: how it went, what failed, which hosts were no use."""
    yield _headline(summary)
    if summary.get("reason"):
        yield f"  it ended because: {clean(summary['reason'])}"
    yield from list(failed_pages(summary["failed_pages"]))[:3]
    if len(summary["failed_pages"]) > 3:
        yield f"  and {count(len(summary['failed_pages']) - 3, 'more failed page')}"
    troubled = [host for host in summary["hosts"] if host["state"] not in ("idle", "unknown")]
    yield from (_host(host) for host in troubled[:2])
    if len(troubled) > 2:
        yield f"  and {count(len(troubled) - 2, 'more host')} that could not be used"
    if summary["job"]:
        yield f"hint: sshrender status {clean(summary['job'])} tells more; the same render resumes it"


def failed_pages(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The first of them, each with its reason, and how many more there are."""
    for page in pages[:MAX_LISTED]:
        hosts = clean(", ".join(page["hosts"]))
        yield (
            f"  page {page['page']} failed ({page['kind']}): {clean(page['reason'])}"
            f" [{count(page['attempts'], 'attempt')} on {hosts}]"
        )
    yield from _more(pages, "failed page")


def suspect_pages(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The first of them, each with what was said, and how many more there are."""
    for page in pages[:MAX_LISTED]:
        yield f"  page {page['page']} suspect: {clean(page['said'][0])}"
    yield from _more(pages, "suspect page")


def missing_fonts(fonts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line: fonts that the document asks for and lacks, and on which pages."""
    if fonts:
        named = [f"{clean(each['font'])} ({clean(each['pages'], 60)})" for each in fonts[:MAX_FONTS]]
        more = f" and {len(fonts) - MAX_FONTS} more" if len(fonts) > MAX_FONTS else ""
        yield f"  not embedded, others stood in: {', '.join(named)}{more}"


def _headline(summary: Mapping[str, Any]) -> str:
    pages = summary["pages"]
    delivered = pages["done"] + pages["suspect"]
    words = [f"{delivered} of {count(pages['total'], 'page')} in {clean(summary['output'])}"]
    words += [f"{pages[key]} {key}" for key in ("suspect", "failed", "missing") if pages[key]]
    used = sum(host["pages"] > 0 for host in summary["hosts"])
    words.append(f"{duration(summary['seconds'])} on {count(used, 'host')}")
    return f"{summary['job']}: {summary['state']}, " + ", ".join(words)


def _host(host: Mapping[str, Any]) -> str:
    reason = f": {clean(host['reason'])}" if host["reason"] else ""
    failures = f" ({count(host['failures'], 'failure')})" if host["failures"] else ""
    return f"  host {clean(host['name'])} {host['state']}{failures}{reason}"


def _more(items: Sequence[Any], noun: str) -> Iterator[str]:
    if len(items) > MAX_LISTED:
        yield f"  and {count(len(items) - MAX_LISTED, 'more ' + noun)}"
