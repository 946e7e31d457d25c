"""Plain lines for logs, cron and pipes: one line for each event, no colour, no cursor movement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.views import output
from sshrender.views.protocol import Entry
from sshrender.views.rate import Rate
from sshrender.views.text import clean, count, duration

FIRST_INTERVAL = 5.0
MAX_INTERVAL = 60.0
"""Seconds between two progress lines: each interval is twice the one before, up to a minute.

A short run shows progress at once, and the log of a long one stays short.
"""


class PlainView:
    """Writes lines to a stream: events as they come, progress now and then."""

    def __init__(self, stream: TextIO, verbose: int = 0) -> None:
        self._stream = stream
        self._verbose = verbose
        self._rate = Rate()
        self._started: float | None = None
        self._interval = FIRST_INTERVAL
        self._next = 0.0
        self._last_settled = -1

    def entry(self, entry: Entry) -> None:
        """See View.entry."""
        line = describe(entry, self._verbose)
        if line is not None:
            self.print_line(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._rate.note(now, snapshot.delivered_here)
        if self._started is None:
            self._started = now
            self._next = now + self._interval
        if now >= self._next and snapshot.settled != self._last_settled:
            self._last_settled = snapshot.settled
            self._interval = min(2 * self._interval, MAX_INTERVAL)
            self._next = now + self._interval
            self.print_line(progress_line(snapshot, self._rate, now))

    def print_line(self, line: str) -> None:
        """See View.print_line."""
        output.line(line, self._stream, flush=True)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()


def progress_line(snapshot: Snapshot, rate: Rate, now: float) -> str:
    """Return a line such as ``120 of 261 pages, 11.8 pages/s, 12s left, 2 hosts rendering``."""
    parts = [f"{snapshot.settled} of {count(snapshot.total, 'page')}"]
    speed = rate.per_second(now)
    if speed:
        parts.append(f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min")
        parts.append(f"{duration(snapshot.missing / speed)} left")
    working = sum(host.running > 0 for host in snapshot.hosts)
    parts.append(f"{count(working, 'host')} rendering")
    return ", ".join(parts)


def describe(entry: Entry, verbose: int = 0) -> str | None:
    """Return a journal entry as a line of text; None if this verbosity does not show it."""
    kind = entry["type"]
    if kind == "attempt_failed" and entry["kind"] in ("killed", "storage", "crowded") and not verbose:
        return None  # no fault of page or host, and the pause that follows is shown
    if kind in ("page_delivered", "page_suspected") and entry["said"]:
        return f"page {entry['page']} suspect: {clean(entry['said'][0])}"
    in_words = _LINES.get(kind) or (_VERBOSE_LINES.get(kind) if verbose else None)
    return None if in_words is None else in_words(entry)


def _host_state(entry: Entry) -> str:
    reason = f": {clean(entry['reason'])}" if entry["reason"] else ""
    return f"host {clean(entry['host'])} {entry['state']}{reason}"


def _attempt_failed(entry: Entry) -> str:
    host, reason = clean(entry["host"]), clean(entry["reason"])
    return f"page {entry['page']} failed on {host} ({entry['kind']}): {reason}"


def _page_failed(entry: Entry) -> str:
    hosts = clean(", ".join(dict.fromkeys(entry["hosts"])))
    return f"page {entry['page']} failed after {count(entry['attempts'], 'attempt')} on {hosts}"


def _document_noted(entry: Entry) -> str:
    return f"document: {clean('; '.join(entry['said']))}"


def _storage_failed(entry: Entry) -> str:
    return f"storage failed, rendering is paused: {clean(entry['reason'])}"


def _storage_recovered(_: Entry) -> str:
    return "storage works again, rendering continues"


def _split_failed(entry: Entry) -> str:
    return f"the document cannot be split, the rest is rendered from the whole: {clean(entry['reason'])}"


def _folder_not_synced(entry: Entry) -> str:
    return f"cannot sync folder {clean(entry['reason'])}"


def _host_greeted(entry: Entry) -> str:
    return (
        f"host {clean(entry['host'])}: {count(entry['cores'], 'core')},"
        f" Ghostscript {clean(entry['ghostscript'])}, Python {clean(entry['python'])}"
    )


def _page_sent(entry: Entry) -> str:
    return f"page {entry['page']} sent to {clean(entry['host'])}"


def _page_delivered(entry: Entry) -> str:
    return f"page {entry['page']} delivered from {clean(entry['host'])} in {entry['seconds']:.2f} s"


_LINES: dict[str, Callable[[Entry], str]] = {
    "host_state": _host_state,
    "attempt_failed": _attempt_failed,
    "page_failed": _page_failed,
    "document_noted": _document_noted,
    "storage_failed": _storage_failed,
    "storage_recovered": _storage_recovered,
    "split_failed": _split_failed,
    "folder_not_synced": _folder_not_synced,
}
"""Entries that are always shown."""

_VERBOSE_LINES: dict[str, Callable[[Entry], str]] = {
    "host_greeted": _host_greeted,
    "page_sent": _page_sent,
    "page_delivered": _page_delivered,
}
"""Entries of which a run has thousands, or that matter only to a curious user."""
