"""Why: the story of a page or a host in a job, event by event, as its journal tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sshrender.views.plain import describe
from sshrender.views.protocol import Entry
from sshrender.views.text import clean, count

_EVERYBODY = frozenset({"run_started", "run_ended", "storage_failed", "storage_recovered"})
_VERBOSE = 2


def of_page(entries: Iterable[Entry], page: int) -> list[Entry]:
    """The entries that speak of a page: sent, failed, returned, delivered, suspected, given up."""
    return [entry for entry in entries if entry.get("page") == page]


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
    kind = entry["type"]
    if kind == "run_started":
        where = f" by {clean(str(entry['coordinator']))}" if entry.get("coordinator") else ""
        return f"run {entry['epoch']} began{where}"
    if kind == "run_ended":
        reason = f": {clean(entry['reason'])}" if entry["reason"] else ""
        return f"the run ended, {entry['state']}{reason}"
    if kind == "requested":
        return _request(entry)
    if kind == "thumbnails_lost":
        return f"{count(entry['count'], 'thumbnail')} lost: {clean(entry['reason'])}"
    if kind == "page_returned":
        return f"page {entry['page']} back from {clean(entry['host'])}: {clean(entry['reason'])}"
    if kind == "attempt_dropped":
        return (
            f"page {entry['page']} not needed from {clean(entry['host'])} any more:"
            f" {clean(entry['reason'])}"
        )
    if kind == "page_sent" and entry.get("because"):
        return f"page {entry['page']} to {clean(entry['host'])} as well: {clean(entry['because'])}"
    if kind == "page_delivered" and entry["said"]:
        said = clean("; ".join(entry["said"]))
        return f"page {entry['page']} delivered from {clean(entry['host'])}, suspect: {said}"
    if kind == "page_failed":
        return (
            f"page {entry['page']} given up after {count(entry['attempts'], 'attempt')}:"
            f" {clean(entry['reason'])}"
        )
    return describe(entry, _VERBOSE)


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
    }.get(entry["op"], clean(entry["op"]))
    note = f": {clean(entry['note'])}" if entry["note"] else ""
    late = ", too late for the run that it was meant for" if entry["is_late"] else ""
    return f"{clean(entry['by'])} asks to {what}{note}{late}"


def as_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The entries, each with its words."""
    return [{**entry, "words": tell(entry)} for entry in entries]
