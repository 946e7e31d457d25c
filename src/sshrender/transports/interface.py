"""The interface of all transports.

``Transport.connect`` blocks until a runner listens, or raises ``ConnectFailed``. The ``Link`` that it
returns is a stream of bytes in both directions. ``tests/lab/test_conformance.py`` checks that every
transport behaves alike.
"""

from __future__ import annotations

import contextlib
import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol


class Refusal(enum.Enum):
    """The reason why a host cannot be used. It decides about another try, and the exit code."""

    UNREACHABLE = "unreachable"
    """No route, no answer, connection refused or broken: may come back."""
    NO_ADDRESS = "address"
    """No address is known for its name: may come back, as name servers do."""
    AUTHENTICATION = "authentication"
    """The host knows none of our keys."""
    HOST_KEY = "host key"
    """The host's key is unknown, or not the one on record."""
    NO_PYTHON = "python"
    """No python3, or one older than 3.7."""
    LIMITS = "limits"
    """A resource limit of the host leaves no room for a runner or a renderer."""
    SYSTEM = "system"
    """The host's system lacks something that a runner needs, such as /proc."""
    NO_GHOSTSCRIPT = "ghostscript"
    """No Ghostscript, or one that is too old."""
    NO_SANDBOX = "sandbox"
    """The sandbox that the job asks for does not work there."""
    SAN = "san"
    """The host does not see the job's folder, or cannot write to it."""
    FILES = "files"
    """The host has no shared folder, and files cannot be transferred to it either."""
    PICTURE = "picture"
    """The host renders the canary page differently from the others."""
    PROTOCOL = "protocol"
    """The host answers, but not as a runner does."""
    CONFIGURATION = "configuration"
    """The inventory or ssh_config contains a setting for this host that cannot be used."""

    @property
    def may_come_back(self) -> bool:
        """Whether the reason may disappear without action by an administrator."""
        return self in (Refusal.UNREACHABLE, Refusal.NO_ADDRESS)

    @property
    def is_tried_again(self) -> bool:
        """Whether a refused host is contacted again, after a long pause."""
        # These are what the host itself lacks, and it may be booting or being upgraded. Repeated logins
        # that fail would look like an attack; the rest is not mended on the host.
        return self in (
            Refusal.NO_PYTHON,
            Refusal.LIMITS,
            Refusal.SYSTEM,
            Refusal.NO_GHOSTSCRIPT,
            Refusal.NO_SANDBOX,
            Refusal.SAN,
            Refusal.FILES,
        )


class ConnectFailed(Exception):
    """The runner could not be started: ``refusal`` is the kind, ``reason`` is for the administrator."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


class NoCommonAlgorithm(ConnectFailed):
    """The client and the host have no cipher, key exchange or the like in common."""


class FilesFailed(Exception):
    """A file could not be transferred; the text is the error of the host or of this machine."""


OTHER_SHELL = 97
"""The exit status of a shell that is sent a runner in Python's place; shells use none like it."""


_NO_COMMANDS = re.compile(
    r"account is currently not available|unrecognized command '|What do you think I am\? A shell"
    r"|shell access is (?:not enabled|disabled)|not provide shell access|service allows sftp connections"
    r"|account is restricted by rssh",
    re.IGNORECASE,
)
"""What is printed in place of a command: nologin, git-shell, web hosters, GitHub, internal-sftp of sshd,
rssh."""


class LinkClosed(Exception):
    """The connection to the runner has ended; ``reason``: why, as far as that is known.

    ``status``: the exit status of the remote command, if it has one.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status

    @property
    def has_no_program(self) -> bool:
        """Whether the shell could not run the command (exit status 126 and 127 in POSIX)."""
        return self.status in (126, 127)

    def lacks_program(self, words: str) -> bool:
        """Return whether the shell could not run the command. ``words``: what the host printed last."""
        # tcsh ends with status 1, and says this.
        return self.has_no_program or (self.status == 1 and words.endswith(": Command not found."))

    def _is_python_2(self, words: str) -> bool:
        # It has no option -I, and says how to see those that it has.
        return self.status == 2 and "python -h" in words

    def _runs_another(self, words: str) -> bool:
        """Return whether something else got the runner or a part of it: a shell, or Python itself.

        A start-up file that asks a question reads the first lines, and the loader lacks them.
        """
        return self.status == OTHER_SHELL or (self.status == 1 and words.startswith("SyntaxError:"))

    def _may_run_nothing(self, words: str) -> bool:
        """Return whether the user has an account without a shell."""
        return bool(self.status) and _NO_COMMANDS.search(words) is not None

    def refusal(self, words: str) -> Refusal:
        """Return the kind of a runner that did not start. ``words``: what the host printed last."""
        # Only an administrator can change which program is started.
        if self._runs_another(words) or self._may_run_nothing(words):
            return Refusal.PROTOCOL
        lacks = self.lacks_program(words) or self._is_python_2(words)
        return Refusal.NO_PYTHON if lacks else Refusal.UNREACHABLE

    def reason_on(self, host: str, program: str, words: str = "") -> str:
        """Return why a runner did not start, for the administrator.

        A shell's exit status says what is missing. ``words``: what the host printed last.
        """
        # Without a status the connection itself failed, and the shell on the host is not to blame.
        if self.status is None:
            return f"{self.reason}: {words}" if words else self.reason
        if self._runs_another(words):
            return (
                "the runner did not start: a start-up file (~/.bashrc) or a forced command"
                " (authorized_keys) starts another shell or program in its place, or reads its input"
            )
        if self._may_run_nothing(words):
            # git-shell repeats the whole command.
            shown = words if len(words) <= MAX_REFUSAL else f"{words[:MAX_REFUSAL]}…"
            return f"this user may not run commands on {host}; it says: {shown}"
        if self._is_python_2(words):
            return f"{program} on {host} is Python 2"
        if not self.lacks_program(words):
            if words:
                return f"the runner did not start (exit code {self.status}); the host says: {words}"
            return (
                f"the runner did not start: the shell of this user ended with exit code {self.status},"
                " because of a start-up file (~/.bashrc) or a forced command (authorized_keys)"
            )
        how = "cannot be executed" if self.status == 126 else "not found"
        # The script of a virtual environment is there, and its interpreter is not: the words of bash
        # before and from 5.2 on.
        lacks = any(each in words for each in ("bad interpreter", "required file not found"))
        more = f": {words}" if lacks else ""
        return f"{program} {how} on {host}{more}"


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """The parameters of a runner's start.

    ``label``: shown in the host's process list. ``marker``: begins each line of the runner. ``silence``:
    seconds without a request after which the runner kills everything that it started.
    """

    python: str
    label: str
    marker: str
    silence: float


class Link(Protocol):
    """A running runner's input and output, as bytes."""

    def read(self, timeout: float) -> bytes:
        """Return new bytes; b"" if none came in ``timeout`` seconds. Raises LinkClosed."""
        ...

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of ``data`` within ``timeout`` seconds. Raises LinkClosed."""
        ...

    def files(self, timeout: float) -> HostFiles:
        """Open a channel for files on the same connection, for use by one thread.

        ``timeout``: seconds for each answer of the host. Raises FilesFailed.
        """
        ...

    def close(self) -> None:
        """End the connection; the runner reads end of file and ends. Never blocks, never raises."""
        ...


class HostFiles(Protocol):
    """Transfers files to and from a host."""

    def put(self, source: Path, target: str) -> None:
        """Copy a local file to the host. Raises FilesFailed."""
        ...

    def get(self, source: str, size: int, target: IO[bytes]) -> None:
        """Copy a file of ``size`` bytes from the host.

        Raises FilesFailed; FileNotFoundError when the host has no such file; another OSError when this
        machine cannot write.
        """
        ...

    def close(self) -> None:
        """End the transfer channel. Never raises."""
        ...


def last_words(link: Link) -> str:
    """Return the last line that a host printed before the link ended; empty if there is none."""
    said = b""
    with contextlib.suppress(LinkClosed):
        # A hostile host may print without end, so bytes are bounded; the time-out bounds only the
        # pauses.
        while len(said) < MAX_WORDS_BYTES and (data := link.read(WORDS_TIMEOUT)):
            said += data
    lines = said[:MAX_WORDS_BYTES].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:MAX_WORDS] if lines else ""


MAX_WORDS_BYTES, MAX_WORDS = 16384, 300
"""Bytes that are read of other output of a host than a runner's; characters that are shown."""

MAX_REFUSAL = 80
"""Characters of them that are shown of a host that runs no commands for this user."""

WORDS_TIMEOUT = 0.5
"""Seconds in which the output of a shell that has ended must come."""


class Transport(Protocol):
    """Reaches one host."""

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """Start the runner within ``timeout`` seconds. Raises ConnectFailed."""
        ...

    def command_line(self, python: str, label: str) -> list[str]:
        """Return the command that does the same as ``connect``, for a user to read or to type."""
        ...
