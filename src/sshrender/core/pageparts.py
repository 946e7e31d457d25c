"""Counts the waiting pages of each part of the document, for hosts that get parts copied to them.

A part that no host has, and in which a page waits, is *untouched*. The first and the last of these are
found without a search.
"""

from __future__ import annotations

import heapq
from collections import Counter


class PageParts:
    """``size``: pages in each part; 0: the whole document is one part, and nothing is counted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._waiting: Counter[int] = Counter()
        self._staged: Counter[int] = Counter()
        self._lowest: list[int] = []
        self._highest: list[int] = []

    def of(self, number: int) -> int:
        """Return the number of the part that holds the page."""
        return (number - 1) // self.size if self.size else 0

    def numbers(self, part: int) -> range:
        """Return the numbers of the pages that a part has at most."""
        return range(part * self.size + 1, (part + 1) * self.size + 1)

    def count_waiting(self, number: int, change: int) -> None:
        """Take in that an unconstrained page began (1) or ceased (-1) to wait."""
        if self.size:
            self._count(self._waiting, self.of(number), change)

    def has_waiting(self, part: int) -> bool:
        """Return whether an unconstrained page of the part waits."""
        return self._waiting[part] > 0

    def count_staged(self, part: int, change: int) -> None:
        """Take in that one host more (1) or less (-1) has the part."""
        self._count(self._staged, part, change)

    def is_untouched(self, part: int) -> bool:
        """Return whether no host has the part, and a page of it waits."""
        return self._waiting[part] > 0 and not self._staged[part]

    def untouched(self, from_end: bool) -> int | None:
        """Return the first untouched part, or the last; None without one."""
        # heapq has no largest-first heap: parts are negated there.
        heap, sign = (self._highest, -1) if from_end else (self._lowest, 1)
        # Entries are not removed when a part ceases to be untouched. Each is removed at most once, so
        # this costs little on average.
        while heap and not self.is_untouched(sign * heap[0]):
            heapq.heappop(heap)
        return sign * heap[0] if heap else None

    def _count(self, counts: Counter[int], part: int, change: int) -> None:
        """Change a count. Entries of the heaps that do not count any more are dropped when read."""
        was_untouched = self.is_untouched(part)
        counts[part] += change
        if self.is_untouched(part) and not was_untouched:
            # In both heaps: either end may be asked for. An entry may be there twice, which changes
            # nothing.
            heapq.heappush(self._lowest, part)
            heapq.heappush(self._highest, -part)
