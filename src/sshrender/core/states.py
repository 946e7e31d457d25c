"""The states of pages and hosts, and the kinds of failure: who is charged for what."""

from __future__ import annotations

import enum


class PageState(enum.Enum):
    """Where a page is on its way."""

    UNREADY = "unready"
    """The part of the document that holds it is still being split off."""
    WAITING = "waiting"
    """To be rendered: nobody has it."""
    SENT = "sent"
    """With a host: queued there or being drawn."""
    VERIFYING = "verifying"
    """Rendered, and now proved, published and delivered."""
    DONE = "done"
    """Proved, published and delivered."""
    SUSPECT = "suspect"
    """Delivered, but Ghostscript said that it had to repair or skip something."""
    FAILED = "failed"
    """Given up: it failed on as many hosts as it may."""


class AttemptState(enum.Enum):
    """Where an attempt is; what its host may say of it depends on that.

    Whatever a host says of an attempt in another state is a repetition, or crossed a request on its way:
    it changes nothing and is not recorded.
    """

    SENT = "sent"
    """Queued on the host: it may be started, rendered, failed, kept, or revoked if that was asked."""
    STARTED = "started"
    """A slot renders it: it may be rendered, failed or kept."""
    VERIFYING = "verifying"
    """Reported: only this side decides what becomes of it. Late diagnostics are added to it."""


SETTLED = frozenset({PageState.DONE, PageState.SUSPECT, PageState.FAILED})


class HostState(enum.Enum):
    """What a host is to this job."""

    UNKNOWN = "unknown"
    """Never asked: everything was there already."""
    CONNECTING = "connecting"
    """Being reached; no verdict yet."""
    IDLE = "idle"
    """Usable: pages are sent to it."""
    BUSY = "busy"
    """Other people use it: watched, not used."""
    DRAINED = "drained"
    """A person took it out of use: its connection stays, pages go elsewhere."""
    QUARANTINED = "quarantined"
    """Several different pages failed on it in a row; gets another chance later."""
    LOST = "lost"
    """Unreachable, or fell silent; tried again later."""
    REFUSED = "refused"
    """Not usable until somebody mends it; not tried again in this run."""


class FailureKind(enum.Enum):
    """Why an attempt failed. Its value is what the journal and the summary say."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"
    NO_OUTPUT = "no_output"
    BAD_OUTPUT = "bad_output"
    """A file came, but it is not a whole picture of this page."""
    HOST = "host"
    """The host was lost or gave the page up."""
    STORAGE = "storage"
    """The shared folder failed: nobody's fault here, everything pauses."""
    KILLED = "killed"
    """Called off by us."""
    LOW_MEMORY = "low_memory"
    """The host ran short of memory while it drew several pages: it draws fewer at once from then on."""


class Charge(enum.Enum):
    """Who pays for a failure."""

    PAGE = "page"
    HOST = "host"
    STORAGE = "storage"
    NOBODY = "nobody"


CHARGED = {
    FailureKind.TIMEOUT: Charge.PAGE,
    FailureKind.MEMORY: Charge.PAGE,
    FailureKind.CRASHED: Charge.PAGE,
    FailureKind.NO_OUTPUT: Charge.PAGE,
    FailureKind.BAD_OUTPUT: Charge.PAGE,
    FailureKind.HOST: Charge.HOST,
    FailureKind.STORAGE: Charge.STORAGE,
    FailureKind.KILLED: Charge.NOBODY,
    FailureKind.LOW_MEMORY: Charge.NOBODY,
}


class JobEnd(enum.Enum):
    """Why a run of a job ended."""

    COMPLETE = "complete"
    """Every page is settled."""
    NO_HOST = "no host"
    """No host was usable within the time to wait."""
    STORAGE = "storage"
    """The shared folder or the output did not come back."""
    DEADLINE = "deadline"
    """The deadline passed."""
    STOPPED = "stopped"
    """A signal, or another coordinator."""
    CANCELLED = "cancelled"
    """A person called it off."""
    HELD = "held"
    """A person holds it, and whoever looks after the queue takes it up again."""
