"""Compute pages per second and the remaining time from the last half minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sshrender.job.journal import journalentries as je
from sshrender.views import hostwords

if TYPE_CHECKING:
    from sshrender.core.snapshot import Snapshot

WINDOW = 30.0
"""Seconds that the average covers: long enough to be steady, short enough to show that a host left."""

MIN_SPAN = 2.0
"""Seconds: an average over less than this says nothing."""


class Rate:
    """A moving average. ``note`` feeds it, ``per_second`` and ``left`` read it."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, now: float, delivered: int) -> None:
        """Record that the run has delivered ``delivered`` pages so far."""
        # Only changes are noted, so that the window holds few points.
        if not self._points or self._points[-1][1] != delivered:
            self._points.append((now, delivered))
        # Two points stay in any case: a slow job still has a rate.
        while len(self._points) > 2 and now - self._points[0][0] > WINDOW:
            self._points.popleft()

    def per_second(self, now: float) -> float | None:
        """Return pages per second; None while there is too little to average."""
        # Without a point the rate is unknown.
        then, before = self._points[0] if self._points else (now, 0)
        if len(self._points) < 2 or now - then < MIN_SPAN:
            return None
        # To the present and not to the last page, so the rate falls while nothing comes.
        return (self._points[-1][1] - before) / max(now - then, 0.001)

    def left(self, now: float, missing: int) -> float | None:
        """Return the seconds that ``missing`` pages will take; None when this cannot be estimated."""
        rate = self.per_second(now)
        return missing / rate if rate else None


def of_run(rate: Rate, snapshot: Snapshot, now: float) -> tuple[float | None, float | None]:
    """Return pages per second and the seconds left of a run; None if they cannot be estimated.

    While the run is paused or held, or no host is usable, the last half minute would promise an end that
    does not come.
    """
    if snapshot.paused or snapshot.held or hostwords.none_usable_in(snapshot):
        return None, None
    return rate.per_second(now), rate.left(now, snapshot.missing)


class JournalRate:
    """The rate of the last run in a journal. ``following`` passes the entries on that it reads."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._delivered = 0
        self._is_paused = False
        self._newest = 0.0

    def following(self, entries: Iterable[je.JournalEntry]) -> Iterator[je.JournalEntry]:
        """Yield each entry, after it was counted. Raises what ``entries`` raises."""
        for entry in entries:
            self._take(entry)
            yield entry

    def _take(self, entry: je.JournalEntry) -> None:
        match entry:
            case je.RunStarted():
                # Pages of earlier runs say nothing about the speed of this one.
                self._rate, self._delivered, self._is_paused = Rate(), 0, False
            case je.StorageFailed():
                self._is_paused = True
            case je.StorageRecovered():
                self._is_paused = False
            # A page without a host was adopted after a crash.
            case je.PageDelivered(host=host) if host:  # not one that an earlier run published
                self._newest = entry.moment.timestamp()
                self._delivered += 1
                self._rate.note(self._newest, self._delivered)
            case _:
                pass

    def left(self, now: float, missing: int) -> float | None:
        """Return the seconds that ``missing`` pages will take; None when this cannot be estimated.

        ``now``: by this machine's clock. The coordinator's may differ: as far as it does, the moment of
        the last page counts.
        """
        if self._is_paused:
            return None
        # At least the moment of the last page, at most a window after it.
        return self._rate.left(min(max(now, self._newest), self._newest + WINDOW), missing)
