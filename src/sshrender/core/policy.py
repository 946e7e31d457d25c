"""The settings of the scheduler. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

NAME_WAIT = 10.0
"""NFS may answer ESTALE for some seconds, and a scanner of another machine may hold a file as long."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits, timeouts and intervals. Most have no option of the command line: tests shorten them."""

    renderers: int = 1
    """Number of recipes of the job: when one fails on a page, the next is tried."""
    retries: int = 3
    """Charged failures after which a page fails, each on another host if there is one."""
    wait: float = 30.0
    """Seconds to wait for an idle host before the first page."""
    lost_wait: float = 120.0
    """Seconds to wait after the first delivered page while every host is lost or refused."""
    deadline: float | None = None
    """On the scheduler's clock; None: no deadline."""
    limit: int | None = None
    """Most slots that the job uses at a time on all hosts together; None: no limit."""
    ends_when_held: bool = False
    """Whether a held run ends: the queue's dispatcher starts another one after the release."""
    page_timeout: float = 600.0
    overdue_grace: float = 30.0
    """Extra time after the page timeout before the attempt is killed from here: the runner enforces
    the timeout itself."""
    stall: float = 120.0
    """A host that holds attempts and starts none of them for this time, or for the page timeout if that
    is longer, has lost them. It may be rendering earlier pages again to find which one has a problem."""
    queue_seconds: float = 1.0
    """Seconds of work queued behind each slot: hides the round trip and lets hosts report in batches."""
    max_queued: int = 16
    """Most pages queued behind each slot. One is the least, and the number until the speed is known."""
    probation: int = 8
    """Most pages on a host that has delivered none yet, unless the inventory states its slots."""
    unverified: int = 64
    """Reported pages for each slot that need not be verified before more are sent."""
    max_untransferred: int = 4
    """The same for a host without a SAN, which may render faster than pages can be transferred."""
    answer_timeout: float = 15.0
    """A host that sends heartbeats but does not answer a revoke or a kill for this long is left."""
    kill_timeout: float = 60.0
    """Time for a host to end an attempt that it was too late to kill: it may be flushing the page."""
    sample_interval: float = 0.2
    """Least time between two heartbeats of a host that count: a runner sends one a second."""
    max_uncharged_failures: int = 16
    """Attempts in a row that a host may give up without a charge before it is left for a while."""
    is_mixed: bool = False
    """Whether hosts may render different page images (``--mixed``)."""
    compare_wait: float = 1.5
    """Time after the first handshake until the connected hosts start provisionally."""
    compare_timeout: float = 15.0
    """Time from the start of the run in which hosts that may still connect count as undecided votes."""
    silence: float = 8.0
    """A host that has sent no message for this long is lost. Its runner sends a heartbeat each
    second."""
    quarantine_after: int = 3
    """Different pages that fail in a row on a host before it is quarantined."""
    quarantine_first: float = 60.0
    max_quarantine: float = 900.0
    reconnect_first: float = 3.0
    max_reconnect: float = 60.0
    refused_first: float = 300.0
    """Pause before a refused host is tried again whose cause may go by itself; it doubles each time. A
    host boots in less, and one that stays refused costs a login."""
    max_refused: float = 3600.0
    yield_grace: float = 2.0
    """Time for a running page to finish when the host's owner is back, if it can finish by then."""
    drain_grace: float = 1.0
    """The same for a drained host: all of its pages should be back within two seconds."""
    hedge: bool = True
    """Whether free slots render pages a second time near the end, if that is expected to be faster."""
    hedge_gain: float = 0.3
    """Time that a second attempt must be expected to save: hosts report three times a second."""
    verification_timeout: float = 2.0
    """A reported page whose verification takes longer than this is rendered elsewhere, too."""
    storage_probe: float = 2.0
    max_storage_probe: float = 30.0
    """Longest interval between two probes of a storage whose probes succeed while pages fail."""
    storage_wait: float = 300.0
    """Seconds for which the storage may be unavailable before the run ends; the job stays resumable."""
    name_wait: float = NAME_WAIT
    """Seconds for which a page is tried again if its name alone cannot be written."""
    storage_failures: int = 3
    """Failed writes of one host, while probes from here succeed, after which it is refused."""
    finish_wait: float = 3.0
    """Time for hosts to send late diagnostics at the end, since they were last heard. One that is alive
    takes longer if its cores are busy or the document opens slowly."""
    max_finish_wait: float = 15.0
    """Longest time for them: a host whose renderer hangs in the kernel stays alive and never ends."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The settings of a host in the inventory. ``slots`` None: as many as it has cores.

    ``idle_below`` and ``busy_above`` are other people's active threads per core.
    """

    name: str
    slots: int | None = None
    idle_below: float = 0.5
    busy_above: float = 0.8
    needs_transfer: bool = False
    """It has no SAN: the document and the pages are copied over the connection."""
    silence: float | None = None
    """Replaces ``Policy.silence`` for a slow connection; None: the policy's."""
    queue_seconds: float | None = None
    """Replaces ``Policy.queue_seconds``: at least twice the round trip; None: the policy's."""
    ignores_load: bool = False
    """It renders whatever its load is: the machine that the user works on."""
    is_lent: bool = False
    """A batch system lends it. Once refused it is given back, and cannot be tried again."""
