"""Why: the story of a page or a host in a job, event by event, as its journal tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from sshrender.views.plain import describe
from sshrender.views.protocol import Entry
from sshrender.views.text import clean, count

_EVERYBODY = frozenset({"run_started", "run_ended", "storage_failed", "storage_recovered"})
_VERBOSE = 2


def of_page(entries: Iterable[Entry], page: int) -> list[Entry]:
    """The entries that speak of a page: sent, failed, returned, delivered, suspected, given up."""
    return [entry for entry in entries if entry.get("page") == page or _lacks_fonts(entry, page)]


def _lacks_fonts(entry: Entry, page: int) -> bool:
    if entry["type"] != "fonts_missing":
        return False
    return any(_is_in(page, pages) for pages in entry["fonts"].values())


def _is_in(page: int, pages: str) -> bool:
    """Whether a canonical page list (``1-3,7``) has a page."""
    bounds = (run.partition("-") for run in pages.split(","))
    return any(int(first) <= page <= int(last or first) for first, _, last in bounds)


def of_host(entries: Iterable[Entry], host: str) -> list[Entry]:
    """The entries that speak of a host; what all suffered (the storage) stands between them."""
    found = [
        entry
        for entry in entries
        if entry.get("host") == host or host in (entry.get("hosts") or ()) or entry["type"] in _EVERYBODY
    ]
    return found if any(entry["type"] not in _EVERYBODY for entry in found) else []


def lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Each entry with its time of day, and the date where that changes."""
    date = ""
    for entry in entries:
        words = tell(entry)
        if words is None:
            continue
        day, clock = _when(entry)
        if day != date:
            date = day
            yield day
        yield f"  {clock}  {words}"


def tell(entry: Entry) -> str | None:
    """An entry in words; None for a kind that is not known here."""
    told = _TELLERS.get(entry["type"])
    words = told(entry) if told is not None else None
    return words if words is not None else describe(entry, _VERBOSE)


def _run_started(entry: Entry) -> str:
    where = f" by {clean(str(entry['coordinator']))}" if entry.get("coordinator") else ""
    return f"run {entry['epoch']} began{where}"


def _run_ended(entry: Entry) -> str:
    reason = f": {clean(entry['reason'])}" if entry["reason"] else ""
    return f"the run ended, {entry['state']}{reason}"


def _page_returned(entry: Entry) -> str:
    return f"page {entry['page']} back from {clean(entry['host'])}: {clean(entry['reason'])}"


def _page_withdrawn(entry: Entry) -> str:
    host, reason = clean(entry["host"] or "its host"), clean(entry["reason"])
    return f"page {entry['page']} of {host} withdrawn, to be rendered again: {reason}"


def _attempt_dropped(entry: Entry) -> str:
    host, reason = clean(entry["host"]), clean(entry["reason"])
    return f"page {entry['page']} not needed from {host} any more: {reason}"


def _page_sent(entry: Entry) -> str | None:
    if not entry.get("because"):
        return None
    return f"page {entry['page']} to {clean(entry['host'])} as well: {clean(entry['because'])}"


def _page_delivered(entry: Entry) -> str | None:
    if not entry["said"]:
        return None
    said = clean("; ".join(entry["said"]))
    return f"page {entry['page']} delivered from {clean(entry['host'])}, suspect: {said}"


def _page_failed(entry: Entry) -> str:
    attempts = count(entry["attempts"], "attempt")
    return f"page {entry['page']} given up after {attempts}: {clean(entry['reason'])}"


def _page_fell_back(entry: Entry) -> str:
    to, reason = clean(entry["to"]), clean(entry["reason"])
    return f"page {entry['page']} is for {to} to draw from now on: {reason}"


def _thumbnails_lost(entry: Entry) -> str:
    return f"{count(entry['count'], 'thumbnail')} lost: {clean(entry['reason'])}"


def _folder_not_synced(entry: Entry) -> str:
    return f"names of pages are not flushed to the storage: {clean(entry['reason'])}"


def _picture_ruled(entry: Entry) -> str:
    hosts = count(entry["agreed"], "host")
    return f"pictures are to be those of {hosts} with Ghostscript {clean(entry['ghostscript'])}"


def _fonts_missing(entry: Entry) -> str:
    named = ", ".join(f"{font} ({pages})" for font, pages in entry["fonts"].items())
    return f"not embedded, others stand in: {clean(named)}"


def time_of_day(entry: Entry) -> str:
    """``12:00:00`` where this machine is."""
    return _when(entry)[1][:8]


def _when(entry: Entry) -> tuple[str, str]:
    """Date and time of day where this machine is."""
    moment = datetime.fromisoformat(str(entry["time"])).astimezone()
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S.%f")[:-3]


def _request(entry: Entry) -> str:
    what = {
        "hold": "hold the job",
        "release": "go on with the job",
        "cancel": "cancel the job",
        "drain": f"drain {clean(entry['host'])}",
        "undrain": f"use {clean(entry['host'])} again",
        "retry": f"try page {entry['page']} again",
        "move": f"draw page {entry['page']} on {clean(entry['host'])}",
        "resubmit": "queue the job again",
        "remark": "note what keeps it",
        "alter": f"alter {clean(_changes(entry))}",
    }.get(entry["op"], clean(entry["op"]))
    note = f": {clean(entry['note'])}" if entry["note"] else ""
    late = ", too late for the run that it was meant for" if entry["is_late"] else ""
    return f"{clean(entry['by'])} asks to {what}{note}{late}"


def _changes(entry: Entry) -> str:
    """``priority 7, limit none``."""
    changes = entry.get("changes") or {}
    return ", ".join(f"{key} {'none' if value is None else value}" for key, value in changes.items())


_TELLERS: dict[str, Callable[[Entry], str | None]] = {
    "run_started": _run_started,
    "run_ended": _run_ended,
    "requested": _request,
    "requests_refused": lambda _entry: "requests without the owner's key were removed",
    "thumbnails_lost": _thumbnails_lost,
    "folder_not_synced": _folder_not_synced,
    "picture_ruled": _picture_ruled,
    "fonts_missing": _fonts_missing,
    "page_sent": _page_sent,
    "page_returned": _page_returned,
    "page_withdrawn": _page_withdrawn,
    "page_delivered": _page_delivered,
    "page_failed": _page_failed,
    "page_fell_back": _page_fell_back,
    "attempt_dropped": _attempt_dropped,
}


def as_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The entries, each with its words."""
    return [{**entry, "words": tell(entry)} for entry in entries]
