"""``--progress jsonl``: write each journal entry as a line, for programs that follow a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TextIO

from sshrender.core.snapshot import Snapshot
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.journalformat import as_fields, timestamp
from sshrender.views import safeprint
from sshrender.views.plain import progress_line
from sshrender.views.rate import Rate, follow, of_run

STATUS_INTERVAL = 5.0
"""Seconds between two status lines, also while nothing is delivered: a program then knows that the run
lives."""


class JsonLinesView:
    """Writes entries as the journal has them, and a status line now and then.

    ``job``: the name that each line has, because several documents may share the stream.
    """

    def __init__(self, stream: TextIO, job: str = "") -> None:
        self._stream = stream
        self._job = {"job": job} if job else {}
        self._rate = Rate()
        self._next: float | None = None
        self._status: dict[str, Any] = {}
        self._last = ""

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry."""
        self._write({**as_fields(entry), **self._job})

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Write a status line if one is due."""
        # Before the line is made, so that its speed includes this snapshot.
        follow(self._rate, snapshot, now)
        self._status = status(snapshot, self._rate, now)
        self._last = progress_line(snapshot, self._rate, now)
        # The first snapshot gives a line at once: a program knows that the run has begun.
        if self._next is None or now >= self._next:
            self._next = now + STATUS_INTERVAL
            self.print_line(self._last)

    def print_line(self, line: str) -> None:
        """Write a line of text as an entry of the type ``status``, with the numbers known by now."""
        # The numbers of the last snapshot, so that every status line has them.
        self._write({**_event("status"), **self._job, **self._status, "text": line})
        self._last = ""

    def close(self) -> None:
        """Write how the run stood at its end, if that has not been written."""
        if self._last:
            self.print_line(self._last)
        self._stream.flush()

    def _write(self, fields: Mapping[str, Any]) -> None:
        safeprint.as_json(fields, self._stream)


def status(snapshot: Snapshot, rate: Rate, now: float) -> dict[str, Any]:
    """Return how far a run is. ``rate`` is in pages per second; None while it cannot be estimated."""
    speed, left = of_run(rate, snapshot, now)
    delivered = snapshot.done + snapshot.suspect
    return {
        "percent": round(100 * delivered / snapshot.total, 1) if snapshot.total else 100.0,
        "pages": {
            "total": snapshot.total,
            "done": snapshot.done,
            "suspect": snapshot.suspect,
            "failed": snapshot.failed,
            "missing": snapshot.missing,
        },
        "rate": None if speed is None else round(speed, 3),
        "seconds_left": _rounded(left),
        "hosts_rendering": sum(host.running > 0 for host in snapshot.hosts),
        "paused": snapshot.paused,
        "held": snapshot.held,
        "no_host_seconds_left": _rounded(snapshot.no_host_left),
        "withheld": snapshot.withheld,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _event(kind: str) -> dict[str, Any]:
    return {"schema": 1, "type": kind, "time": timestamp(time.time())}
