"""What the scheduler remembers of hosts, pages and attempts."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import FailureKind, HostState, PageState

SHORTEST = 0.001
"""Seconds that a page takes at least, whatever a host says."""


@dataclass(slots=True)
class Attempt:
    """One try at one page on one host."""

    name: str
    page: int
    host: str
    sent_at: float
    started_at: float | None = None
    rendered_at: float | None = None
    seconds: float = 0.0
    is_revoking: bool = False
    is_killed: bool = False
    called_back: str = ""
    """Why it was revoked or killed."""
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A line of a page's story."""

    host: str
    kind: FailureKind
    reason: str


@dataclass(slots=True)
class Page:
    """One page of the job."""

    number: int
    state: PageState = PageState.WAITING
    failures: list[Failure] = field(default_factory=list)
    losses: int = 0
    attempts: int = 0
    host: str = ""
    said: tuple[str, ...] = ()

    def failed_on(self, host: str) -> bool:
        """Whether this page was charged with a failure on that host."""
        return any(failure.host == host for failure in self.failures)


@dataclass(slots=True)
class Host:
    """One host of the inventory, as this job knows it."""

    plan: HostPlan
    state: HostState = HostState.UNKNOWN
    reason: str = ""
    refusal: str = ""
    is_connected: bool = False
    is_finishing: bool = False
    slots: int = 0
    cores: int = 1
    others: float = 0.0
    ours: float = 0.0
    heard_at: float = 0.0
    in_flight: dict[str, Attempt] = field(default_factory=dict)
    proving: int = 0
    streak: set[int] = field(default_factory=set)
    storage_strikes: int = 0
    quarantines: int = 0
    losses: int = 0
    retry_at: float | None = None
    yielding_since: float | None = None
    yields_because: str = ""
    drained: str = ""
    """Why it is out of use by hand; empty when it is not."""
    stalled_since: float | None = None
    pages_done: int = 0
    failures: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=101))
    ghostscript: str = ""
    pace: float | None = None
    """Seconds a page takes here, smoothed."""

    @property
    def name(self) -> str:
        """The name in the inventory."""
        return self.plan.name

    @property
    def others_per_core(self) -> float:
        """Other people's active threads per core."""
        return self.others / max(self.cores, 1)

    def room(self, policy: Policy) -> int:
        """How many more attempts it takes: its slots, and a short queue for each.

        What it reported counts too once that is more than can be proved in a moment, and a host that
        has delivered nothing yet gets little: its word for its cores and its pages is all there is.
        """
        depth = 1
        if self.pace:
            depth = min(max(1, math.ceil(policy.queue_seconds / self.pace)), policy.queue_longest)
        most, unproved = self.slots * (1 + depth), policy.unproved * self.slots
        if not self.pages_done:
            unproved = policy.probation
            most = min(most, policy.probation) if self.plan.slots is None else most
        return most - len(self.in_flight) - max(0, self.proving - unproved)

    def note_pace(self, seconds: float) -> None:
        """Take in how long a page took; the recent ones count most."""
        seconds = max(seconds, SHORTEST)
        self.recent.append(seconds)
        self.pace = seconds if self.pace is None else self.pace + (seconds - self.pace) / 4

    def is_stalled(self) -> bool:
        """Whether it holds pages and draws none."""
        held = self.in_flight.values()
        return bool(held) and all(attempt.started_at is None for attempt in held)

    def free_slots(self) -> int:
        """Slots that have nothing at all to do."""
        return max(0, self.slots - len(self.in_flight))
