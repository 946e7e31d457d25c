"""Replay the states of a running job's pilots in the queues of batch systems. Pure."""

from __future__ import annotations

from dataclasses import asdict

from sshrender.job.journal import journalentries as je
from sshrender.views.pooltable import queue_in_words

MAX_POOLS = 100
"""Pools that are kept: another user may have written the journal."""


class PoolReports:
    """The latest report of each pool of the run, none after its end. See Replay."""

    def __init__(self) -> None:
        self.latest: dict[str, je.PoolReported] = {}

    def take(self, entry: je.JournalEntry) -> None:
        """Apply the next entry of the journal."""
        match entry:
            case je.RunStarted() | je.RunEnded():
                self.latest.clear()
            case je.PoolReported(pool=pool) if pool in self.latest or len(self.latest) < MAX_POOLS:
                self.latest[pool] = entry
            case _:
                pass

    def in_words(self) -> str:
        """Return how many pilots of each pool wait and run, and why they wait, in one line."""
        return "  ".join(queue_in_words(asdict(report)) for report in self.latest.values())

    def wait(self, in_work: int) -> str:
        """Return why no page is in work while pilots wait in the queue; else empty."""
        return "" if in_work else je.waits_in_queue(self.latest.values())
