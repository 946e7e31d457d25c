"""The scheduler's records of hosts, pages and attempts.

They hold what is known and answer questions about it. Transitions are in hosttransitions.py,
pagetransitions.py and schedulerstate.py.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.journalbudget import JournalBudget
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import AttemptState, FailureKind, HostState, PageState

MIN_PAGE_SECONDS = 0.001
"""Seconds that a page takes at least, whatever a host reports: speeds are divided by it."""

_SMOOTHING = 4
"""The newest page counts one part in four of a host's known speed."""


@dataclass(slots=True)
class Attempt:
    """One try to render one page on one host. Times are on the scheduler's clock."""

    name: str
    page: int
    host: str
    sent_at: float
    started_at: float | None = None
    rendered_at: float | None = None
    revoked_at: float | None = None
    killed_at: float | None = None
    kept_at: float | None = None
    """The time of the host's answer that the request to return the attempt came too late."""
    seconds: float = 0.0
    is_hedged: bool = False
    """Whether another host was faster."""
    recall_reason: str = ""
    """The reason why it was revoked or killed."""
    is_return_uncharged: bool = True
    """Whether its return, if it was recalled, does not count against its host's journal budget."""
    fingerprint: HostFingerprint | None = None
    """The fingerprint that its host had when it was sent."""
    diagnostics: tuple[str, ...] = ()

    @property
    def is_revoking(self) -> bool:
        """Return whether the host was asked to return it, if no slot has started it."""
        return self.revoked_at is not None

    @property
    def is_killed(self) -> bool:
        """Return whether the host was told to end it."""
        return self.killed_at is not None

    @property
    def is_recalled(self) -> bool:
        """Return whether it was revoked or killed, so that it is not expected to end with a page."""
        return self.is_killed or self.is_revoking

    @property
    def state(self) -> AttemptState:
        """Return the state, which decides what its host may report of it (states.AttemptState)."""
        if self.rendered_at is not None:
            return AttemptState.VERIFYING
        return AttemptState.SENT if self.started_at is None else AttemptState.STARTED

    def unanswered_since(self) -> float | None:
        """Return when the host was asked to return or end it, if the answer is still due; else None."""
        # A kill asks again: SchedulerState.kill clears ``kept_at``.
        if self.rendered_at is not None or self.kept_at is not None:
            return None
        if self.killed_at is not None:
            return self.killed_at
        # A start that crossed the request is an answer as well.
        return self.revoked_at if self.started_at is None else None


@dataclass(frozen=True, slots=True)
class Failure:
    """One charged failure in a page's history."""

    host: str
    kind: FailureKind
    reason: str


@dataclass(slots=True)
class Page:
    """One page of the job. ``live``: its attempts that have not ended, by name."""

    number: int
    state: PageState = PageState.WAITING
    cost: float = 1.0
    """The cost of the page: an A4 page costs 1."""
    failures: list[Failure] = field(default_factory=list)
    disconnects: int = 0
    lost_on: frozenset[str] = frozenset()
    """Hosts that disappeared while one of their slots rendered it."""
    attempts: int = 0
    renderer: int = 0
    """Index of the job's recipe that renders it."""
    failures_before_fallback: int = 0
    """Failures of earlier recipes, which do not count against the current one."""
    live: dict[str, Attempt] = field(default_factory=dict)
    recalled_at: float = -math.inf
    """The time at which it was last recalled for a free slot elsewhere."""
    pinned_to: frozenset[str] | None = None
    """The only hosts that may render it; None: all."""
    host: str = ""
    diagnostics: tuple[str, ...] = ()
    fingerprint: HostFingerprint | None = None
    """The fingerprint of the host that rendered it, if known."""
    is_recovered: bool = False
    """Whether an earlier run delivered it."""

    def failed_hosts(self) -> frozenset[str]:
        """Return the hosts that it failed on, or that disappeared while they rendered it."""
        # Earlier recipes' failures say nothing about hosts that run another program.
        counted = self.failures[self.failures_before_fallback :]
        return self.lost_on.union(failure.host for failure in counted) if counted else self.lost_on

    def failed_on(self, host: str) -> bool:
        """Return whether it failed on that host, or the host disappeared while it rendered the page."""
        return host in self.failed_hosts()

    @property
    def charged(self) -> int:
        """Return how many failures of its current recipe were charged to it."""
        return len(self.failures) - self.failures_before_fallback

    def allows(self, host: str) -> bool:
        """Return whether it may be rendered on that host at all."""
        return self.pinned_to is None or host in self.pinned_to

    @property
    def is_constrained(self) -> bool:
        """Return whether some hosts must not, or should not, render it."""
        return bool(self.failures or self.lost_on) or self.pinned_to is not None


@dataclass(slots=True)
class Host:
    """One host of the inventory, as this job knows it.

    Loads are counts of active threads, times are on the scheduler's clock.
    """

    plan: HostPlan
    state: HostState = HostState.UNKNOWN
    reason: str = ""
    refusal: str = ""
    is_connected: bool = False
    is_finishing: bool = False
    slots: int = 0
    memory_slot_limit: int | None = None
    """Slots that its memory suffices for; None: all, as far as is known."""
    available_slots: int | None = None
    """Slots that other jobs leave to this one; None: all."""
    slot_limit: int | None = None
    """Slots that the job's limit grants on this host; None: the job has no limit."""
    cores: int = 1
    others: float = 0.0
    ours: float = 0.0
    heard_at: float = 0.0
    sampled_at: float = -math.inf
    """The time of the last heartbeat that counted."""
    budget: JournalBudget = field(default_factory=JournalBudget)
    uncharged_failures: int = 0
    """Attempts that it gave up since its last page without a charge to their pages."""
    in_flight: dict[str, Attempt] = field(default_factory=dict)
    started_count: int = 0
    """Attempts in flight that a slot has started."""
    backlog: float = 0.0
    """The cost of the pages in flight."""
    verifying: int = 0
    consecutive_failures: set[int] = field(default_factory=set)
    storage_failures: int = 0
    quarantines: int = 0
    disconnects: int = 0
    refusals: int = 0
    """Refusals in a row after which it is tried again."""
    is_tried_again: bool = False
    """Whether it is tried again while it is refused."""
    retry_at: float | None = None
    recalling_since: float | None = None
    recall_grace: float = 0.0
    recall_reason: str = ""
    yielded_at: float = -math.inf
    """The time at which its load last caused a recall of its attempts."""
    drain_reason: str = ""
    """The reason why a user has taken it out of use; empty if it is in use."""
    stalled_since: float | None = None
    pages_done: int = 0
    failures: int = 0
    hedged: int = 0
    """Attempts that another host finished sooner."""
    recent_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=101))
    _median: float | None = None
    """The median of ``recent_seconds``, once it was computed; None: it has to be computed."""
    ghostscript: str = ""
    mutool: str = ""
    """Versions of both, as far as pages need them."""
    fingerprint: HostFingerprint | None = None
    renderers: frozenset[int] | None = None
    """Indexes of the job's recipes that it can run; None before the handshake."""
    awaits_comparison: bool = False
    """It has connected, and it is not decided yet whether it matches the reference."""
    seconds_per_page: float | None = None
    """Seconds that a page takes in one slot, smoothed."""
    seconds_per_a4: float | None = None
    """Seconds that a page of cost 1 takes in one slot, smoothed."""
    staged_parts: dict[int, None] = field(default_factory=dict)
    """Parts of the document that were copied to a host without a SAN; the newest last."""
    transfer_seconds: float = 0.0
    """Seconds that a page of a host without a SAN spends on the wire, one at a time, smoothed."""
    index: int = 0
    """Its place in the inventory, which decides between hosts that are equal otherwise."""

    @property
    def name(self) -> str:
        """Return the name in the inventory."""
        return self.plan.name

    @property
    def others_per_core(self) -> float:
        """Return other people's active threads per core."""
        return self.others / max(self.cores, 1)

    @property
    def usable_slots(self) -> int:
        """Return how many slots the job can use here now."""
        slots, available, limit = self.slots, self.available_slots, self.slot_limit
        if available is not None and available < slots:
            slots = available
        return slots if limit is None or limit > slots else limit

    @property
    def median_seconds(self) -> float | None:
        """Return the median of the newest pages' seconds; None before the first page."""
        if self._median is None and self.recent_seconds:
            self._median = statistics.median(self.recent_seconds)
        return self._median

    @property
    def seconds_between_pages(self) -> float | None:
        """Return the seconds between the ends of two pages of cost 1, over all slots and the wire."""
        usable = self.usable_slots
        if self.seconds_per_a4 is None or not usable:
            return None
        return max(self.seconds_per_a4 / usable, self.transfer_seconds)

    def silence(self, policy: Policy) -> float:
        """Return the seconds without a message after which it is lost."""
        return self.plan.silence or policy.silence

    def capacity(self, policy: Policy) -> int:
        """Return how many more attempts it may get: one for each slot, and a short queue behind each.

        Reported pages count too once they are more than can be verified in a moment. A host that has
        delivered nothing yet gets few: its cores and its pages are its own claim so far.
        """
        depth, usable = 1, self.usable_slots
        if not usable:
            # One attempt makes its runner wait for a slot lock that another job holds.
            # A host without a share of the job's limit gets none: its runner may not start it.
            return 0 if self.slot_limit == 0 else 1 - len(self.in_flight)
        if self.seconds_per_page:
            # All slots share the wire.
            each = max(self.seconds_per_page, self.transfer_seconds * usable)
            queue_seconds = self.plan.queue_seconds or policy.queue_seconds
            depth = min(max(1, math.ceil(queue_seconds / each)), policy.max_queued)
        # For each slot the page that it renders, and the queue behind it.
        limit, unverified = usable * (1 + depth), policy.unverified * usable
        if self.plan.needs_transfer:
            unverified = policy.max_untransferred * usable
        if not self.pages_done:
            unverified = min(unverified, policy.probation)
            # Slots that the inventory states are the administrator's claim, not the host's.
            limit = min(limit, policy.probation) if self.plan.slots is None else limit
        # May be negative, as when the limit falls: callers compare it with 0.
        return limit - len(self.in_flight) - max(0, self.verifying - unverified)

    def note_seconds_per_page(self, seconds: float, cost: float, transfer_seconds: float) -> None:
        """Take in how long a page of this cost took to render and to transfer."""
        seconds = max(seconds, MIN_PAGE_SECONDS)
        self.recent_seconds.append(seconds)
        self._median = None
        self.seconds_per_page = _smooth(self.seconds_per_page, seconds)
        self.seconds_per_a4 = _smooth(self.seconds_per_a4, seconds / cost)
        # The first page sets it: the 0.0 before it was never measured.
        self.transfer_seconds = _smooth(
            self.transfer_seconds if self.pages_done else None, transfer_seconds
        )

    def can_render(self, page: Page) -> bool:
        """Return whether the page is allowed here and the host has its recipe, as far as is known."""
        return page.allows(self.name) and (self.renderers is None or page.renderer in self.renderers)

    def is_stalled(self) -> bool:
        """Return whether it holds attempts and no slot has started any of them."""
        return bool(self.in_flight) and not self.started_count

    def free_slots(self) -> int:
        """Return the number of slots that have nothing to do."""
        return max(0, self.usable_slots - len(self.in_flight))


def _smooth(before: float | None, newest: float) -> float:
    # Exponential smoothing with a weight of a quarter, as in TCP's estimate of round trips (RFC 6298
    # has an eighth).
    return newest if before is None else before + (newest - before) / _SMOOTHING
