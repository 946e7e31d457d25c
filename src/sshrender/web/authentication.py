"""Authenticates requests: by sessions, passwords, the header of a proxy, or links.

Sessions and links are signed and kept nowhere, so that every server accepts them. The role of a user is
looked up with each request.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import json
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
from starlette.requests import Request
from starlette.responses import Response

from sshrender.web.refusals import Refused
from sshrender.web.roles import Person, Role
from sshrender.web.settings import Auth, ServeSettings, plain_address

SESSION, SHARED = "sshrender_session", "sshrender_shared"
"""Names of the cookies."""

SESSION_SECONDS = 12 * 3600.0
LOCAL_SECONDS = 30 * 24 * 3600.0
"""Lifetime of a session from a one-time link: it ends with the browser's cookies, or a new key."""

SHARED_SECONDS = 7 * 24 * 3600.0
MAX_SHARED = 20
"""Jobs that one browser may open by links: the cookie has to stay small."""

MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more (bcrypt 5 raises ValueError instead of ignoring the rest)."""

MAX_USERS_FILE = 1 << 20

LOCAL_USER = "local"
_NAME = re.compile(r"[\w.@+-]{1,64}")
_HASH = re.compile(rb"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_NO_HASH = b"$2b$12$" + b"." * 53
"""Compared for unknown names, so that the time of an answer does not show which names exist."""


@dataclass(slots=True)
class _Attempts:
    """Failed logins, by address."""

    limit: int
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def require_few(self, address: str) -> None:
        """Raise Refused (429) after too many failures in a minute."""
        times = self._times.get(address)
        while times and times[0] < time.monotonic() - 60:
            times.popleft()
        if times and len(times) >= self.limit:
            raise Refused(
                429, "too many failed logins from this address", "wait a minute", {"Retry-After": "60"}
            )

    def note(self, address: str) -> None:
        """Note a failure. The table is emptied before it grows without bound."""
        if len(self._times) > 10_000:
            self._times.clear()
        self._times.setdefault(address, deque(maxlen=self.limit)).append(time.monotonic())


@dataclass(slots=True)
class _Users:
    """The file of the users; it is read again when it has changed."""

    # Both in one value: several threads read the file.
    _known: tuple[tuple[int, int, int] | None, dict[bytes, bytes]] = (None, {})

    def hash_of(self, file: Path, name: str) -> bytes | None:
        """Return the hash of a user's password; None for an unknown name. Raises Refused."""
        stamp, known = self._known
        try:
            status = file.stat()
            found = status.st_mtime_ns, status.st_size, status.st_ino
            if found != stamp:
                # The first line of a name counts, as for passwords.
                known = dict(reversed(list(_lines(file))))
                self._known = found, known
        except OSError:
            raise _unreadable() from None
        return known.get(name.encode("utf-8", "replace"))


class Authenticator:
    """Authenticates requests. ``key``: signs sessions and links."""

    def __init__(self, settings: ServeSettings, key: bytes) -> None:
        self._settings = settings
        self._key = key
        self._users = _Users()
        self.attempts = _Attempts(settings.limits.logins)

    def reads_users(self, request: Request) -> bool:
        """Return whether ``person`` looks at the file of the users, which may be on a file server."""
        return self._settings.auth is Auth.HTPASSWD and SESSION in request.cookies

    def person(self, request: Request) -> Person | None:
        """Return the user of a request; None if it has neither a session nor a link. Raises Refused."""
        shared = self._shared(request)
        name = self._name(request)
        if name is not None:
            return Person(name, self.role(name), shared)
        return Person("", Role.VIEWER, shared) if shared else None

    def _name(self, request: Request) -> str | None:
        if self._settings.auth is Auth.PROXY:
            names = request.headers.getlist(self._settings.user_header)
            peer = request.client.host if request.client else ""
            # One of two headers may be the browser's; a proxy that adds its own must remove that one.
            is_one = len(names) == 1 and _NAME.fullmatch(names[0])
            return names[0] if self._settings.is_peer(peer) and is_one else None
        found = self.read("session", request.cookies.get(SESSION, ""))
        name = str(found.get("name", "")) if found else ""
        if not found or not _NAME.fullmatch(name):
            return None
        # A session ends with the password that began it: a removed user is out at once.
        expected = self.of_password(name)
        return name if expected is not None and found.get("of") == expected else None

    def of_password(self, name: str) -> str | None:
        """Return what the sessions of a user carry; None for a name that is not in the file of users."""
        if self._settings.auth is not Auth.HTPASSWD or self._settings.htpasswd is None:
            return ""
        known = self._users.hash_of(self._settings.htpasswd, name)
        return None if known is None else _text(hmac.digest(self._key, b"of " + known, "sha256")[:12])

    def role(self, name: str) -> Role:
        """Return the role of a user."""
        settings = self._settings
        if settings.auth is Auth.LINK or name in settings.operators:
            return Role.OPERATOR
        return Role.VIEWER if name in settings.viewers else Role.SUBMITTER

    def _shared(self, request: Request) -> dict[str, str]:
        return {job: id_ for job, (id_, _) in self._links(request).items()}

    def _links(self, request: Request) -> dict[str, tuple[str, float]]:
        """Return the jobs that this browser has a link of, the oldest first.

        The id of each, and until when it may be opened.
        """
        found = self.read("shared", request.cookies.get(SHARED, ""))
        links = found.get("links", []) if found else []
        return {job: (id_, until) for job, id_, until in links if time.time() < until}

    def basic(self, request: Request) -> tuple[str, str] | None:
        """Return name and password of an ``Authorization: Basic`` header, for scripts."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic" or self._settings.auth is not Auth.HTPASSWD:
            return None
        try:
            name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except ValueError:
            return None
        return name, password

    def is_password(self, name: str, password: str) -> bool:
        """Compare a password; takes about a second. Raises Refused if the file cannot be read."""
        assert self._settings.htpasswd is not None
        known = _hash_of(self._settings.htpasswd, name)
        secret = password.encode("utf-8", "replace")
        if len(secret) > MAX_PASSWORD_BYTES or b"\0" in secret:
            return False
        is_same = bcrypt.checkpw(secret, known or _NO_HASH)
        return is_same and known is not None

    def sign(self, kind: str, seconds: float, **fields: Any) -> str:
        """Return a signed token of this kind, valid for ``seconds``."""
        data = json.dumps({**fields, "kind": kind, "until": round(time.time() + seconds)}).encode()
        return f"{_text(data)}.{_text(hmac.digest(self._key, data, 'sha256'))}"

    def read(self, kind: str, token: str) -> dict[str, Any] | None:
        """Return the fields of a token; None if it is not ours, of another kind, or has expired."""
        body, _, mac = token.partition(".")
        try:
            data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            given = base64.urlsafe_b64decode(mac + "=" * (-len(mac) % 4))
            if not hmac.compare_digest(hmac.digest(self._key, data, "sha256"), given):
                return None
            fields = json.loads(data)
        except ValueError:
            return None
        if not isinstance(fields, dict) or fields.get("kind") != kind:
            return None
        return fields if time.time() < float(fields.get("until", 0)) else None

    def begin_session(self, request: Request, response: Response, name: str) -> None:
        """Let the browser keep a session."""
        is_local = self._settings.auth is Auth.LINK
        seconds = LOCAL_SECONDS if is_local else SESSION_SECONDS
        self._set(request, response, SESSION, self.session(name, seconds), seconds)

    def session(self, name: str, seconds: float) -> str:
        """Return the token of a session of this user."""
        return self.sign("session", seconds, name=name, of=self.of_password(name))

    def share(self, request: Request, response: Response, link: Mapping[str, Any]) -> None:
        """Let the browser open one more job, as long as its link is valid. ``link``: its fields."""
        known = self._links(request)
        job = str(link["job"])
        known.pop(job, None)
        known[job] = str(link["id"]), float(link["until"])
        links = [[each, *rest] for each, rest in known.items()]
        token = self.sign("shared", SHARED_SECONDS, links=links[-MAX_SHARED:])
        self._set(request, response, SHARED, token, SHARED_SECONDS)

    def end_session(self, response: Response) -> None:
        """Remove the cookies."""
        for name in (SESSION, SHARED):
            response.delete_cookie(
                name, path=self._settings.cookie_path, httponly=True, samesite="strict"
            )

    def _set(self, request: Request, response: Response, name: str, value: str, seconds: float) -> None:
        response.set_cookie(
            name,
            value,
            max_age=round(seconds),
            path=self._settings.cookie_path,
            secure=self.is_https(request),
            httponly=True,
            samesite="strict",
        )

    def is_https(self, request: Request) -> bool:
        """Return whether the browser speaks https, perhaps to a proxy that is trusted."""
        peer = request.client.host if request.client else ""
        if self._settings.is_peer(peer):
            return request.headers.get("x-forwarded-proto", "").lower() == "https"
        return request.url.scheme == "https"

    def address(self, request: Request) -> str:
        """Return the network of the client for counting: what a trusted proxy says, else the peer."""
        peer = request.client.host if request.client else ""
        if self._settings.is_peer(peer):
            # The last one of all lines is the proxy's: some proxies add a line, others a word. The
            # client may have made up what is before it.
            named = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()[:64]
            return _network(named or peer)
        return _network(peer)


def is_name(text: str) -> bool:
    """Return whether a user of the web may have this name."""
    return _NAME.fullmatch(text) is not None


def _network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that a line has (RFC 6177)."""
    # Some proxies name the port, too, which is another one for each connection.
    plain = address[1:].partition("]")[0] if address.startswith("[") else address
    plain = plain.partition(":")[0] if plain.count(":") == 1 else plain
    try:
        found = plain_address(plain)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _hash_of(file: Path, name: str) -> bytes | None:
    """Return the hash of a user's password in a file of ``htpasswd -B``; None for an unknown name."""
    try:
        users = list(_lines(file))
    except OSError:
        raise _unreadable() from None
    for user, known in users:
        if hmac.compare_digest(user, name.encode("utf-8", "replace")):
            return known
    return None


def _unreadable() -> Refused:
    return Refused(503, "the file of the users cannot be read", "ask the administrator")


def _lines(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the users that have a hash of bcrypt. Raises OSError."""
    with file.open("rb") as lines:
        data = lines.read(MAX_USERS_FILE)
    for line in data.splitlines():
        user, _, known = line.strip().partition(b":")
        if _HASH.fullmatch(known):
            yield user, known


def require_users(file: Path) -> list[str]:
    """Return the names in a file of ``htpasswd -B`` whose hash is one of bcrypt. Raises OSError."""
    return [user.decode("utf-8", "replace") for user, _ in _lines(file)]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
