"""Interfaces that the dashboard needs: the job that it shows, and the command that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sshrender.job.journalentries import JournalEntry
from sshrender.job.requestoperations import Operation


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
        """Write a request (job/requests.py) for the coordinator. Raises OSError."""
        ...

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        """Return a page's thumbnail, or with ``large`` its file; None if there is none to show."""
        ...

    def ssh_command(self, host: str) -> str:
        """Return the command that logs in to a host."""
        ...


class Owner(Protocol):
    """The command that started the dashboard: it knows the job and the meaning of Ctrl-C."""

    def job(self) -> JobView | None:
        """Return the job to show; None while it is being opened. Must not block."""
        ...

    def is_over(self) -> bool:
        """Return whether the dashboard should end by itself."""
        ...

    def interrupt(self) -> str:
        """Handle Ctrl-C. Return a message for the user; if it is empty, the dashboard ends."""
        ...
