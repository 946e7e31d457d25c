"""The scheduler's input: what has happened, in the past tense. Times are seconds, loads are threads.

Each event is a tuple of plain values. The tables HOST_HANDLERS (hosttransitions.py), PAGE_HANDLERS
(pagetransitions.py) and JOB_HANDLERS (scheduler.py) name the handler of each.
"""

from __future__ import annotations

from typing import NamedTuple

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.policy import HostPlan
from sshrender.core.states import FailureKind

# Hosts


class HostAdded(NamedTuple):
    """A host joined the farm during the run, or joined it again after it was removed.

    Requests to drain it have to follow this event: those that came before are not remembered.
    """

    plan: HostPlan


class HostRemoved(NamedTuple):
    """A host was removed, which is not a failure: its pages return to the queue uncharged."""

    host: str
    reason: str


class HostsExpected(NamedTuple):
    """So many hosts may still be added, as a batch system has their jobs in its queue.

    ``reason``: why there are none, if ``number`` is 0 and more were wanted.
    """

    number: int
    reason: str = ""


class HostConnected(NamedTuple):
    """A runner answered the handshake, and its host has everything that a page needs.

    ``renderers``: the indexes of the job's recipes that it can run. ``slots``: how many renderers it
    has room for by its own account; 0: one for each core. ``memory`` in bytes.
    """

    host: str
    cores: int
    others: float
    ours: float
    memory: int = 0
    ghostscript: str = ""
    slots: int = 0
    fingerprint: HostFingerprint = HostFingerprint()
    renderers: frozenset[int] = frozenset((0,))
    mutool: str = ""


class HostRefused(NamedTuple):
    """The host failed a check that only an administrator can fix.

    ``refusal``: the kind, a value of transports/interface.Refusal. ``is_tried_again``: whether the host
    is contacted again after a long pause.
    """

    host: str
    refusal: str
    reason: str
    is_tried_again: bool = False


class HostLost(NamedTuple):
    """The host is unreachable, its runner has ended, or it sends no messages any more."""

    host: str
    reason: str


class HostDistrusted(NamedTuple):
    """The host sent something that breaks the protocol; ``what`` describes it."""

    host: str
    what: str


class HostFinished(NamedTuple):
    """The host has reported everything and said goodbye, as FinishHost requested."""

    host: str


class LoadSampled(NamedTuple):
    """A heartbeat with the host's load.

    ``available_slots``: slots that other jobs leave to this one; None: all. ``at``: when the heartbeat
    arrived, which may be long before it is handled; None: now.
    """

    host: str
    others: float
    ours: float
    available_slots: int | None = None
    at: float | None = None


class CanaryRendered(NamedTuple):
    """The coordinator's machine rendered the canary page; None: it could not."""

    fingerprint: HostFingerprint | None


class FontsKnown(NamedTuple):
    """The whole document was read; ``are_missing``: it uses fonts that it does not embed."""

    are_missing: bool


# Pages


class PagesReady(NamedTuple):
    """The document, or the part that holds these pages, can be read on the shared folder."""

    pages: tuple[int, ...]


class PageCostsKnown(NamedTuple):
    """The size of some pages became known: pairs of page and cost, where an A4 page costs 1."""

    costs: tuple[tuple[int, float], ...]


class PageStarted(NamedTuple):
    """A slot started to render this attempt."""

    host: str
    attempt: str


class PageRendered(NamedTuple):
    """The host reported the attempt: its file is complete and flushed in ``work/``."""

    host: str
    attempt: str
    seconds: float
    diagnostics: tuple[str, ...] = ()


class PageDelivered(NamedTuple):
    """The attempt's file was verified, published and delivered.

    ``transfer_seconds``: time on the wire for the page and its share of the document; 0 on a host that
    mounts the SAN.
    """

    host: str
    attempt: str
    transfer_seconds: float = 0.0


class OutvotedPagePublished(NamedTuple):
    """A late attempt of an outvoted host published the page again, which has to be withdrawn again.

    ``attempt`` is the one that found its place taken.
    """

    host: str
    attempt: str


class PageSuspected(NamedTuple):
    """The renderer reported a problem on a page that it had rendered before."""

    host: str
    attempt: str
    page: int
    diagnostics: tuple[str, ...]


class AttemptFailed(NamedTuple):
    """The attempt produced no page, on the host or when its file was verified.

    ``is_reported``: the host says so, which counts only until the host has reported the page.
    """

    host: str
    attempt: str
    kind: FailureKind
    reason: str
    is_reported: bool = False


class AttemptRevoked(NamedTuple):
    """The host returned an attempt that no slot had started."""

    host: str
    attempt: str


class AttemptKept(NamedTuple):
    """The request to return the attempt came too late: a slot has it and will report it."""

    host: str
    attempt: str


# Storage


class StorageFailed(NamedTuple):
    """The coordinator cannot write to the shared folder or the output.

    ``is_final``: it was tried for long enough, and other files can be written there: waiting for the
    storage would be of no use.
    """

    reason: str
    is_final: bool = False


class PageUnwritable(NamedTuple):
    """The name of a page that is not rendered now cannot be made free."""

    page: int
    reason: str


class StorageRecovered(NamedTuple):
    """The coordinator can write to both again."""


# Requests of users, and time


class StopRequested(NamedTuple):
    """A signal, a lost lease or a replaced document: end now and leave the job resumable."""

    reason: str


class CancelRequested(NamedTuple):
    """A user cancels the job; it stays resumable. ``by`` names the user, as shown to others."""

    by: str


class HoldRequested(NamedTuple):
    """A user holds the job: send no more pages; what is being rendered is finished."""

    by: str


class ReleaseRequested(NamedTuple):
    """A user releases the job after a hold."""

    by: str


class LimitChanged(NamedTuple):
    """A user changed how many slots the job may use at a time on all hosts; None: any number."""

    limit: int | None
    by: str


class DrainRequested(NamedTuple):
    """A user takes the host out of use: its pages go to other hosts."""

    host: str
    by: str
    note: str = ""

    @property
    def reason(self) -> str:
        """Return the reason as shown to users."""
        return f"drained by {self.by}" + (f": {self.note}" if self.note else "")


class UndrainRequested(NamedTuple):
    """A user puts the host back into use, also one that was refused, lost or quarantined."""

    host: str
    by: str


class MoveRequested(NamedTuple):
    """A user wants this page rendered on that host and no other."""

    page: int
    host: str
    by: str


class RetryRequested(NamedTuple):
    """A user wants a failed page tried again, without its earlier failures."""

    page: int
    by: str


class Ticked(NamedTuple):
    """Time has passed."""


Event = (
    HostAdded
    | HostRemoved
    | HostsExpected
    | HostConnected
    | HostRefused
    | HostLost
    | HostDistrusted
    | HostFinished
    | LoadSampled
    | CanaryRendered
    | FontsKnown
    | PagesReady
    | PageCostsKnown
    | PageStarted
    | PageRendered
    | PageDelivered
    | OutvotedPagePublished
    | PageSuspected
    | AttemptFailed
    | AttemptRevoked
    | AttemptKept
    | StorageFailed
    | PageUnwritable
    | StorageRecovered
    | StopRequested
    | CancelRequested
    | HoldRequested
    | ReleaseRequested
    | LimitChanged
    | DrainRequested
    | UndrainRequested
    | MoveRequested
    | RetryRequested
    | Ticked
)
"""Everything that Scheduler.handle accepts."""


class Recovered(NamedTuple):
    """A page that an earlier run of this job delivered. Not an event: known before the run starts."""

    page: int
    suspect: bool = False
    diagnostics: tuple[str, ...] = ()
    host: str = ""
    fingerprint: HostFingerprint | None = None
