"""States of pages, attempts and hosts, kinds of failure, and who is charged with each kind."""

from __future__ import annotations

import enum


class PageState(enum.Enum):
    """The state of a page on its way from the document to the output folder."""

    UNREADY = "unready"
    """Cannot be sent yet: its part is still being split off, or its old file is being removed."""
    WAITING = "waiting"
    """Can be sent; no host has it."""
    SENT = "sent"
    """At least one host has it, queued or being rendered."""
    VERIFYING = "verifying"
    """A host reported it; its file is being verified, published and delivered."""
    DONE = "done"
    """Verified, published and delivered."""
    SUSPECT = "suspect"
    """Delivered, but the renderer reported that it had to repair or skip something."""
    FAILED = "failed"
    """Given up after ``retries`` charged failures."""

    # Members are looked up in counters several times an event; that of Enum is a function in Python.
    __hash__ = object.__hash__


class AttemptState(enum.Enum):
    """The state of an attempt. It decides which messages of its host count.

    A message that the state does not allow is a repetition, or it crossed a request on the wire: it
    changes nothing and is not recorded.
    """

    SENT = "sent"
    """Queued on the host: it may start, be reported, fail or be kept, or come back if requested."""
    STARTED = "started"
    """A slot renders it: it may be reported, fail or be kept."""
    VERIFYING = "verifying"
    """Reported: only the coordinator ends it. Late diagnostics are added to it."""


FINISHED = frozenset({PageState.DONE, PageState.SUSPECT, PageState.FAILED})
"""States that end a page. A retry request or a new reference can reopen one."""


class HostState(enum.Enum):
    """The state of a host for this job."""

    UNKNOWN = "unknown"
    """Not used: nothing was left to render, or the run ended before it answered."""
    CONNECTING = "connecting"
    """Being contacted, or waiting for the comparison of its fingerprint."""
    IDLE = "idle"
    """In use: pages are sent to it."""
    BUSY = "busy"
    """Loaded by other people: connected and watched, gets no pages."""
    DRAINED = "drained"
    """Taken out of use by a user: the connection stays, its pages go elsewhere."""
    QUARANTINED = "quarantined"
    """Different pages failed on it in a row: disconnected, and contacted again after a pause."""
    LOST = "lost"
    """Unreachable, silent, or misbehaving: contacted again after a pause."""
    REFUSED = "refused"
    """Unusable until an administrator repairs it: contacted again on request, or after a long pause."""
    REMOVED = "removed"
    """Removed from the run without a failure, as when its batch job ends; may be added again."""

    __hash__ = object.__hash__  # as of PageState


class FailureKind(enum.Enum):
    """The kind of an attempt's failure. The journal, the summary and the wire protocol use the value."""

    TIMEOUT = "timeout"
    """The page took longer than the page timeout."""
    MEMORY = "memory"
    """The renderer exceeded its memory limit."""
    CRASHED = "crashed"
    """The renderer ended unexpectedly."""
    NO_OUTPUT = "no_output"
    """The renderer finished without writing a file."""
    BAD_OUTPUT = "bad_output"
    """The file was rejected by verification: it is not a complete image of this page."""
    HOST = "host"
    """The host, not the page: it was lost, its disk failed, or its file never arrived."""
    STORAGE = "storage"
    """The shared folder or the output failed: the run pauses and nothing is charged."""
    UNWRITABLE = "unwritable"
    """The rendered page cannot be written under its name, although its folder takes other files."""
    KILLED = "killed"
    """Ended at the coordinator's request."""
    LOW_MEMORY = "low_memory"
    """The host ran short of memory while several slots rendered: it uses one slot less from then on."""


class Charge(enum.Enum):
    """The thing that a failure is charged to."""

    PAGE = "page"
    """Counts towards the page's retries, and towards the host's quarantine."""
    HOST = "host"
    """Counts towards the host's quarantine only; the page goes back to the queue."""
    STORAGE = "storage"
    """Makes the scheduler probe the storage; neither page nor host is charged."""
    NAME = "name"
    """Fails the page at once, and is charged to no host: another attempt would meet the same name."""
    NONE = "none"
    """Charged to nothing: the page goes back to the queue."""


CHARGE_OF = {
    FailureKind.TIMEOUT: Charge.PAGE,
    FailureKind.MEMORY: Charge.PAGE,
    FailureKind.CRASHED: Charge.PAGE,
    FailureKind.NO_OUTPUT: Charge.PAGE,
    FailureKind.BAD_OUTPUT: Charge.PAGE,
    FailureKind.HOST: Charge.HOST,
    FailureKind.STORAGE: Charge.STORAGE,
    FailureKind.UNWRITABLE: Charge.NAME,
    FailureKind.KILLED: Charge.NONE,
    FailureKind.LOW_MEMORY: Charge.NONE,
}
"""The thing that each kind of failure is charged to."""

UNCHARGED = frozenset(
    kind.value
    for kind, charge in CHARGE_OF.items()
    if charge in (Charge.STORAGE, Charge.NAME, Charge.NONE)
)
"""Kinds, as the journal has them, that are charged to neither page nor host: no report counts them."""


class JobEnd(enum.Enum):
    """The reason for the end of a job's run."""

    COMPLETE = "complete"
    """Every page is finished: delivered or failed."""
    NO_HOST = "no host"
    """No host was usable within the time to wait."""
    STORAGE = "storage"
    """The shared folder or the output stayed unavailable for too long."""
    DEADLINE = "deadline"
    """The deadline passed."""
    STOPPED = "stopped"
    """A signal arrived, the lease was lost, or the document was replaced."""
    CANCELLED = "cancelled"
    """A user cancelled the job."""
    HELD = "held"
    """A user holds the job; the queue's dispatcher starts another run after the release."""
