"""Computes how long a job took: the times of its runs, without those that found nothing to do. Pure.

Days may lie between two runs, and each later ``render`` of a complete job is a run of a moment: neither
is part of how long the job took.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

from sshrender.job.journal import journalentries as je

# Entries of requests and states also come when there is nothing to do.
_WORK = (je.PageSent, je.PageDelivered, je.AttemptFailed, je.PageFailed, je.PageSuspected)
"""Entries that show that a run had something to do."""


_OUTSIDE_OF_RUNS = (je.RequestHandled, je.RequestsRefused)


class _Run(NamedTuple):
    """A run that did something. ``before``: seconds of the runs before it."""

    start: float
    end: float
    before: float


class RunTimes:
    """Adds up the runs of a journal. Times in seconds since 1970, by the coordinator's clock."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._start: float | None = None
        self._last = 0.0
        self.has_worked = False
        """Whether the present or last run had something to do."""

    def take(self, entry: je.JournalEntry, now: float) -> None:
        """Apply the next entry, of the time ``now``."""
        if isinstance(entry, je.RunStarted):
            self._end()
            self._start, self.has_worked = now, False
        elif isinstance(entry, _WORK):
            # A journal whose beginning is lost: the run starts with its first work.
            self._start = now if self._start is None else self._start
            self.has_worked = True
        # A request may be handled long after a run that crashed.
        # Such entries do not prolong a run.
        if self._start is not None and not isinstance(entry, _OUTSIDE_OF_RUNS):
            self._last = now
        if isinstance(entry, je.RunEnded):
            self._last = now
            self._end()

    def _end(self) -> None:
        if self._start is not None and self.has_worked:
            # Clocks may go back within a run, which then has no length.
            self._runs.append(_Run(self._start, max(self._start, self._last), self._before))
        self._start = None

    @property
    def _before(self) -> float:
        if not self._runs:
            return 0.0
        last = self._runs[-1]
        return last.before + last.end - last.start

    def seconds(self, now: float | None = None) -> float:
        """Return how long the job was worked on. ``now``: the time, if its run continues."""
        if self._start is None or not self.has_worked:
            return self._before
        return self._before + max(0.0, (self._last if now is None else now) - self._start)

    def at(self, moment: float) -> float:
        """Return how long the job had been worked on at a moment: its place on a timeline."""
        # In the run that continues.
        if self._start is not None and self.has_worked and moment >= self._start:
            return self._before + moment - self._start
        # Runs are in the order of their start, so the last one before the moment can be searched for.
        index = bisect.bisect_right(self._runs, moment, key=lambda run: run.start) - 1
        if index < 0:
            return 0.0
        run = self._runs[index]
        # Between two runs time stands still.
        return run.before + min(moment, run.end) - run.start
