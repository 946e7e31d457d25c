"""Decides which hosts' loads to record: a few bytes a minute while nothing changes."""

from __future__ import annotations

from collections.abc import Collection

from sshrender.core.records import Host

SAMPLE_INTERVAL = 5.0
"""Seconds between two entries."""

HOSTS_PER_INTERVAL = 100
"""Hosts up to which that holds. On more hosts entries are longer, and come less often: on busy ones the
loads would otherwise be the larger part of the journal."""

MIN_CHANGE = 0.1
"""Smallest change of a load that is recorded, in threads per core."""


class LoadSamples:
    """Remembers the last recorded loads."""

    def __init__(self) -> None:
        self._recorded: dict[str, tuple[float, float]] = {}
        # Half an interval after the start: by then the first heartbeats are there.
        self._due_at = SAMPLE_INTERVAL / 2

    def due(self, hosts: Collection[Host], now: float) -> dict[str, tuple[float, float]]:
        """Return changed loads by host (others', ours) in threads per core; empty if none is due."""
        if now < self._due_at:
            return {}
        self._due_at = now + SAMPLE_INTERVAL * max(1.0, len(hosts) / HOSTS_PER_INTERVAL)
        changed = {}
        for host in hosts:
            # Rounded as they are recorded, so that a reader of the journal compares the same values.
            load = (round(host.others_per_core, 2), round(host.ours / max(host.cores, 1), 2))
            recorded = self._recorded.get(host.name, (0.0, 0.0))
            if max(abs(new - old) for new, old in zip(load, recorded, strict=True)) >= MIN_CHANGE:
                self._recorded[host.name] = changed[host.name] = load
        return changed
