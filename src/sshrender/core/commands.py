"""The scheduler's output: what the coordinator has to do, in the imperative.

coordinator/commandhandlers.py names the handler of each. Fields of commands that are recorded become
fields of journal entries under the same names.
"""

from __future__ import annotations

from typing import NamedTuple

from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.states import JobEnd, PageState

# To hosts


class ConnectHost(NamedTuple):
    """Connect to the host and start its runner."""

    host: str


class RenderPage(NamedTuple):
    """Send this attempt to the host.

    ``because``: why a second host renders the page; empty for the first. ``renderer``: the recipe's
    index.
    """

    host: str
    page: int
    attempt: str
    because: str = ""
    renderer: int = 0


class SetSlotLimit(NamedTuple):
    """Let the host use this many slots for the job at a time; None: all."""

    host: str
    slots: int | None


class RevokeAttempt(NamedTuple):
    """Ask the host to return the attempt, unless a slot has started it."""

    host: str
    attempt: str


class KillAttempt(NamedTuple):
    """Have the host end this attempt now."""

    host: str
    attempt: str


class FinishHost(NamedTuple):
    """No more pages follow: have the host report what is left; answered by HostFinished."""

    host: str


class CloseHost(NamedTuple):
    """Close the connection; the runner kills everything that it started and ends."""

    host: str


# To files


class VerifyPage(NamedTuple):
    """Verify, publish and deliver the file of this attempt."""

    host: str
    page: int
    attempt: str


class WithdrawPage(NamedTuple):
    """Remove the published page, because its host was outvoted; answered by PagesReady."""

    page: int
    host: str
    reason: str


class ProbeStorage(NamedTuple):
    """Test whether the shared folder and the output can be written."""


class RenderCanary(NamedTuple):
    """Render the canary page on this machine; answered by CanaryRendered."""


class ReadFonts(NamedTuple):
    """Find out whether the document uses fonts that it does not embed; answered by FontsKnown."""


# To the journal


class FallBack(NamedTuple):
    """Record that another recipe renders the page from now on; ``reason`` of the last failure."""

    page: int
    renderer: int
    reason: str


class ReturnPage(NamedTuple):
    """Record that the page is back in the queue, although it did not fail."""

    page: int
    host: str
    attempt: str
    reason: str


class DropAttempt(NamedTuple):
    """Record that the attempt has ended and that its page does not need it.

    ``is_hedged``: another host was faster.
    """

    page: int
    host: str
    attempt: str
    reason: str
    is_hedged: bool


class FinishPage(NamedTuple):
    """Record that the page has reached a final state."""

    page: int
    state: PageState


class ReportHost(NamedTuple):
    """Record that the host's state or its reason changed."""

    host: str
    state: str
    reason: str


class ReportNoHost(NamedTuple):
    """Record that no host is usable, and that the run waits so many seconds for one.

    0: it does not wait any more, or without a limit.
    """

    seconds: float


class ReportSuspicion(NamedTuple):
    """Record that no page is sent for so many seconds, as the storage takes none though probes succeed.

    ``host``: the one that could not write; empty if it was this machine.
    """

    host: str
    reason: str
    seconds: float


class RecordReference(NamedTuple):
    """Record the fingerprint that hosts have to match from now on; ``hosts``: how many do."""

    fingerprint: HostFingerprint
    hosts: int


class EndJob(NamedTuple):
    """End the run. Always the last command."""

    end: JobEnd
    reason: str


Command = (
    ConnectHost
    | RenderPage
    | SetSlotLimit
    | RevokeAttempt
    | KillAttempt
    | FinishHost
    | CloseHost
    | VerifyPage
    | WithdrawPage
    | ProbeStorage
    | RenderCanary
    | ReadFonts
    | FallBack
    | ReturnPage
    | DropAttempt
    | FinishPage
    | ReportHost
    | ReportNoHost
    | ReportSuspicion
    | RecordReference
    | EndJob
)
"""Everything that Scheduler.handle returns."""
