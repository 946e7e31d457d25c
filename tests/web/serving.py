"""A server of the web front end in this process, and a client that says exactly what it sends."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sshrender.api.web.webaccess import session_key
from sshrender.web.authentication import SESSION, Authenticator
from sshrender.web.server import Server, listen
from sshrender.web.settings import Auth, Limits, ServeSettings
from tests.stretch import stretched

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Return the object of the body."""
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to a server as a user. ``user``: empty for none."""

    port: int
    authenticator: Authenticator
    user: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def as_(self, user: str) -> Client:
        """Return a client for another user."""
        return replace(self, user=user, cookies={})

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """Send a request: bytes as they are, anything else as JSON. A header of None is left out."""
        sent: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}",
            "Cookie": self._cookies() or None,
        }
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=stretched(60))
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if data is not None or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(data or b"")))
            connection.endheaders()
            if data:
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # refused before the end
                    connection.send(data)
            response = connection.getresponse()
            return self._kept(Answer(response.status, response.headers, response.read()))
        finally:
            connection.close()

    def _kept(self, answer: Answer) -> Answer:
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def _cookies(self) -> str:
        own = {SESSION: self.authenticator.session(self.user, 600)} if self.user else {}
        return "; ".join(f"{name}={value}" for name, value in {**own, **self.cookies}.items())

    def upload(self, data: bytes, name: str = "manual.pdf", part_size: int = 512 << 10) -> str:
        """Upload a document in parts; return the id."""
        begun = self.call(
            "POST", "/api/v1/uploads", {"name": name, "size": len(data), "part_size": part_size}
        )
        assert begun.status == 201, begun.body
        upload = begun.json()
        for number in range(upload["parts"]):
            part = data[number * part_size : (number + 1) * part_size]
            put = self.call("PUT", f"/api/v1/uploads/{upload['id']}/parts/{number}", part)
            assert put.status == 204, put.body
        return str(upload["id"])

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return what comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=stretched(20)) as connection:
            connection.sendall(data)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while block := connection.recv(65536):
                    found += block
            return found


@contextlib.contextmanager
def serving(san: Path, *, limits: Limits | None = None, **fields: Any) -> Iterator[Client]:
    """Serve this folder. Users are known by name, as with a file of passwords.

    The page of a job waits for its journal, however busy this machine is, unless ``limits`` are given.
    """
    fields = {
        "auth": Auth.HTPASSWD,
        "operators": frozenset({"olga"}),
        "viewers": frozenset({"vera"}),
        **fields,
    }
    settings = ServeSettings(
        san=san,
        port=0,
        limits=limits or Limits(page=60),
        typed={"san": str(san), "sandbox": "none"},
        **fields,
    )
    key = session_key()
    server, listening = Server(settings, key), listen(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(listening.getsockname()[1], Authenticator(settings, key), "alice")
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
