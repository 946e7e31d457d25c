"""Write plain lines for logs, cron and pipes: no colour, no cursor movement."""

from __future__ import annotations

from typing import TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.core.states import FailureKind
from sshrender.job import journalentries as je
from sshrender.views import output
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

    def entry(self, entry: je.JournalEntry) -> None:
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
    """Return a line such as ``120 of 261 pages, 11.8 a second, 12s left, 2 hosts at work``."""
    parts = [f"{snapshot.settled} of {count(snapshot.total, 'page')}"]
    speed = rate.per_second(now)
    if speed:
        parts.append(f"{speed:.1f} a second" if speed >= 1 else f"{speed * 60:.1f} a minute")
        parts.append(f"{duration(snapshot.missing / speed)} left")
    working = sum(host.running > 0 for host in snapshot.hosts)
    parts.append(f"{count(working, 'host')} at work")
    return ", ".join(parts)


_UNCHARGED = frozenset(
    kind.value for kind in (FailureKind.KILLED, FailureKind.STORAGE, FailureKind.LOW_MEMORY)
)
"""Failures that count against neither page nor host. The pause that follows is shown, they are not."""


def describe(entry: je.JournalEntry, verbose: int = 0) -> str | None:
    """Return a journal entry in words; None where it is not worth a line at this verbosity."""
    match entry:
        case je.HostStateChanged():
            reason = f": {clean(entry.reason)}" if entry.reason else ""
            return f"host {clean(entry.host)} {entry.state}{reason}"
        case je.AttemptFailed():
            if entry.kind in _UNCHARGED and not verbose:
                return None
            where = f"page {entry.page} failed on {clean(entry.host)}"
            return f"{where} ({entry.kind}): {clean(entry.reason)}"
        case je.PageFailed():
            hosts = clean(", ".join(dict.fromkeys(entry.hosts)))
            return f"page {entry.page} given up after {entry.attempts} attempts on {hosts}"
        case je.PageDelivered() | je.PageSuspected() if entry.diagnostics:
            return f"page {entry.page} suspect: {clean(entry.diagnostics[0])}"
        case je.DocumentDiagnosed():
            return f"the document: {clean('; '.join(entry.diagnostics))}"
        case je.StorageFailed() | je.SplitFailed() | je.FolderNotSynced():
            return f"{entry.type.replace('_', ' ')}: {clean(entry.reason)}"
        case je.StorageRecovered():
            return "storage is back"
        case _:
            return _describe_detail(entry) if verbose else None


def _describe_detail(entry: je.JournalEntry) -> str | None:
    match entry:
        case je.HostConnected():
            return (
                f"host {clean(entry.host)}: {count(entry.cores, 'core')},"
                f" Ghostscript {clean(entry.ghostscript)}, Python {clean(entry.python)}"
            )
        case je.PageSent():
            return f"page {entry.page} to {clean(entry.host)} (attempt {entry.attempt})"
        case je.PageDelivered():
            return f"page {entry.page} delivered from {clean(entry.host)} in {entry.seconds:.2f} s"
        case _:
            return None
