"""What every way of reaching a runner has in common.

``Transport.connect`` blocks until a runner listens or raises ``ConnectFailed``; the ``Link`` that it
returns is a stream of bytes in both directions. ``tests/lab/test_conformance.py`` holds every
transport to the same promises.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol


class Refusal(enum.Enum):
    """Why a host cannot be used: decides whether it is tried again, and the exit code."""

    UNREACHABLE = "unreachable"
    """No route, no answer, connection refused or broken: may come back."""
    NO_ADDRESS = "address"
    """Nobody knows an address for its name: may come back, as name servers do."""
    AUTHENTICATION = "authentication"
    """The host knows none of our keys."""
    HOST_KEY = "host key"
    """The host's key is unknown, or not the one on record."""
    NO_PYTHON = "python"
    """No python3, or one older than 3.7."""
    NO_GHOSTSCRIPT = "ghostscript"
    """No Ghostscript, or one that is too old."""
    NO_SANDBOX = "sandbox"
    """The sandbox that is asked for does not work there."""
    SAN = "san"
    """The host does not see the job's folder, or cannot write to it."""
    FILES = "files"
    """The host has no SAN, and files cannot travel to it either."""
    PICTURE = "picture"
    """The host draws other pictures than the others."""
    PROTOCOL = "protocol"
    """The host answers, but not as a runner does."""
    CONFIGURATION = "configuration"
    """What the inventory or ssh_config says of this host cannot be carried out."""

    @property
    def may_come_back(self) -> bool:
        """Whether it is worth trying again without anybody having mended something."""
        return self in (Refusal.UNREACHABLE, Refusal.NO_ADDRESS)


class ConnectFailed(Exception):
    """The runner could not be started: of which kind, and in words that an administrator can use."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


class FilesFailed(Exception):
    """A file could not be brought over: what the other end, or this one, says of it."""


class LinkClosed(Exception):
    """The other end is gone; ``reason`` is what is known of why.

    ``status`` is the command's exit status where it has one.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status

    @property
    def has_no_program(self) -> bool:
        """Whether a shell said that the command cannot be run (POSIX: 126 and 127)."""
        return self.status in (126, 127)


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """What is started at the other end.

    ``silence`` is how long (seconds) the runner waits for us before it kills everything it started.
    """

    python: str
    label: str
    marker: str
    silence: float


class Link(Protocol):
    """A running runner's input and output, as bytes."""

    def read(self, timeout: float) -> bytes:
        """What has come, b"" after ``timeout`` seconds without anything. Raises LinkClosed."""
        ...

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of ``data`` within ``timeout`` seconds. Raises LinkClosed."""
        ...

    def files(self, timeout: float) -> HostFiles:
        """A way for files beside the runner's own, over the same connection; for one thread.

        ``timeout`` bounds each answer of the other end, in seconds. Raises FilesFailed.
        """
        ...

    def close(self) -> None:
        """End the connection; the runner sees end of file and dies. Never blocks, never raises."""
        ...


class HostFiles(Protocol):
    """Brings files to a host, and from it."""

    def put(self, source: Path, target: str) -> None:
        """Copy a file of ours there. Raises FilesFailed."""
        ...

    def get(self, source: str, size: int, target: IO[bytes]) -> None:
        """Copy a file of ``size`` bytes from there. Raises FilesFailed, or OSError where it is ours.

        FileNotFoundError: it is not there.
        """
        ...

    def close(self) -> None:
        """No more files. Never raises."""
        ...


class Transport(Protocol):
    """Reaches one host."""

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """Start the runner within ``timeout`` seconds. Raises ConnectFailed."""
        ...
