"""Plain lines for logs, cron and pipes: no colour, no cursor movement, one line a thing worth saying."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.views import output
from sshrender.views.protocol import Entry
from sshrender.views.rate import Rate
from sshrender.views.text import clean, count, duration

FIRST_REPORT = 5.0
LONGEST_PAUSE = 60.0
"""Seconds between two progress lines: soon at first, then each time twice as long, to a minute."""


class PlainView:
    """Writes lines to a stream."""

    def __init__(self, stream: TextIO, verbose: int = 0) -> None:
        self._stream = stream
        self._verbose = verbose
        self._rate = Rate()
        self._began: float | None = None
        self._pause = FIRST_REPORT
        self._next = 0.0
        self._last_settled = -1

    def entry(self, entry: Entry) -> None:
        """See View.entry."""
        line = describe(entry, self._verbose)
        if line is not None:
            self.say(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._rate.note(now, snapshot.delivered_here)
        if self._began is None:
            self._began = now
            self._next = now + self._pause
        if now >= self._next and snapshot.settled != self._last_settled:
            self._last_settled = snapshot.settled
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._next = now + self._pause
            self.say(progress_line(snapshot, self._rate, now))

    def say(self, line: str) -> None:
        """See View.say."""
        output.line(line, self._stream, flush=True)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()


def progress_line(snapshot: Snapshot, rate: Rate, now: float) -> str:
    """``120 of 261 pages, 11.8 a second, 12s left, 2 hosts at work``."""
    parts = [f"{snapshot.settled} of {count(snapshot.total, 'page')}"]
    speed = rate.per_second(now)
    if speed:
        parts.append(f"{speed:.1f} a second" if speed >= 1 else f"{speed * 60:.1f} a minute")
        parts.append(f"{duration(snapshot.missing / speed)} left")
    working = sum(host.running > 0 for host in snapshot.hosts)
    parts.append(f"{count(working, 'host')} at work")
    return ", ".join(parts)


def describe(entry: Entry, verbose: int = 0) -> str | None:
    """A journal entry in words; None when it is not worth a line at this verbosity."""
    kind = entry["type"]
    if kind == "host_state":
        reason = f": {clean(entry['reason'])}" if entry["reason"] else ""
        return f"host {clean(entry['host'])} {entry['state']}{reason}"
    if kind == "attempt_failed":
        if entry["kind"] in ("killed", "storage", "low_memory") and not verbose:
            return None  # nobody's fault, and the pause that follows is told
        return (
            f"page {entry['page']} failed on {clean(entry['host'])} ({entry['kind']}):"
            f" {clean(entry['reason'])}"
        )
    if kind == "page_failed":
        hosts = clean(", ".join(dict.fromkeys(entry["hosts"])))
        return f"page {entry['page']} given up after {entry['attempts']} attempts on {hosts}"
    if kind == "page_delivered" and entry["said"]:
        return f"page {entry['page']} suspect: {clean(entry['said'][0])}"
    if kind == "page_suspected":
        return f"page {entry['page']} suspect: {clean(entry['said'][0])}"
    if kind == "document_noted":
        return f"the document: {clean('; '.join(entry['said']))}"
    if kind in ("storage_failed", "split_failed", "folder_not_synced"):
        return f"{kind.replace('_', ' ')}: {clean(entry['reason'])}"
    if kind == "storage_recovered":
        return "storage is back"
    return _chatter(entry) if verbose else None


def _chatter(entry: Entry) -> str | None:
    kind = entry["type"]
    if kind == "host_greeted":
        return (
            f"host {clean(entry['host'])}: {count(entry['cores'], 'core')},"
            f" Ghostscript {clean(entry['ghostscript'])}, Python {clean(entry['python'])}"
        )
    if kind == "page_sent":
        return f"page {entry['page']} to {clean(entry['host'])} (attempt {entry['attempt']})"
    if kind == "page_delivered":
        return f"page {entry['page']} delivered from {clean(entry['host'])} in {entry['seconds']:.2f} s"
    return None
