"""Where the dashboard's job comes from: the one thing that it must be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sshrender.views.protocol import Entry


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes of a job. ``folder`` as this machine sees it."""

    name: str
    folder: str
    document: str
    pages: tuple[int, ...]
    settings: str


class Source(Protocol):
    """A job that can be read. Its methods may block and are called from threads, one at a time."""

    @property
    def facts(self) -> Facts:
        """What never changes."""
        ...

    def entries(self) -> list[Entry]:
        """What is new in the journal. Raises OSError."""
        ...

    def coordinator(self) -> str:
        """Who sees the job through now; empty when nobody does. Raises OSError."""
        ...

    def ask(self, op: str, **fields: Any) -> None:
        """Lay a request (job/requests.py) before the coordinator. Raises OSError."""
        ...

    def picture(self, page_file: str, *, large: bool) -> bytes | None:
        """The page's thumbnail, or its own file; None when there is none that can be shown."""
        ...

    def ssh_command(self, host: str) -> str:
        """What to type in order to get to a host."""
        ...
