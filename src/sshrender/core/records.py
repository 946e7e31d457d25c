"""What the scheduler remembers of hosts, pages and attempts."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.journalbudget import JournalBudget
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import AttemptState, FailureKind, HostState, PageState

MIN_PAGE_SECONDS = 0.001
"""Seconds that a page takes at least, whatever a host says."""

_SMOOTHING = 4
"""The newest page counts a quarter of what is known of a host's speed."""


@dataclass(slots=True)
class Attempt:
    """One try at one page on one host. Times on the scheduler's clock."""

    name: str
    page: int
    host: str
    sent_at: float
    started_at: float | None = None
    rendered_at: float | None = None
    revoked_at: float | None = None
    killed_at: float | None = None
    kept_at: float | None = None
    """When the host diagnostics that it was asked for the attempt too late."""
    seconds: float = 0.0
    is_hedged: bool = False
    """Whether another host was quicker."""
    recall_reason: str = ""
    """Why it was revoked or killed."""
    is_return_uncharged: bool = True
    """Whether its return counts for nothing in its host's budget, where it was called back."""
    fingerprint: HostFingerprint | None = None
    """The fingerprint of its host when it was sent."""
    diagnostics: tuple[str, ...] = ()

    @property
    def is_revoking(self) -> bool:
        """Whether it was asked for back, if the host has not begun it."""
        return self.revoked_at is not None

    @property
    def is_killed(self) -> bool:
        """Whether the host was told to end it."""
        return self.killed_at is not None

    @property
    def is_recalled(self) -> bool:
        """Whether it is not expected to end with a page."""
        return self.is_killed or self.is_revoking

    @property
    def state(self) -> AttemptState:
        """What the host may say of it now (states.AttemptState)."""
        if self.rendered_at is not None:
            return AttemptState.VERIFYING
        return AttemptState.SENT if self.started_at is None else AttemptState.STARTED

    def unanswered_since(self) -> float | None:
        """When the host was asked for it back, or told to end it, if it has not answered that."""
        if self.rendered_at is not None or self.kept_at is not None:
            return None
        if self.killed_at is not None:
            return self.killed_at
        return self.revoked_at if self.started_at is None else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A line of a page's story."""

    host: str
    kind: FailureKind
    reason: str


@dataclass(slots=True)
class Page:
    """One page of the job. ``live`` are its attempts that have not ended, by name."""

    number: int
    state: PageState = PageState.WAITING
    cost: float = 1.0
    """How much there is to draw, in pages of A4."""
    failures: list[Failure] = field(default_factory=list)
    disconnects: int = 0
    lost_on: set[str] = field(default_factory=set)
    """Hosts that were lost with it while a slot rendered it."""
    attempts: int = 0
    renderer: int = 0
    """Which of the job's recipes draws it."""
    failures_before_fallback: int = 0
    """How many of its failures were another renderer's."""
    live: dict[str, Attempt] = field(default_factory=dict)
    recalled_at: float = -math.inf
    """When it was last called back for a slot that had nothing."""
    pinned_to: frozenset[str] | None = None
    """The hosts that it is pinned to; None: any."""
    host: str = ""
    diagnostics: tuple[str, ...] = ()
    fingerprint: HostFingerprint | None = None
    """The fingerprint of the host that rendered it, where that is known."""
    is_recovered: bool = False
    """Whether an earlier run delivered it."""

    def failed_on(self, host: str) -> bool:
        """Whether this page was charged with a failure on that host, or the host was lost with it."""
        return host in self.lost_on or any(
            failure.host == host for failure in self.failures[self.failures_before_fallback :]
        )

    @property
    def charged(self) -> int:
        """How often the renderer that draws it now has failed."""
        return len(self.failures) - self.failures_before_fallback

    def allows(self, host: str) -> bool:
        """Whether it may be drawn there at all."""
        return self.pinned_to is None or host in self.pinned_to

    @property
    def is_constrained(self) -> bool:
        """Whether not every host will do."""
        return bool(self.failures or self.lost_on) or self.pinned_to is not None


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
    memory_slot_limit: int | None = None
    """Slots that its memory has turned out to suffice for; None: all, as far as is known."""
    available_slots: int | None = None
    """Slots that other jobs leave us; None: all of them."""
    slot_limit: int | None = None
    """Slots that the job's limit leaves to this host; None: there is no limit."""
    cores: int = 1
    others: float = 0.0
    ours: float = 0.0
    heard_at: float = 0.0
    sampled_at: float = -math.inf
    """When a heartbeat of it was last taken in."""
    budget: JournalBudget = field(default_factory=JournalBudget)
    uncharged_failures: int = 0
    """Attempts that it gave up since its last page, without a charge to their pages."""
    in_flight: dict[str, Attempt] = field(default_factory=dict)
    backlog: float = 0.0
    """The work in flight, in pages of A4."""
    verifying: int = 0
    consecutive_failures: set[int] = field(default_factory=set)
    storage_failures: int = 0
    quarantines: int = 0
    disconnects: int = 0
    retry_at: float | None = None
    recalling_since: float | None = None
    recall_grace: float = 0.0
    recall_reason: str = ""
    yielded_at: float = -math.inf
    """When its load last called its pages back."""
    drain_reason: str = ""
    """Why it is out of use by hand; empty when it is not."""
    stalled_since: float | None = None
    pages_done: int = 0
    failures: int = 0
    hedged: int = 0
    """Attempts that another host was quicker with."""
    recent_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=101))
    ghostscript: str = ""
    fingerprint: HostFingerprint | None = None
    renderers: frozenset[int] | None = None
    """Which of the job's recipes it can carry out; None before it has greeted."""
    awaits_comparison: bool = False
    """It has greeted, and it is not settled yet whether it draws what the others do."""
    seconds_per_page: float | None = None
    """Seconds a page takes in a slot here, smoothed."""
    seconds_per_a4: float | None = None
    """Seconds that a page of A4 takes in a slot here, smoothed."""
    staged_parts: dict[int, None] = field(default_factory=dict)
    """The parts of the document that were brought there, where the host has no SAN; the newest last."""
    transfer_seconds: float = 0.0
    """Seconds that a page is on the wire, where the host has no SAN, smoothed. One at a time."""

    @property
    def name(self) -> str:
        """The name in the inventory."""
        return self.plan.name

    @property
    def others_per_core(self) -> float:
        """Other people's active threads per core."""
        return self.others / max(self.cores, 1)

    @property
    def started_count(self) -> int:
        """Attempts that a slot has begun."""
        return sum(attempt.started_at is not None for attempt in self.in_flight.values())

    @property
    def usable_slots(self) -> int:
        """Slots that draw for us, or would."""
        return min(
            each for each in (self.slots, self.available_slots, self.slot_limit) if each is not None
        )

    @property
    def seconds_between_pages(self) -> float | None:
        """Seconds from one A4 page's end to the next one's, all slots and the wire together."""
        if self.seconds_per_a4 is None or not self.usable_slots:
            return None
        return max(self.seconds_per_a4 / self.usable_slots, self.transfer_seconds)

    def capacity(self, policy: Policy) -> int:
        """How many more attempts it takes: its slots, and a short queue for each.

        What it reported counts too once that is more than can be proved in a moment, and a host that
        has delivered nothing yet gets little: its word for its cores and its pages is all there is.
        """
        depth = 1
        if not self.usable_slots:
            # One page makes it wait for a slot that other jobs have.
            return 0 if self.slot_limit == 0 else 1 - len(self.in_flight)
        if self.seconds_per_page:
            each = max(self.seconds_per_page, self.transfer_seconds * self.usable_slots)
            depth = min(max(1, math.ceil(policy.queue_seconds / each)), policy.max_queued)
        most, unverified = self.usable_slots * (1 + depth), policy.unverified * self.usable_slots
        if self.plan.needs_transfer:
            unverified = policy.max_untransferred * self.usable_slots
        if not self.pages_done:
            unverified = min(unverified, policy.probation)
            most = min(most, policy.probation) if self.plan.slots is None else most
        return most - len(self.in_flight) - max(0, self.verifying - unverified)

    def note_seconds_per_page(self, seconds: float, cost: float, transfer_seconds: float) -> None:
        """Take in how long a page of so much work took to draw and to carry."""
        seconds = max(seconds, MIN_PAGE_SECONDS)
        self.recent_seconds.append(seconds)
        self.seconds_per_page = _smooth(self.seconds_per_page, seconds)
        self.seconds_per_a4 = _smooth(self.seconds_per_a4, seconds / cost)
        self.transfer_seconds = _smooth(
            self.transfer_seconds if self.pages_done else None, transfer_seconds
        )

    def can_render(self, page: Page) -> bool:
        """Whether it is allowed to, and has what it takes, as far as is known."""
        return page.allows(self.name) and (self.renderers is None or page.renderer in self.renderers)

    def is_stalled(self) -> bool:
        """Whether it holds pages and renders none."""
        held = self.in_flight.values()
        return bool(held) and all(attempt.started_at is None for attempt in held)

    def free_slots(self) -> int:
        """Slots that have nothing at all to do."""
        return max(0, self.usable_slots - len(self.in_flight))


def _smooth(before: float | None, newest: float) -> float:
    return newest if before is None else before + (newest - before) / _SMOOTHING
