"""Decides how many renderers the host has memory for, and which one ends when memory runs short.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict

from sshrender.runner.host import hostfacts

TYPICAL = 256 << 20
"""Bytes that are assumed for each slot: a warm renderer had 28 MB at its start and 217 MB after 1,321
pages (measured). A renderer that grows larger is replaced between two pages."""

RESERVED = 0.05
"""Fraction of the host's memory that is left to other programs, between MIN_RESERVED and
MAX_RESERVED."""

MIN_RESERVED, MAX_RESERVED = 64 << 20, 1 << 30

SWAP_GROWTH = 32 << 20
"""Bytes that were swapped out since the last check: a host that swaps is short of memory, too."""

COOLDOWN = 3.0
"""Seconds after a renderer was ended before another one may be, so that its memory shows as free."""


def slots(cores: int, free: int, each: int = TYPICAL) -> int:
    """Return the number of slots: one per core, as far as free memory (bytes; 0: unknown) allows."""
    # At least one: a small host renders slowly rather than not at all.
    return max(1, min(cores, free // each)) if free else max(1, cores)


class Guard:
    """Watches the memory of a host's renderers, and picks the largest one to end when memory runs short.

    All slots share one guard. A renderer that works alone is never ended by it: the limit for a single
    page is the setting page_memory.
    """

    def __init__(self, read: Callable[[str], int] = hostfacts.memory) -> None:
        self._read = read
        # MemTotal does not change, so the reserve is computed once.
        self._reserved = min(max(RESERVED * read("MemTotal"), MIN_RESERVED), MAX_RESERVED)
        self._sizes: Dict[object, int] = {}
        self._lock = threading.Lock()
        # 0.0: before any moment of the monotonic clock.
        self._quiet_until = 0.0
        self._swap_free = read("SwapFree")

    def must_end(self, renderer: object, size: int, now: float) -> bool:
        """Record the size in bytes of a renderer at work. Return whether it must end for the others."""
        with self._lock:
            self._sizes[renderer] = size
            # One renderer alone is never ended: nothing else of ours would get the memory.
            if now < self._quiet_until or len(self._sizes) < 2 or not self._is_short():
                return False
            # Each renderer asks about itself only, from its own thread; the largest one answers for all.
            if max(self._sizes, key=self._sizes.__getitem__) is not renderer:
                return False
            # Its pages become free some time after its end, and a second renderer must not end for the
            # same shortage.
            self._quiet_until = now + COOLDOWN
            return True

    def finished(self, renderer: object) -> None:
        """Record that a renderer renders no page now."""
        with self._lock:
            self._sizes.pop(renderer, None)

    def _is_short(self) -> bool:
        # Under the lock: both values belong to one moment, whichever thread asks.
        swap_before, self._swap_free = self._swap_free, self._read("SwapFree")
        available = self._read("MemAvailable")
        if available == 0:
            return False  # unknown
        # Swap alone does not count: a host with much free memory swaps out what is never used.
        is_swapping = swap_before - self._swap_free > SWAP_GROWTH and available < 4 * self._reserved
        return available < self._reserved or is_swapping


class Backoff:
    """The time that a slot pauses after its renderer was ended: it doubles each time."""

    FIRST = 20.0
    """Seconds."""

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = self.FIRST

    def begin(self) -> None:
        """Start a pause, because the renderer was ended."""
        self._until = time.monotonic() + self._pause
        # It never shrinks within a run: a host that was short twice is likely to be so again.
        self._pause *= 2

    def is_over(self) -> bool:
        """Return whether the slot may work again."""
        return time.monotonic() >= self._until
