"""What should be done: the scheduler's output, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass

from sshrender.core.states import JobEnd, PageState


@dataclass(frozen=True, slots=True)
class ConnectHost:
    """Reach the host and start its runner."""

    host: str


@dataclass(frozen=True, slots=True)
class RenderPage:
    """Send this attempt to the host."""

    host: str
    page: int
    attempt: str


@dataclass(frozen=True, slots=True)
class RevokeAttempt:
    """Ask for an attempt back if the host has not begun it."""

    host: str
    attempt: str


@dataclass(frozen=True, slots=True)
class KillAttempt:
    """Have the host end this attempt now."""

    host: str
    attempt: str


@dataclass(frozen=True, slots=True)
class ProvePage:
    """Prove, publish and deliver what this attempt wrote."""

    host: str
    page: int
    attempt: str


@dataclass(frozen=True, slots=True)
class CloseHost:
    """End the connection; the runner dies with all that it started."""

    host: str


@dataclass(frozen=True, slots=True)
class FinishHost:
    """No more pages: let the host report what is left, then HostFinished."""

    host: str


@dataclass(frozen=True, slots=True)
class ProbeStorage:
    """See whether the shared folder and the output can be written again."""


@dataclass(frozen=True, slots=True)
class SettlePage:
    """The page has reached an end: tell the journal and the views."""

    page: int
    state: PageState


@dataclass(frozen=True, slots=True)
class ReportHost:
    """The host's state changed: tell the journal and the views."""

    host: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndJob:
    """The run is over."""

    end: JobEnd
    reason: str


Command = (
    ConnectHost
    | RenderPage
    | RevokeAttempt
    | KillAttempt
    | ProvePage
    | CloseHost
    | FinishHost
    | ProbeStorage
    | SettlePage
    | ReportHost
    | EndJob
)
