"""Interfaces that the dashboard needs: the job that it shows, and the command that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.storagepause import Pause
from sshrender.job.queue.requestoperations import Operation


@dataclass(frozen=True, slots=True)
class JobFacts:
    """Facts of a job that never change. ``folder`` is the path on this machine."""

    name: str
    folder: str
    document: str
    pages: tuple[int, ...]
    settings: str


class JobView(Protocol):
    """A job that can be read. The methods may block; they are called in threads, one at a time."""

    @property
    def facts(self) -> JobFacts:
        """The facts that never change."""
        ...

    def entries(self) -> list[JournalEntry]:
        """Return the new entries of the journal. Raises OSError."""
        ...

    def coordinator(self) -> str:
        """Return the coordinator that runs the job now; empty if none does. Raises OSError."""
        ...

    def request(self, op: Operation, **fields: Any) -> None:
        """Write a request (job/queue/requests.py) for the coordinator. Raises OSError."""
        ...

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        """Return a page's thumbnail, or with ``large`` its file; None if there is none to show."""
        ...

    def ssh_command(self, host: str) -> str:
        """Return the command that logs in to a host."""
        ...


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job in a list. ``key`` opens it; empty: it cannot be opened (yet), and ``note`` says why.

    ``speed``: pages per second, ``left``: seconds; None if they are not known. ``hosts``: how many
    render its pages now.
    """

    key: str
    name: str
    state: str
    total: int = 0
    done: int = 0
    suspect: int = 0
    failed: int = 0
    hosts: int = 0
    speed: float | None = None
    left: float | None = None
    owner: str = ""
    note: str = ""
    is_coordinated: bool = False
    """Whether a coordinator has it now."""
    submitted: str = ""
    """When it was queued, or made, as the journal writes times."""
    ended: str = ""
    """When it finished; empty while it has not."""
    place: int | None = None
    """Its place among its user's jobs that can start, from 1."""
    waits: str = ""
    """What it waits for, in words, if it has such a place."""
    id: str = ""
    """The random id of the job; a later job of the same name has another one."""


@dataclass(frozen=True, slots=True)
class HostLine:
    """A host in a list of jobs: what it does for all of them together. Loads are threads per core."""

    name: str
    state: str = ""
    reason: str = ""
    slots: int = 0
    running: int = 0
    others: float | None = None
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool of a batch system in a list of jobs: its pilots for all of them together."""

    name: str
    waiting: int = 0
    running: int = 0
    reason: str = ""
    start: str = ""
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """All jobs, running ones first, all hosts, and the pools that running jobs use."""

    jobs: tuple[JobLine, ...] = ()
    hosts: tuple[HostLine, ...] = ()
    pools: tuple[PoolLine, ...] = ()


class JobList(Protocol):
    """A list of jobs; the user opens one of them. The methods may block; they are called in threads."""

    @property
    def title(self) -> str:
        """The title of the list."""
        ...

    @property
    def is_first(self) -> bool:
        """Whether the list is shown before any job; else the user asks for it."""
        ...

    def read(self) -> Listed:
        """Return the list as it is now. Raises OSError or UserError."""
        ...

    def open(self, key: str) -> JobView:
        """Return the job of a line. Raises OSError or UserError."""
        ...

    def change(self, key: str, op: Operation) -> str:
        """Hold, release or cancel the job of a line; return why nothing changed, empty if something did.

        Raises OSError or UserError.
        """
        ...


class Owner(Protocol):
    """The command that started the dashboard: it knows the job and the meaning of Ctrl-C."""

    def job(self) -> JobView | None:
        """Return the job to show; None while it is being opened, or chosen. Must not block."""
        ...

    def jobs(self) -> JobList | None:
        """Return the list from which the user may choose another job; None: there is one job."""
        ...

    def doing(self) -> str:
        """Return what is being done to open the job; empty if that is not known. Must not block."""
        ...

    def pause(self) -> Pause | None:
        """Return a pause of the job that its process, not the journal, has told. Must not block."""
        ...

    def is_over(self) -> bool:
        """Return whether the dashboard should end by itself."""
        ...

    def interrupt(self) -> str:
        """Handle Ctrl-C. Return a message for the user; if it is empty, the dashboard ends."""
        ...
