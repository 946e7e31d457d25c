"""What has happened: the scheduler's input, in the past tense. Times are seconds, loads are threads."""

from __future__ import annotations

from dataclasses import dataclass, field

from sshrender.core.states import FailureKind


@dataclass(frozen=True, slots=True)
class HostGreeted:
    """A runner listens on this host and the host has all that a page needs."""

    host: str
    cores: int
    others: float
    ours: float
    memory: int = 0
    ghostscript: str = ""


@dataclass(frozen=True, slots=True)
class HostRefused:
    """This host cannot be used until somebody mends it. ``refusal`` is a word for its kind."""

    host: str
    refusal: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostLost:
    """The host cannot be reached, or its runner is gone, or it fell silent."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoadSampled:
    """A heartbeat."""

    host: str
    others: float
    ours: float


@dataclass(frozen=True, slots=True)
class PagesReady:
    """The document, or the part of it that holds these pages, can be read on the shared folder."""

    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PageStarted:
    """A slot began to draw this attempt."""

    host: str
    attempt: str


@dataclass(frozen=True, slots=True)
class PageRendered:
    """The attempt's file is safe in ``work/``."""

    host: str
    attempt: str
    seconds: float
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt came to nothing, on the host or when its file was proved."""

    host: str
    attempt: str
    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptRevoked:
    """The host handed back an attempt that it had not begun."""

    host: str
    attempt: str


@dataclass(frozen=True, slots=True)
class PageDelivered:
    """The attempt's file was proved, published and delivered."""

    host: str
    attempt: str


@dataclass(frozen=True, slots=True)
class PageSuspected:
    """Ghostscript complained about a page that was rendered earlier."""

    host: str
    attempt: str
    page: int
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StorageFailed:
    """The shared folder or the output cannot be written, as seen from here."""

    reason: str


@dataclass(frozen=True, slots=True)
class StorageRecovered:
    """It can be written again."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A signal or a request: end now, leave the job resumable."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostFinished:
    """The host has reported everything and is no longer needed."""

    host: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event = (
    HostGreeted
    | HostRefused
    | HostLost
    | LoadSampled
    | PagesReady
    | PageStarted
    | PageRendered
    | AttemptFailed
    | AttemptRevoked
    | PageDelivered
    | PageSuspected
    | StorageFailed
    | StorageRecovered
    | StopRequested
    | HostFinished
    | Ticked
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """A page that an earlier run of this job settled."""

    page: int
    suspect: bool = False
    said: tuple[str, ...] = field(default=())
    host: str = ""
