"""Decides which hosts' loads to record: a few bytes a minute while nothing changes."""

from __future__ import annotations

from collections.abc import Iterable

from sshrender.core.records import Host

SAMPLE_INTERVAL = 5.0
"""Seconds between two entries."""

MIN_CHANGE = 0.1
"""Threads per core by which a load must have changed."""


class LoadSamples:
    """Remembers the last recorded loads."""

    def __init__(self) -> None:
        self._recorded: dict[str, tuple[float, float]] = {}
        self._due_at = SAMPLE_INTERVAL / 2

    def due(self, hosts: Iterable[Host], now: float) -> dict[str, tuple[float, float]]:
        """Return changed loads by host (others', ours) in threads per core; empty if none is due."""
        if now < self._due_at:
            return {}
        self._due_at = now + SAMPLE_INTERVAL
        changed = {}
        for host in hosts:
            load = (round(host.others_per_core, 2), round(host.ours / max(host.cores, 1), 2))
            recorded = self._recorded.get(host.name, (0.0, 0.0))
            if max(abs(new - old) for new, old in zip(load, recorded, strict=True)) >= MIN_CHANGE:
                self._recorded[host.name] = changed[host.name] = load
        return changed
