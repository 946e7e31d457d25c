"""The numbers that scheduling turns on. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient, how strict and how greedy the scheduler is."""

    renderers: int = 1
    """How many ways there are to draw a page: where one fails, the next is tried."""
    retries: int = 3
    """Page failures after which a page is given up, each on another host where there is one."""
    wait: float = 30.0
    """How long to wait for an idle host before the first page."""
    lost_wait: float = 120.0
    """How long to wait in the middle of a job when every host is lost or refused."""
    deadline: float | None = None
    """On the scheduler's clock; None: no deadline."""
    limit: int | None = None
    """Slots that the job has at once at most, on all hosts together; None: any number."""
    ends_when_held: bool = False
    """Whether a run that is held ends: whoever looks after the queue begins another on its release."""
    page_timeout: float = 600.0
    overdue_grace: float = 30.0
    """What a host gets on top of the page timeout before it is called off from here."""
    stall: float = 120.0
    """A host that holds pages and draws none of them for so long, or for the page timeout where that
    is longer, has lost them. It may be drawing earlier pages again to find whose a complaint is."""
    queue_seconds: float = 1.0
    """Work queued on a host for each slot: hides the round trip, and lets hosts report in batches."""
    max_queued: int = 16
    """Pages queued for each slot at most; at least, and until a host's pace is known, one."""
    probation: int = 8
    """Pages on a host that has delivered none yet, where the inventory does not say its slots."""
    unverified: int = 64
    """Reported pages for each slot that need not be proved before the next are sent."""
    max_untransferred: int = 4
    """The same where pages have to travel: a host may draw faster than its wire carries."""
    answer_timeout: float = 15.0
    """A host that beats and has not answered a revoke or a kill for so long is distrusted."""
    kill_timeout: float = 60.0
    """What a host gets to end an attempt that it was too late to kill: it may be flushing a page."""
    sample_interval: float = 0.2
    """Seconds between two heartbeats of a host that count: a runner sends one a second."""
    max_uncharged_failures: int = 16
    """Attempts in a row that a host may give up uncharged before it is left for a while."""
    is_mixed: bool = False
    """Whether hosts may draw different pictures."""
    compare_wait: float = 1.5
    """Seconds after the first greeting until those that have greeted begin, provisionally."""
    compare_timeout: float = 15.0
    """Seconds of a run in which hosts may still come, whose page images would count."""
    silence: float = 8.0
    """A host that has not been heard for so long is lost."""
    quarantine_after: int = 3
    """Different pages that must fail in a row on a host."""
    quarantine_first: float = 60.0
    max_quarantine: float = 900.0
    reconnect_first: float = 3.0
    max_reconnect: float = 60.0
    yield_grace: float = 2.0
    """What a running page gets to finish when the host's owner is back, if it can by then."""
    drain_grace: float = 1.0
    """The same where a host is drained: all that it holds is to be back within two seconds."""
    hedge: bool = True
    """At the tail, whether idle hosts draw once more what others are expected to be long about."""
    hedge_gain: float = 0.3
    """Seconds that a second attempt must be expected to save: hosts report three times a second."""
    verification_timeout: float = 2.0
    """A page that was reported and cannot be proved for so long is drawn elsewhere, too."""
    storage_probe: float = 2.0
    max_storage_probe: float = 30.0
    """Between two looks at a storage that seems well and yet takes no page."""
    storage_wait: float = 300.0
    """How long the storage may be away before the run ends, resumable."""
    storage_failures: int = 3
    """Storage failures of one host, while the storage is well seen from here, that refuse it."""
    finish_wait: float = 3.0
    """How long a host gets at the end to report what it found out late."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What is known of a host before it is reached. ``slots`` None: as many as it has cores."""

    name: str
    slots: int | None = None
    idle_below: float = 0.5
    busy_above: float = 0.8
    needs_transfer: bool = False
    """It has no SAN: what it draws from, and its pages, go over the wire."""
    ignores_load: bool = False
    """The machine that the user sits at renders whatever else it does."""
