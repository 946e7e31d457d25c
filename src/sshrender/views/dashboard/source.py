"""Where the dashboard's job comes from, and who started it: all that it must be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sshrender.job.journalentries import JournalEntry
from sshrender.job.operations import Operation


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What never changes of a job. ``folder`` as this machine sees it."""

    name: str
    folder: str
    document: str
    pages: tuple[int, ...]
    settings: str


class JobView(Protocol):
    """A job that can be read. Its methods may block and are called from threads, one at a time."""

    @property
    def facts(self) -> JobFacts:
        """What never changes."""
        ...

    def entries(self) -> list[JournalEntry]:
        """What is new in the journal. Raises OSError."""
        ...

    def coordinator(self) -> str:
        """Who sees the job through now; empty when nobody does. Raises OSError."""
        ...

    def ask(self, op: Operation, **fields: Any) -> None:
        """Lay a request (job/requests.py) before the coordinator. Raises OSError."""
        ...

    def picture(self, page_file: str, *, large: bool) -> bytes | None:
        """The page's thumbnail, or its own file; None when there is none that can be shown."""
        ...

    def ssh_command(self, host: str) -> str:
        """What to type in order to get to a host."""
        ...


class Owner(Protocol):
    """Whoever started the dashboard: it knows which job, and what to do with Ctrl-C."""

    def job(self) -> JobView | None:
        """The job to show now; None while there is none yet. Must not block."""
        ...

    def is_over(self) -> bool:
        """Whether there is nothing left to watch, and the dashboard should end."""
        ...

    def interrupt(self) -> str:
        """Ctrl-C was typed. Answers what to tell the user; empty: the dashboard ends."""
        ...
