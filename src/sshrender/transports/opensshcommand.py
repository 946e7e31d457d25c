"""The command line of OpenSSH's client, and what its messages mean."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sshrender.transports import sshconfig
from sshrender.transports.interface import ConnectFailed, Refusal

OWN_FAILURE = 255
"""The exit status of ssh when ssh itself failed (ssh(1), EXIT STATUS)."""

MAX_LINES, MAX_LINE = 40, 400
"""Most lines, and characters of a line, that are kept of the reports of client and host."""

# They precede the user's settings on the command line. ssh_config(5): the first value obtained is used.
_FIXED = (
    # BatchMode: no question for a passphrase, a password or an unknown host key; ssh fails instead.
    "BatchMode=yes",
    # The own control socket: file transfers join this connection, and no master of the user's is used.
    "ControlMaster=yes",
    "ControlPersist=no",
    # Forwardings of ssh_config would fail on ports that a shell of the user's has taken.
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    # RemoteCommand of ssh_config forbids a command on the command line (ssh(1) ends with an error).
    "RemoteCommand=none",
    "RequestTTY=no",
    "VisualHostKey=no",
    # The line "Authenticated to" comes with this level.
    "LogLevel=VERBOSE",
    # Ends a client whose coordinator was killed while the network was dead.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
)

_SINCE_8_7 = ("SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no")
"""Keywords that earlier releases do not know. IgnoreUnknown would hide that, and override the user's."""

# The texts are those of sshconnect.c and sshconnect2.c; LC_ALL=C keeps strerror(3) in English.
_AUTHENTICATED = "Authenticated to "
# Lines that LogLevel VERBOSE adds and that explain no failure.
_OWN_CHATTER = re.compile(r"^(Authenticated to |Transferred: |Bytes per second: |Server accepts key)")

_REFUSALS = (
    (
        Refusal.HOST_KEY,
        re.compile(
            r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|marked as revoked"
            r"|host key is known for|No matching host key|Certificate invalid|revoked by file"
            r"|in revoked keys file"
        ),
    ),
    (Refusal.AUTHENTICATION, re.compile(r"Permission denied \(|Too many authentication failures")),
    (Refusal.NO_ADDRESS, re.compile(r"Could not resolve hostname")),
    (
        Refusal.CONFIGURATION,
        re.compile(
            r"Unable to negotiate with|Bad configuration option|bad configuration options"
            r"|percent_expand|vdollar_percent_expand"
            r"|ControlPath .* too long|line \d+: |Bad .* spec|unknown option"
        ),
    ),
)
"""Messages of ssh(1) by what they mean for the host; every other one leaves it unreachable."""


def environment() -> dict[str, str]:
    """Return the client's environment: messages in English, and no window that asks for a password."""
    # SSH_ASKPASS_REQUIRE exists from 8.4 on; earlier releases ask nothing because of BatchMode.
    return {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}


def arguments(name: str, overrides: sshconfig.Overrides, control: Path, timeout: float) -> list[str]:
    """Return the command line up to the remote command."""
    since = _SINCE_8_7 if sshconfig.client_version() >= (8, 7) else ()
    own = [*_FIXED, *since, f"ControlPath={control}", f"ConnectTimeout={max(1, round(timeout))}"]
    # If an option is given twice, ssh uses the first one.
    words = [word for option in own for word in ("-o", option)]
    # ``--``: a name of the inventory that begins with ``-`` is never an option.
    return ["ssh", "-T", *words, *sshconfig.options(overrides), "--", name]


def sftp_arguments(name: str, control: Path) -> list[str]:
    """Return the command line of a file transfer over the connection that ``control`` leads to."""
    return [*second_session(name, control, "-s"), "sftp"]


def second_session(name: str, control: Path, *flags: str) -> list[str]:
    """Return the command line, up to the command, of one more session of a connection.

    If that has ended, ssh would connect again and without our options; the ProxyCommand prevents it.
    """
    options = ["ControlMaster=no", "BatchMode=yes", "ProxyCommand=false", "LogLevel=QUIET"]
    words = [word for option in options for word in ("-o", option)]
    # ``-F /dev/null``: ssh_config has been applied to the master. Match exec in it would run once more.
    return ["ssh", "-T", "-F", "/dev/null", "-S", str(control), *words, *flags, "--", name]


class ErrorLines:
    """The last lines on the client's standard error: its own, and those of the host."""

    def __init__(self) -> None:
        self.is_logged_in = False
        self._lines: list[str] = []
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Take the bytes that have arrived."""
        *complete, pending = (self._pending + data).split(b"\n")
        # A host that prints without a newline is cut, too.
        self._pending = pending[:MAX_LINE]
        for line in complete:
            self._add(line[:MAX_LINE].decode("utf-8", "replace").strip())

    def _add(self, line: str) -> None:
        self.is_logged_in = self.is_logged_in or line.startswith(_AUTHENTICATED)
        if line and not _OWN_CHATTER.match(line):
            self._lines = [*self._lines, line][-MAX_LINES:]

    def all(self) -> list[str]:
        """Return the lines that are kept."""
        rest = self._pending.decode("utf-8", "replace").strip()
        return [*self._lines, rest] if rest else list(self._lines)

    def last(self) -> str:
        """Return the last line; empty if there is none."""
        return self.all()[-1] if self.all() else ""


def failure(errors: ErrorLines) -> ConnectFailed:
    """Return why the client ended before it was logged in."""
    lines = errors.all()
    for refusal, pattern in _REFUSALS:
        found = [line for line in lines if pattern.search(line)]
        if found:
            return ConnectFailed(refusal, _explained(refusal, lines, found[0]))
    return ConnectFailed(Refusal.UNREACHABLE, errors.last() or "ssh ended without a message")


def no_answer(errors: ErrorLines) -> ConnectFailed:
    """Return the error for a client that was not logged in in time."""
    last = errors.last()
    return ConnectFailed(Refusal.UNREACHABLE, "no login in time" + (f": {last}" if last else ""))


def _explained(refusal: Refusal, lines: list[str], line: str) -> str:
    if refusal is not Refusal.HOST_KEY:
        return line
    text = " ".join(lines)
    # In its own line: the name of the file may contain spaces.
    offending = next(filter(None, (_OFFENDING.search(each) for each in lines)), None)
    if offending:
        return f"its host key has changed: it shows {_shown(text)}, not the one in {offending.group(1)}"
    revoked = next((each for each in lines if _REVOKED.search(each)), "")
    if revoked:
        return revoked
    # With BatchMode ssh shows no fingerprint of a key that it does not know.
    return "its host key is not known"


_OFFENDING = re.compile(r"Offending \S+ key in (.*\S)")
_REVOKED = re.compile(r"marked as revoked|revoked by file|in revoked keys file")
"""Messages of ssh for @revoked, and for RevokedHostKeys that has the key or cannot be read."""


def _shown(text: str) -> str:
    found = re.search(r"SHA256:[A-Za-z0-9+/]+", text)
    return found.group() if found else "(no fingerprint)"
