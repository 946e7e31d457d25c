"""What has happened: the scheduler's input, in the past tense. Times are seconds, loads are threads."""

from __future__ import annotations

from typing import NamedTuple

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.states import FailureKind


class HostGreeted(NamedTuple):
    """A runner listens on this host and the host has all that a page needs.

    ``renderers``: which of the job's recipes it can carry out. ``slots``: how many renderers it says it
    has room for; 0: one for each core.
    """

    host: str
    cores: int
    others: float
    ours: float
    memory: int = 0
    ghostscript: str = ""
    slots: int = 0
    look: HostFingerprint = HostFingerprint()
    renderers: frozenset[int] = frozenset((0,))


class HostRefused(NamedTuple):
    """This host cannot be used until somebody mends it. ``refusal`` is a word for its kind."""

    host: str
    refusal: str
    reason: str


class HostLost(NamedTuple):
    """The host cannot be reached, or its runner is gone, or it fell silent."""

    host: str
    reason: str


class LoadSampled(NamedTuple):
    """A heartbeat. ``seats``: slots that other jobs leave us there; None: all of them.

    ``at``: when it came, which may be long before it is taken in; None: just now.
    """

    host: str
    others: float
    ours: float
    seats: int | None = None
    at: float | None = None


class PagesReady(NamedTuple):
    """The document, or the part of it that holds these pages, can be read on the shared folder."""

    pages: tuple[int, ...]


class PagesWeighed(NamedTuple):
    """How much there is to draw on some pages, in pages of A4: (page, work) each."""

    works: tuple[tuple[int, float], ...]


class FontsKnown(NamedTuple):
    """All of the document was read: whether it asks for fonts that it does not bring."""

    are_missing: bool


class CanaryRendered(NamedTuple):
    """How this machine renders the canary page; None: it cannot."""

    look: HostFingerprint | None


class PageStarted(NamedTuple):
    """A slot began to draw this attempt."""

    host: str
    attempt: str


class PageRendered(NamedTuple):
    """The attempt's file is safe in ``work/``."""

    host: str
    attempt: str
    seconds: float
    said: tuple[str, ...] = ()


class AttemptFailed(NamedTuple):
    """The attempt came to nothing, on the host or when its file was verified.

    ``is_reported``: the host says so, which counts only until it has reported the page.
    """

    host: str
    attempt: str
    kind: FailureKind
    reason: str
    is_reported: bool = False


class AttemptRevoked(NamedTuple):
    """The host handed back an attempt that it had not begun."""

    host: str
    attempt: str


class AttemptKept(NamedTuple):
    """The host was asked for the attempt too late: a slot has it, and will report it."""

    host: str
    attempt: str


class HostDistrusted(NamedTuple):
    """The host does not keep to the protocol: ``what`` it did."""

    host: str
    what: str


class PageDelivered(NamedTuple):
    """The attempt's file was proved, published and delivered.

    ``carriage``: seconds that it, and what it was drawn from, were on the wire, if they were.
    """

    host: str
    attempt: str
    carriage: float = 0.0


class PageTaken(NamedTuple):
    """A withdrawn page was published again by an attempt that no longer counts: it has to go, too."""

    host: str
    attempt: str


class PageSuspected(NamedTuple):
    """Ghostscript complained about a page that was rendered earlier."""

    host: str
    attempt: str
    page: int
    said: tuple[str, ...]


class StorageFailed(NamedTuple):
    """The shared folder or the output cannot be written, as seen from here."""

    reason: str


class StorageRecovered(NamedTuple):
    """It can be written again."""


class StopRequested(NamedTuple):
    """A signal or a request: end now, leave the job resumable."""

    reason: str


class CancelRequested(NamedTuple):
    """A person calls the job off; it stays resumable all the same. ``by`` is who, in words."""

    by: str


class HoldRequested(NamedTuple):
    """Hand out no more pages; what is being drawn is finished."""

    by: str


class ReleaseRequested(NamedTuple):
    """Go on after a hold."""

    by: str


class LimitChanged(NamedTuple):
    """From now on the job has so many slots at once at most; None: any number."""

    limit: int | None
    by: str


class DrainRequested(NamedTuple):
    """Take the host out of use: what it holds goes elsewhere."""

    host: str
    by: str
    note: str = ""

    @property
    def reason(self) -> str:
        """In words."""
        return f"drained by {self.by}" + (f": {self.note}" if self.note else "")


class UndrainRequested(NamedTuple):
    """The host may be used again."""

    host: str
    by: str


class MoveRequested(NamedTuple):
    """Draw this page on that host and no other, wherever it is now."""

    page: int
    host: str
    by: str


class RetryRequested(NamedTuple):
    """Try a page that has failed as if it never had."""

    page: int
    by: str


class HostFinished(NamedTuple):
    """The host has reported everything and is no longer needed."""

    host: str


class Ticked(NamedTuple):
    """Time has passed."""


Event = (
    HostGreeted
    | HostRefused
    | HostLost
    | LoadSampled
    | PagesReady
    | PagesWeighed
    | FontsKnown
    | CanaryRendered
    | PageStarted
    | PageRendered
    | AttemptFailed
    | AttemptRevoked
    | AttemptKept
    | HostDistrusted
    | PageDelivered
    | PageTaken
    | PageSuspected
    | StorageFailed
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
    | HostFinished
    | Ticked
)


class Recovered(NamedTuple):
    """A page that an earlier run of this job settled."""

    page: int
    suspect: bool = False
    said: tuple[str, ...] = ()
    host: str = ""
    look: HostFingerprint | None = None
