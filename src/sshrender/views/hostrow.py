"""A host of a job as its journal shows it: its state, its load, and the attempts that it holds. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from sshrender.job.journal.storagepause import Pause
from sshrender.views import hostwords


@dataclass(slots=True)
class InFlight:
    """An attempt that a host holds. ``begun``: when a slot was free for it, as far as known."""

    attempt: str
    page: int
    host: str
    since: float
    begun: float | None = None


@dataclass(slots=True)
class HostRow:
    """One host. Loads are threads per core."""

    name: str
    state: str = "unknown"
    reason: str = ""
    slots: int = 0
    cores: int = 0
    others: float = 0.0
    ours: float = 0.0
    pages: int = 0
    failures: int = 0
    hedged: int = 0
    seconds: float = 0.0
    ghostscript: str = ""
    node: str = ""
    """The node of a pilot of a batch system."""
    flights: dict[str, InFlight] = field(default_factory=dict)
    reopening: dict[int, float] = field(default_factory=dict)
    """Times since when slots open the document again, by the page after which they do."""
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=101))

    @property
    def is_working(self) -> bool:
        """Whether it renders a page now."""
        return bool(self.flights)

    @property
    def is_free(self) -> bool:
        """Whether it could render a page, and renders none."""
        return self.state == "idle" and not self.is_working

    def in_words(self, withheld: Pause | None) -> str:
        """Return its state in words. ``withheld``: the time in which no page is sent, if that is now."""
        return hostwords.word(self.state, is_working=self.is_working, is_withheld=withheld is not None)

    def begin(self, now: float) -> None:
        """Mark the oldest attempts, as many as there are slots, as being rendered."""
        # A slot that opens the document again renders nothing meanwhile. None: the number of slots is
        # not known.
        free = max(0, self.slots - len(self.reopening)) if self.slots else None
        # Attempts are held in the order in which they were sent, and the runner starts them in that
        # order.
        for flight in islice(self.flights.values(), free):
            if flight.begun is None:
                flight.begun = now

    @property
    def running(self) -> int:
        """Slots at work: a host holds more attempts than it renders at a time."""
        return min(len(self.flights), self.slots or len(self.flights))

    @property
    def median(self) -> float | None:
        """The median of seconds per page, of the last hundred pages."""
        return statistics.median(self.recent) if self.recent else None
