"""Hosts in the order of a key that changes often: the first one is found without looking at the others.

A heap with lazy deletion: a new key is pushed beside the older ones of its host, and entries that do not
count any more are dropped when they come to the front. Every operation costs the logarithm of the number
of hosts, averaged over many of them.
"""

from __future__ import annotations

import heapq

_MAX_STALE_SHARE = 3
"""The heap is built again when it has this many times as many entries as hosts."""


class RankedHosts:
    """Names of hosts with a key each, the smallest first. ``index``: decides between equal keys."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._current: dict[str, tuple[float, int, str]] = {}

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, name: str) -> bool:
        return name in self._current

    def key(self, name: str) -> float | None:
        """Return the key of a host; None if it is not ranked."""
        entry = self._current.get(name)
        return None if entry is None else entry[0]

    def put(self, name: str, key: float, index: int = 0) -> None:
        """Rank a host, or change its key."""
        entry = (key, index, name)
        if self._current.get(name) == entry:
            return
        self._current[name] = entry
        heapq.heappush(self._heap, entry)
        # A heap that is built again has no stale entries: so its size is bounded by that of the farm.
        if len(self._heap) > _MAX_STALE_SHARE * len(self._current) + 16:
            self._heap = list(self._current.values())
            heapq.heapify(self._heap)

    def discard(self, name: str) -> None:
        """Stop ranking the host."""
        self._current.pop(name, None)

    def first(self) -> tuple[float, int, str] | None:
        """Return the smallest key with its index and host; None without a host."""
        while self._heap:
            entry = self._heap[0]
            if self._current.get(entry[2]) == entry:
                return entry
            heapq.heappop(self._heap)
        return None

    def first_besides(self, name: str) -> tuple[float, int, str] | None:
        """Return the first entry of another host than this one."""
        entry = self.first()
        if entry is None or entry[2] != name:
            return entry
        # first() removes the host's entry from the heap as stale. So it is pushed again below: to put
        # it back into the dictionary alone would lose the host.
        self.discard(name)
        other = self.first()
        self._current[name] = entry
        heapq.heappush(self._heap, entry)
        return other
