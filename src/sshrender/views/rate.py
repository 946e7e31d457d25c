"""Pages a second and the time that is left, of what has happened lately."""

from __future__ import annotations

from collections import deque

WINDOW = 30.0
"""Seconds looked back on: long enough to be calm, short enough to notice a host that left."""

SHORTEST = 2.0
"""Seconds below which nobody would believe the figure."""


class Rate:
    """Feed it how many pages were delivered by when."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, now: float, delivered: int) -> None:
        """``delivered`` pages so far in this run."""
        if not self._points or self._points[-1][1] != delivered:
            self._points.append((now, delivered))
        while len(self._points) > 2 and now - self._points[0][0] > WINDOW:
            self._points.popleft()

    def per_second(self, now: float) -> float | None:
        """None until there is something to go by."""
        then, before = self._points[0] if self._points else (now, 0)
        if len(self._points) < 2 or now - then < SHORTEST:
            return None
        return (self._points[-1][1] - before) / max(now - then, 0.001)

    def left(self, now: float, missing: int) -> float | None:
        """Seconds until ``missing`` pages are there; None when nobody can tell."""
        rate = self.per_second(now)
        return missing / rate if rate else None
