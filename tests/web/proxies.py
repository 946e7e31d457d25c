"""What stands between a browser and servers of a test: nginx, and a line that can be broken."""

from __future__ import annotations

import contextlib
import random
import selectors
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream servers {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location /render/ {{
            proxy_pass http://servers;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            client_max_body_size 1m;
            proxy_next_upstream error timeout http_502 non_idempotent;
        }}
    }}
}}
"""


def free_port() -> int:
    """Return a port that no program listens on, below those that connections get (ip(7))."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def nginx(folder: Path, ports: list[int]) -> Iterator[int]:
    """Balance between servers, below /render/; yield the port."""
    process, port = _started(folder, ports)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _started(folder: Path, ports: list[int]) -> tuple[subprocess.Popen[bytes], int]:
    """Start nginx on a free port: another process may take that first, so several are tried."""
    assert NGINX is not None
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports)
    file = folder / "nginx.conf"
    for _ in range(5):
        port = free_port()
        file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
        process = subprocess.Popen(
            [NGINX, "-c", str(file), "-p", str(folder)], stderr=subprocess.DEVNULL
        )
        # The file is written once it listens, and says that the port is its own.
        while process.poll() is None:
            if (folder / "pid").exists():
                return process, port
            time.sleep(0.05)
    raise AssertionError((folder / "errors").read_text())


@dataclass
class Line:
    """A line to a server. After each of the numbers of bytes in ``cuts`` all its connections break."""

    target: int
    cuts: list[int]
    sent: int = 0
    """Bytes that the client has sent."""
    broken: int = 0
    _listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _pairs: dict[socket.socket, socket.socket] = field(default_factory=dict)
    _clients: set[socket.socket] = field(default_factory=set)
    _is_closed: bool = False

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Line:
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed = True
        self._thread.join(20)
        self._break_all()
        self._listening.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(0.2):
                if key.fileobj is self._listening:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(1 << 18)
            self._pairs[source].sendall(data)
        if not data:
            self._break(source)
        elif source in self._clients:
            self.sent += len(data)
            if self.cuts and self.sent >= self.cuts[0]:
                self.cuts.pop(0)
                self.broken += 1
                self._break_all()

    def _break_all(self) -> None:
        for each in list(self._pairs):
            if each in self._pairs:
                self._break(each)

    def _break(self, one: socket.socket) -> None:
        for each in (one, self._pairs[one]):
            self._selector.unregister(each)
            del self._pairs[each]
            self._clients.discard(each)
            each.close()
