"""Compute pages per second and the remaining time from the last half minute."""

from __future__ import annotations

from collections import deque

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
        if not self._points or self._points[-1][1] != delivered:
            self._points.append((now, delivered))
        # Two points stay in any case: a slow job still has a rate.
        while len(self._points) > 2 and now - self._points[0][0] > WINDOW:
            self._points.popleft()

    def per_second(self, now: float) -> float | None:
        """Return pages per second; None while there is too little to average."""
        then, before = self._points[0] if self._points else (now, 0)
        if len(self._points) < 2 or now - then < MIN_SPAN:
            return None
        return (self._points[-1][1] - before) / max(now - then, 0.001)

    def left(self, now: float, missing: int) -> float | None:
        """Return the seconds that ``missing`` pages will take; None when this cannot be estimated."""
        rate = self.per_second(now)
        return missing / rate if rate else None
