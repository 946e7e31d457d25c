"""An ssh server on loopback that does what a test tells it to, and an agent with keys."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
from paramiko import common
from paramiko.agent import (
    SSH2_AGENT_IDENTITIES_ANSWER,
    SSH2_AGENT_SIGN_RESPONSE,
    cSSH2_AGENTC_REQUEST_IDENTITIES,
)

from sshrender.transports.sshconfig import SshSettings

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(talk: Talk) -> Iterator[int]:
    """Call ``talk`` with each connection, in a thread; the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(
                        target=_guarded, args=(talk, server.accept()[0]), daemon=True
                    ).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _guarded(talk: Talk, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        talk(connection)


class Server(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    """Accepts the keys in ``accepted``, and remembers each key that it was offered."""

    host_key = paramiko.ECDSAKey.generate()

    def __init__(self, behave: Callable[[paramiko.Transport, paramiko.Channel], None]) -> None:
        self.accepted: set[bytes] = set()
        self.offered: list[bytes] = []
        self._behave = behave

    def talk(self, connection: socket.socket) -> None:
        """Serve one connection."""
        transport = paramiko.Transport(connection)
        transport.add_server_key(self.host_key)
        transport.start_server(server=self)
        channel = transport.accept(20)
        if channel is not None:
            self._behave(transport, channel)
        while transport.is_active():
            transport.join(0.2)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if key.asbytes() not in self.offered:
            self.offered.append(key.asbytes())
        is_good = key.asbytes() in self.accepted
        return int(common.AUTH_SUCCESSFUL if is_good else common.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(common.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        return True


def settings(folder: Path, port: int, **changes: object) -> SshSettings:
    """How to reach such a server, whose key is on record; it is told the name "render"."""
    known = folder / f"known_hosts_{port}"
    key = Server.host_key
    known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    fields = {"hostname": "127.0.0.1", "port": port, "user": "render", "known_hosts": (str(known),)}
    return SshSettings(name="fake", **{**fields, "uses_agent": False, **changes})  # type: ignore[arg-type]


def agent(path: Path, keys: list[paramiko.PKey]) -> None:
    """Answer at ``path`` with these keys."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    answer = paramiko.Message()
    answer.add_byte(bytes([SSH2_AGENT_IDENTITIES_ANSWER]))
    answer.add_int(len(keys))
    for key in keys:
        answer.add_string(key.asbytes())
        answer.add_string("a comment")
    data = answer.asbytes()

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while asked := connection.recv(4096):
                    is_list = asked[4:5] == cSSH2_AGENTC_REQUEST_IDENTITIES
                    said = data if is_list else _signed(keys, asked[5:])
                    connection.sendall(len(said).to_bytes(4, "big") + said)

    threading.Thread(target=serve, daemon=True).start()


def _signed(keys: list[paramiko.PKey], asked: bytes) -> bytes:
    message = paramiko.Message(asked)
    blob, data = message.get_binary(), message.get_binary()
    (key,) = [key for key in keys if key.asbytes() == blob]
    answer = paramiko.Message()
    answer.add_byte(bytes([SSH2_AGENT_SIGN_RESPONSE]))
    answer.add_string(key.sign_ssh_data(data).asbytes())
    said: bytes = answer.asbytes()
    return said
