"""The settings of ``serve``: address, names, users, and the limits of each user."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sshrender.api.queue import QueueRun
from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.api.web.uploads import Quota
from sshrender.errors import ExitCode, UserError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/?#\s]+)(?::[0-9]{0,5})?")
"""A Host header: a name or an address, and a port (RFC 9110, 7.2)."""


class Auth(Enum):
    """The way in which users log in."""

    LINK = "link"
    HTPASSWD = "htpasswd"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and numbers that bound what one client, or all together, can take from the server."""

    headers: float = 10.0
    """Seconds for the headers of a request."""
    body_idle: float = 30.0
    """Seconds without a byte of a body, and the time over which ``body_rate`` is measured."""
    body_rate: int = 1024
    """Bytes per second that a body must arrive with."""
    reading: float = 60.0
    """Seconds after which a client that takes less than ``body_rate`` of an answer is disconnected."""
    page: float = 1.0
    """Seconds for the first reading of a job's journal, after which its page shows how far it is."""
    connections: int = 600
    bodies: int = 4
    """Parts of uploads that one user may send at a time."""
    streams: int = 400
    """Live pages at a time."""
    streams_each: int = 250
    """Live pages of one user at a time; of one address for those without a name (a link)."""
    logins: int = 5
    """Failed logins of one address in a minute."""
    unfinished_jobs: int = 100
    """Unfinished jobs of one user."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of one server. ``typed`` and ``config``: those of the jobs that it submits.

    ``names``: further host names by which it may be addressed. ``peers``: proxies whose headers count.
    """

    san: Path
    host: str = "127.0.0.1"
    port: int = 8470
    base_path: str = ""
    names: tuple[str, ...] = ()
    auth: Auth = Auth.LINK
    htpasswd: Path | None = None
    peers: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    user_header: str = "x-forwarded-user"
    operators: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()
    make_queue: Callable[[Callable[[str], None]], QueueRun] | None = None
    """Makes the run of the queue that continues beside the server; None: others run it."""
    passwords: UploadPasswords | None = None
    """Those of uploaded documents; None if no queue that could use them runs beside the server."""
    typed: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    hosts_file: Path | None = None
    quota: Quota = field(default_factory=Quota)
    limits: Limits = field(default_factory=Limits)

    @property
    def cookie_path(self) -> str:
        """The path for which cookies are valid."""
        return f"{self.base_path}/"

    def allows_host(self, header: str) -> bool:
        """Return whether a Host header names this server: the answer to DNS rebinding."""
        found = _HOST.fullmatch(header.strip().lower())
        name = "" if found is None else found[1]
        own = self.host if ":" not in self.host else f"[{self.host}]"
        return name in LOOPBACK_NAMES or name == own.lower() or name in self.names

    def is_peer(self, address: str) -> bool:
        """Return whether a connection comes from a proxy whose headers count."""
        try:
            found = plain_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.peers)


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; one of IPv4 that a socket of IPv6 shows (::ffff:10.0.0.1) as IPv4.

    Raises ValueError.
    """
    found = ipaddress.ip_address(text)
    return getattr(found, "ipv4_mapped", None) or found


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of ``--bind``, as in ``8470`` or ``[::1]:8470``. Raises UserError."""
    host, port = text.strip(), ""
    if host.isdigit():
        host, port = "", host
    elif host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    host = host or "127.0.0.1"
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        number = int(port or "8470")
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError:
        raise UserError(
            ExitCode.USAGE,
            f"--bind {text}: not an address",
            "--bind takes ADDRESS:PORT, as in 127.0.0.1:8470",
        ) from None
    return host, number


def auth_of(text: str) -> tuple[Auth, Path | None]:
    """Return the kind of ``--auth``, and its file. Raises UserError."""
    kind, _, rest = text.partition(":")
    if kind == "htpasswd" and rest:
        return Auth.HTPASSWD, Path(rest).absolute()
    if text in ("link", "proxy"):
        return Auth(text), None
    raise UserError(
        ExitCode.USAGE,
        f"--auth {text}: not a way to log in",
        "--auth takes link, htpasswd:FILE or proxy",
    )


def peers_of(texts: Sequence[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Return the networks of ``--trusted-proxy``. Raises UserError."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise UserError(
                ExitCode.USAGE,
                f"--trusted-proxy {text}: not an address",
                "--trusted-proxy takes an address or a network, as in 10.0.0.5 or 10.0.0.0/24",
            ) from None
    return tuple(found)


def require_safe(settings: ServeSettings) -> None:
    """Raise UserError for settings under which other people could use the server without a name."""
    is_loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    if settings.auth is Auth.LINK and not is_loopback:
        raise UserError(
            ExitCode.USAGE,
            f"--bind {settings.host}: other machines reach this address, and no user has to log in",
            "add --auth htpasswd:FILE, or --auth proxy with --trusted-proxy ADDRESS",
        )
    if settings.auth is Auth.PROXY and not settings.peers:
        raise UserError(
            ExitCode.USAGE,
            "--auth proxy: no trusted proxy is named",
            "add --trusted-proxy ADDRESS, as in --trusted-proxy 127.0.0.1",
        )


def base_path_of(text: str) -> str:
    """Return ``--base-path`` with a slash in front and none behind. Raises UserError."""
    path = "/" + text.strip("/") if text.strip("/") else ""
    if (
        any(not (char.isascii() and (char.isalnum() or char in "/-_.~")) for char in path)
        or "//" in path
    ):
        raise UserError(
            ExitCode.USAGE, f"--base-path {text}: not a path", "--base-path takes a path, as in /render"
        )
    return path


__all__ = [
    "Auth",
    "Limits",
    "Quota",
    "ServeSettings",
    "address_of",
    "auth_of",
    "base_path_of",
    "peers_of",
    "plain_address",
    "require_safe",
]
