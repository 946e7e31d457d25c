"""Which hosts' loads are worth a line in the journal: a few bytes a minute while nothing happens."""

from __future__ import annotations

from collections.abc import Iterable

from sshrender.core.records import Host

EVERY = 5.0
"""Seconds between two lines."""

CHANGE = 0.1
"""Threads per core that a load must have moved."""


class LoadSamples:
    """Remembers what was told last."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, float]] = {}
        self._due_at = EVERY / 2

    def due(self, hosts: Iterable[Host], now: float) -> dict[str, tuple[float, float]]:
        """By host, what others and what we run there, in threads per core; empty when nothing is due."""
        if now < self._due_at:
            return {}
        self._due_at = now + EVERY
        changed = {}
        for host in hosts:
            load = (round(host.others_per_core, 2), round(host.ours / max(host.cores, 1), 2))
            told = self._told.get(host.name, (0.0, 0.0))
            if max(abs(new - old) for new, old in zip(load, told, strict=True)) >= CHANGE:
                self._told[host.name] = changed[host.name] = load
        return changed
