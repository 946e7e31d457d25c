"""Write plain lines for logs, cron and pipes: no colour, no cursor movement."""

from __future__ import annotations

import dataclasses
from typing import TextIO

from sshrender.core.fingerprint import in_words
from sshrender.core.snapshot import Snapshot
from sshrender.core.states import UNCHARGED
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.storagepause import Pause
from sshrender.views import hostwords, safeprint
from sshrender.views.pooltable import queue_in_words
from sshrender.views.rate import Rate, follow, of_run
from sshrender.views.text import clean, clock_time, count, duration, pause

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

    def entry(self, entry: je.JournalEntry) -> None:
        """See View.entry."""
        line = describe(entry, self._verbose)
        if line is not None:
            self.print_line(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        follow(self._rate, snapshot, now)
        if self._started is None:
            self._started = now
            self._next = now + self._interval
        # The reason why a run waits is repeated: a log that just ends would look like a hang. Progress
        # is measured in pages of a terminal state; the time alone makes no line.
        waits = snapshot.paused or snapshot.withheld or hostwords.none_usable_in(snapshot)
        if now >= self._next and (snapshot.settled != self._last_settled or waits):
            self._last_settled = snapshot.settled
            self._interval = min(2 * self._interval, MAX_INTERVAL)
            self._next = now + self._interval
            self.print_line(progress_line(snapshot, self._rate, now))

    def print_line(self, line: str) -> None:
        """See View.print_line."""
        safeprint.line(line, self._stream, flush=True)

    def close(self) -> None:
        """See View.close."""
        self._stream.flush()


def progress_line(snapshot: Snapshot, rate: Rate, now: float) -> str:
    """Return a line such as ``120 of 261 pages, 11.8 pages/s, 12s left, 2 hosts rendering``."""
    parts = [f"{snapshot.delivered} of {count(snapshot.total, 'page')}"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    if snapshot.paused:
        return ", ".join([*parts, pause_now(snapshot)])
    if none := hostwords.none_usable_in(snapshot):
        return ", ".join([*parts, none + wait_left(snapshot)])
    speed, left = of_run(rate, snapshot, now)
    if snapshot.held:
        parts.append(clean(snapshot.held))
    if speed:
        parts.append(f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min")
    if left is not None:
        parts.append(f"{duration(left)} left")
    working = sum(host.running > 0 for host in snapshot.hosts)
    parts.append(f"{count(working, 'host')} rendering")
    if snapshot.withheld:
        parts.append(withheld_now(snapshot))
    return ", ".join(parts)


def wait_left(snapshot: Snapshot) -> str:
    """Return ``, waits 25s more`` for a run that ends if no host becomes usable; else empty."""
    left = snapshot.no_host_left
    return "" if left is None else f", waits {duration(left)} more"


def withheld_now(snapshot: Snapshot) -> str:
    """Return for how long no page is sent, and why."""
    return f"no page is sent for {duration(snapshot.withheld_left)}: {clean(snapshot.withheld)}"


def pause_now(snapshot: Snapshot) -> str:
    """Return how long a run has been paused, how long it still waits, and why."""
    since, left = duration(snapshot.paused_seconds), duration(snapshot.pause_left)
    return f"paused for {since}, waits {left} more: {clean(snapshot.paused)}"


def describe(entry: je.JournalEntry, verbose: int = 0) -> str | None:
    """Return a journal entry as a line of text; None if this verbosity does not show it."""
    match entry:
        case je.HostStateChanged():
            reason = f": {clean(entry.reason)}" if entry.reason else ""
            # Outside of a board "free" is the usable state.
            state = hostwords.word(entry.state, is_working=False)
            return f"host {clean(entry.host)} {clean(state)}{reason}"
        case je.AttemptFailed():
            # Causes such as a pause are told once, not for each page.
            if entry.kind in UNCHARGED and not verbose:
                return None
            where = f"page {entry.page} failed on {clean(entry.host)}"
            return f"{where} ({entry.kind}): {clean(entry.reason)}"
        case je.PageFailed():
            # Each host once, in the order of the attempts.
            hosts = clean(", ".join(dict.fromkeys(entry.hosts)))
            if not hosts:  # no host is to blame: the reason is not an attempt's
                return f"page {entry.page} failed ({entry.kind}): {clean(entry.reason)}"
            return f"page {entry.page} failed after {count(entry.attempts, 'attempt')} on {hosts}"
        case je.PageDelivered() | je.PageSuspected() if entry.diagnostics:
            return f"page {entry.page} suspect: {clean(entry.diagnostics[0])}"
        case _:
            # Entries about the storage are shown always, details only with -v.
            return _describe_storage(entry) or (_describe_detail(entry) if verbose else None)


def _describe_storage(entry: je.JournalEntry) -> str | None:
    """Return an entry about the document or the storage as text; None for any other."""
    match entry:
        case je.DocumentDiagnosed():
            return f"document: {clean('; '.join(entry.diagnostics))}"
        case je.StorageFailed():
            found = Pause.of(entry)
            return f"paused {pause(found.since, found.until)}: storage failed: {clean(found.reason)}"
        case je.PageWaits():
            found = Pause.of(entry)
            until = f" until {clock_time(found.until)}" if found.until else ""
            return f"page {entry.page} waits{until}: {clean(found.reason)}"
        case je.StorageSuspected():
            found = Pause.of(entry)
            return f"no page is sent for {duration(entry.waits)}: {clean(found.reason)}"
        case je.HostsAwaited() if entry.waits:
            return f"no host is usable: the run waits {duration(entry.waits)} for one"
        case je.StorageRecovered():
            return "storage works again, rendering continues"
        case je.SplitFailed():
            reason = clean(entry.reason)
            return (
                f"the document cannot be split; the rest is rendered from the whole document: {reason}"
            )
        case je.PoolReported():
            return queue_in_words(dataclasses.asdict(entry))
        case je.FolderNotSynced():
            return f"page names may be lost in a crash: cannot sync folder {clean(entry.reason)}"
        case _:
            return None


def _describe_detail(entry: je.JournalEntry) -> str | None:
    match entry:
        case je.HostConnected():
            return (
                f"host {clean(entry.host)}{_node(entry.node)}: {count(entry.cores, 'core')},"
                f" {clean(in_words(entry.ghostscript))}, Python {clean(entry.python)}"
            )
        case je.PilotsEnded() if entry.reason:
            return f"pool {clean(entry.pool)}: pilots refused: {clean(entry.reason)}"
        case je.PilotsSubmitted():
            return f"pool {clean(entry.pool)}: pilots submitted as {clean(entry.array or entry.name)}"
        case je.PageSent():
            return f"page {entry.page} sent to {clean(entry.host)}"
        case je.PageDelivered():
            return f"page {entry.page} delivered from {clean(entry.host)} in {entry.seconds:.2f} s"
        case _:
            return None


def _node(node: str) -> str:
    return f" on node {clean(node)}" if node else ""
