"""What should be done: the scheduler's output, in the imperative."""

from __future__ import annotations

from typing import NamedTuple

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.states import JobEnd, PageState


class ConnectHost(NamedTuple):
    """Reach the host and start its runner."""

    host: str


class RenderPage(NamedTuple):
    """Send this attempt to the host. ``because``: why, where another host draws the page already."""

    host: str
    page: int
    attempt: str
    because: str = ""
    renderer: int = 0


class FallBack(NamedTuple):
    """Take down that another renderer tries the page from now on: the last failure's reason."""

    page: int
    renderer: int
    reason: str


class ReturnPage(NamedTuple):
    """Take down that the page waits again, though nothing was wrong with it: why."""

    page: int
    host: str
    attempt: str
    reason: str


class DropAttempt(NamedTuple):
    """Take down that the attempt is over and that the page does not need it: why.

    ``is_hedged``: another host was quicker.
    """

    page: int
    host: str
    attempt: str
    reason: str
    is_hedged: bool


class SetSlotLimit(NamedTuple):
    """The host draws with so many slots at once for this job; None: with all."""

    host: str
    slots: int | None


class RevokeAttempt(NamedTuple):
    """Ask for an attempt back if the host has not begun it."""

    host: str
    attempt: str


class KillAttempt(NamedTuple):
    """Have the host end this attempt now."""

    host: str
    attempt: str


class VerifyPage(NamedTuple):
    """Prove, publish and deliver what this attempt wrote."""

    host: str
    page: int
    attempt: str


class CloseHost(NamedTuple):
    """End the connection; the runner dies with all that it started."""

    host: str


class FinishHost(NamedTuple):
    """No more pages: let the host report what is left, then HostFinished."""

    host: str


class ProbeStorage(NamedTuple):
    """See whether the shared folder and the output can be written again."""


class FinishPage(NamedTuple):
    """The page has reached an end: tell the journal and the views."""

    page: int
    state: PageState


class ReportHost(NamedTuple):
    """The host's state changed: tell the journal and the views."""

    host: str
    state: str
    reason: str


class WithdrawPage(NamedTuple):
    """Remove the published page, because its host renders other pages; answered by PagesReady."""

    page: int
    host: str
    reason: str


class RenderCanary(NamedTuple):
    """Find out how this machine renders the canary page; answered by CanaryRendered."""


class ReadFonts(NamedTuple):
    """Find out whether the document asks for fonts that it does not bring."""


class RecordReference(NamedTuple):
    """From now on this is what hosts have to draw: tell the journal."""

    look: HostFingerprint
    hosts: int


class EndJob(NamedTuple):
    """The run is over."""

    end: JobEnd
    reason: str


Command = (
    ConnectHost
    | RenderPage
    | ReturnPage
    | FallBack
    | DropAttempt
    | SetSlotLimit
    | RevokeAttempt
    | KillAttempt
    | VerifyPage
    | CloseHost
    | FinishHost
    | ProbeStorage
    | FinishPage
    | ReportHost
    | WithdrawPage
    | RenderCanary
    | ReadFonts
    | RecordReference
    | EndJob
)
