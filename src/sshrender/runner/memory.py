"""How many renderers this host has memory for, and who has to go when it runs short.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict

from sshrender.runner import hostfacts

TYPICAL = 256 << 20
"""Bytes that are counted for a slot: a warm renderer has 28 MB when it starts, and had 217 MB after
1,321 pages (measured); one that grows further is replaced between two pages."""

SPARED = 0.05
"""The part of a host's memory that is left, between these bounds, to whoever works there."""

LEAST_SPARED, MAX_SPARED = 64 << 20, 1 << 30

SWAPPING = 32 << 20
"""Bytes that went to the swap since the last look, which is a host that runs short, too."""

BREATH = 3.0
"""Seconds after a renderer had to go until the next one may have to."""


def slots(cores: int, free: int, each: int = TYPICAL) -> int:
    """As many as there are cores, as far as the free memory (bytes; 0: unknown) goes; at least one."""
    return max(1, min(cores, free // each)) if free else max(1, cores)


class Guard:
    """Shared by a host's slots: told how large each renderer is, answers which one has to go.

    The only one at work never has to: what one page may take is the page memory's matter.
    """

    def __init__(self, read: Callable[[str], int] = hostfacts.memory) -> None:
        self._read = read
        self._spared = min(max(SPARED * read("MemTotal"), LEAST_SPARED), MAX_SPARED)
        self._sizes: Dict[object, int] = {}
        self._lock = threading.Lock()
        self._quiet_until = 0.0
        self._swap_free = read("SwapFree")

    def must_go(self, renderer: object, size: int, now: float) -> bool:
        """A renderer at work is so many bytes large at ``now`` (seconds): must it end for the others?"""
        with self._lock:
            self._sizes[renderer] = size
            if now < self._quiet_until or len(self._sizes) < 2 or not self._is_short():
                return False
            if max(self._sizes, key=self._sizes.__getitem__) is not renderer:
                return False
            self._quiet_until = now + BREATH
            return True

    def rests(self, renderer: object) -> None:
        """It draws nothing now."""
        with self._lock:
            self._sizes.pop(renderer, None)

    def _is_short(self) -> bool:
        swap_before, self._swap_free = self._swap_free, self._read("SwapFree")
        available = self._read("MemAvailable")
        if available == 0:
            return False  # unknown
        is_swapping = swap_before - self._swap_free > SWAPPING and available < 4 * self._spared
        return available < self._spared or is_swapping


class Backoff:
    """How long a slot sits out after its renderer had to go: longer each time."""

    FIRST = 20.0

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = self.FIRST

    def begin(self) -> None:
        """The renderer had to go."""
        self._until = time.monotonic() + self._pause
        self._pause *= 2

    def is_over(self) -> bool:
        """Whether the slot may work."""
        return time.monotonic() >= self._until
