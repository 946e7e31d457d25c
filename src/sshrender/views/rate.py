"""Compute pages per second and the remaining time from the last half minute of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from sshrender.job.journal import journalentries as je
from sshrender.job.queue.requestoperations import Effect, effect_of
from sshrender.views import hostwords

if TYPE_CHECKING:
    from sshrender.core.snapshot import Snapshot

WINDOW = 30.0
"""Seconds that the average covers: long enough to be steady, short enough to show that a host left."""

MIN_SPAN = 2.0
"""Seconds: an average over less than this says nothing."""


class Rate:
    """A moving average. ``note`` feeds it, ``per_second`` and ``left`` read it.

    The time in which the run stood still does not count, so that the first page after it does not seem
    to have taken all of it.
    """

    def __init__(self) -> None:
        # Their times are those of the clock that stands still with the run.
        self._points: deque[tuple[float, int]] = deque()
        self._stood_still = 0.0
        self._still_since: float | None = None

    def stand_still(self, now: float, is_still: bool) -> None:
        """Record that no page can come from now on, or that pages can come again."""
        if is_still and self._still_since is None:
            self._still_since = now
        elif not is_still and self._still_since is not None:
            self._stood_still += max(0.0, now - self._still_since)
            self._still_since = None

    def note(self, now: float, delivered: int) -> None:
        """Record that the run has delivered ``delivered`` pages so far."""
        at = self._moving(now)
        # Only changes are noted, so that the window holds few points.
        if not self._points or self._points[-1][1] != delivered:
            self._points.append((at, delivered))
        # Two points stay in any case: a slow job still has a rate.
        while len(self._points) > 2 and at - self._points[0][0] > WINDOW:
            self._points.popleft()

    def _moving(self, now: float) -> float:
        """Return a time on the clock that stands still with the run."""
        return (now if self._still_since is None else min(now, self._still_since)) - self._stood_still

    def per_second(self, now: float) -> float | None:
        """Return pages per second; None while there is too little to average."""
        return self._until(self._moving(now))

    def _until(self, at: float) -> float | None:
        # Without a point the rate is unknown.
        then, before = self._points[0] if self._points else (at, 0)
        if len(self._points) < 2 or at - then < MIN_SPAN:
            return None
        # To the present and not to the last page, so the rate falls while nothing comes.
        return (self._points[-1][1] - before) / max(at - then, 0.001)

    def left(self, now: float, missing: int) -> float | None:
        """Return the seconds that ``missing`` pages will take; None when this cannot be estimated."""
        rate = self.per_second(now)
        return missing / rate if rate else None

    def left_by_another_clock(self, now: float, missing: int) -> float | None:
        """Return ``left`` where ``now`` is of another clock than the pages' times.

        As far as the clocks differ, the moment of the last page counts, and at most a window after it.
        """
        if not self._points:
            return None
        newest = self._points[-1][0]
        rate = self._until(min(max(self._moving(now), newest), newest + WINDOW))
        return missing / rate if rate else None


def stands_still(
    *, is_paused: bool, is_working: bool, is_held: bool, has_no_host: Callable[[], object]
) -> bool:
    """Return whether no page can come. ``is_working``: pages in work are still delivered during a hold.

    ``has_no_host`` is called only if the rest does not decide: most entries are about pages in work.
    """
    return is_paused or (not is_working and (is_held or bool(has_no_host())))


def follow(rate: Rate, snapshot: Snapshot, now: float) -> None:
    """Feed the rate with a snapshot of the run."""
    is_still = stands_still(
        is_paused=bool(snapshot.paused),
        is_working=bool(snapshot.running),
        is_held=bool(snapshot.held),
        has_no_host=lambda: hostwords.none_usable_in(snapshot),
    )
    rate.stand_still(now, is_still)
    rate.note(now, snapshot.delivered_here)


def of_run(rate: Rate, snapshot: Snapshot, now: float) -> tuple[float | None, float | None]:
    """Return pages per second and the seconds left of a run; None if they cannot be estimated.

    While the run is paused or held, or no host is usable, the last half minute would promise an end that
    does not come.
    """
    if snapshot.paused or snapshot.held or hostwords.none_usable_in(snapshot):
        return None, None
    return rate.per_second(now), rate.left(now, snapshot.missing)


class _Activity:
    """What decides whether a run stands still, from the entries of its journal."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self.is_paused = self._is_held = False
        self._states = dict.fromkeys(hosts, "connecting")
        self._in_work: set[str] = set()

    def take(self, entry: je.JournalEntry) -> None:
        match entry:
            case je.StorageFailed():
                self.is_paused = True
            case je.StorageRecovered():
                self.is_paused = False
            case je.HostStateChanged():
                self._states[entry.host] = entry.state
            case je.PageSent():
                self._in_work.add(entry.attempt)
            case je.AttemptEntry() | je.PageDelivered():  # all others end an attempt
                self._in_work.discard(entry.attempt)
            case je.RequestHandled(is_late=False):
                effect = effect_of(entry.op)
                if effect in (Effect.HELD, Effect.RELEASED):
                    self._is_held = effect is Effect.HELD
            case _:
                pass

    @property
    def is_still(self) -> bool:
        """Whether no page can come."""
        return stands_still(
            is_paused=self.is_paused,
            is_working=bool(self._in_work),
            is_held=self._is_held,
            has_no_host=lambda: hostwords.none_usable(self._states.values()),
        )


class JournalRate:
    """The rate of the last run in a journal. ``following`` passes the entries on that it reads."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._delivered = 0
        self._activity = _Activity()

    def following(self, entries: Iterable[je.JournalEntry]) -> Iterator[je.JournalEntry]:
        """Yield each entry, after it was counted. Raises what ``entries`` raises."""
        for entry in entries:
            self._take(entry)
            yield entry

    def _take(self, entry: je.JournalEntry) -> None:
        if isinstance(entry, je.RunStarted):
            # Pages of earlier runs say nothing about the speed of this one.
            self._rate, self._delivered, self._activity = Rate(), 0, _Activity(entry.hosts)
            return
        # A page without a host was adopted after a crash: an earlier run published it.
        if isinstance(entry, je.PageDelivered) and entry.host:
            self._delivered += 1
            self._rate.note(entry.moment.timestamp(), self._delivered)
        self._activity.take(entry)
        self._rate.stand_still(entry.moment.timestamp(), self._activity.is_still)

    def left(self, now: float, missing: int) -> float | None:
        """Return the seconds that ``missing`` pages will take; None when this cannot be estimated.

        ``now``: by this machine's clock, which may differ from the coordinator's.
        """
        return None if self._activity.is_paused else self._rate.left_by_another_clock(now, missing)
