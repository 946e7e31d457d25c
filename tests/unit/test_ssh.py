"""What a hostile sshd can make this machine keep, which keys each host is offered, what ssh says."""

from __future__ import annotations

import contextlib
import io
import socket
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from sshrender.transports import sshconfig
from sshrender.transports.fabricssh import open_connection
from sshrender.transports.interface import ConnectFailed, FilesFailed, Refusal
from sshrender.transports.opensshcommand import ErrorLines, failure
from sshrender.transports.sftp import open_sftp
from tests.unit import sshd

MIB = 1 << 20
FLOOD = 48 * MIB
BOUND = 8 * MIB


def _flood(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head)
    for _ in range(FLOOD // MIB):
        connection.sendall(b"A" * MIB)


def _peak(work: Callable[[], object]) -> int:
    """Bytes that the work has kept at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"SSH-2.0-fake\r\n\x7f\xff\xff\xfc\x04\x14", "it announces a packet of"),
        (b"", "no version line"),
        (b"welcome\r\n", "no version line"),
    ],
    ids=["packet of 2 GiB", "version line without end", "greeting without end"],
)
def test_a_host_whose_key_is_not_yet_verified_cannot_fill_the_memory(
    tmp_path: Path, head: bytes, said: str
) -> None:
    def connect() -> None:
        with pytest.raises(ConnectFailed, match=said):
            open_connection(sshd.settings(tmp_path, port), 20)

    with sshd.listening(lambda connection: _flood(connection, head)) as port:
        assert _peak(connect) < BOUND


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (
            lambda connection: connection.recv(1000),
            "closed the connection before its first line",
        ),
        (lambda connection: connection.recv(1000) and connection.recv(1), "no ssh server answers there"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 200),
            'is not an ssh server: it sent "HTTP/1.1 400',
        ),
    ],
    ids=["hangs up", "frozen", "a web server"],
)
def test_a_port_where_no_ssh_server_answers_is_reported_in_plain_words(
    tmp_path: Path, talk: Callable[[socket.socket], Any], said: str
) -> None:
    with sshd.listening(talk) as port, pytest.raises(ConnectFailed) as failed:
        open_connection(sshd.settings(tmp_path, port), 2)
    assert said in failed.value.reason
    assert failed.value.refusal is Refusal.UNREACHABLE


def _identity(folder: Path, name: str = "id") -> tuple[paramiko.PKey, Path]:
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(folder / name))
    return key, folder / name


def _behind_login(
    folder: Path, behave: Callable[[Any, Any], None], work: Callable[[paramiko.Transport], None]
) -> None:
    """``work`` with a connection to a server that lets us in, and then does what ``behave`` does."""
    key, file = _identity(folder)
    server = sshd.Server(behave)
    server.accepted.add(key.asbytes())
    with sshd.listening(server.talk) as port:
        connection = open_connection(sshd.settings(folder, port, identity_files=(str(file),)), 20)
        try:
            work(connection.transport)
        finally:
            connection.close()


def test_a_host_that_sends_more_than_it_was_allowed_is_left(tmp_path: Path) -> None:
    """It ignores the window of the channel (RFC 4254, 5.2), and we do not read."""

    def flood(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        channel.recv(1)
        channel.out_window_size = 1 << 40
        for _ in range(FLOOD // MIB):
            channel.sendall(b"A" * MIB)

    kept = []

    def wait(transport: paramiko.Transport) -> None:
        channel = transport.open_session(timeout=20)
        channel.send(b"!")
        transport.join(60)
        kept.append(len(channel.in_buffer))
        assert not transport.is_active()

    _behind_login(tmp_path, flood, wait)
    assert kept[0] <= 2 * MIB


def test_a_host_that_is_logged_in_to_cannot_announce_a_larger_packet_either(tmp_path: Path) -> None:
    def ignore(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        channel.recv(1)
        message = paramiko.Message()
        message.add_byte(bytes([paramiko.common.MSG_IGNORE]))
        message.add_string(b"A" * MIB)
        transport._send_message(message)

    def wait(transport: paramiko.Transport) -> None:
        transport.open_session(timeout=20).send(b"!")
        transport.join(20)
        assert not transport.is_active()

    _behind_login(tmp_path, ignore, wait)


def test_an_sftp_server_cannot_announce_a_larger_answer_than_was_asked_for(tmp_path: Path) -> None:
    def announce(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        channel.sendall((8 * MIB).to_bytes(4, "big"))
        for _ in range(8):
            channel.sendall(b"\2" * MIB)

    def ask(transport: paramiko.Transport) -> None:
        with pytest.raises(FilesFailed, match="it announces an answer of"):
            open_sftp(transport, 20)

    _behind_login(tmp_path, announce, ask)


def _offered(folder: Path, text: str) -> list[bytes]:
    """The keys that a host with these settings of ssh_config is shown."""
    server = sshd.Server(lambda transport, channel: None)
    with sshd.listening(server.talk) as port:
        found = sshconfig.parse("fake", f"hostname 127.0.0.1\nport {port}\nuser render\n{text}")
        wanted = sshd.settings(folder, port)
        with contextlib.suppress(ConnectFailed):
            open_connection(replace(found, known_hosts=wanted.known_hosts), 20)
    return server.offered


def test_each_host_is_shown_the_keys_of_its_own_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    no_file = f"identityfile {tmp_path}/none\n"
    keys = [paramiko.ECDSAKey.generate() for _ in "12"]
    for number, key in enumerate(keys):
        sshd.agent(tmp_path / f"agent{number}", [key])
    for number, key in enumerate(keys):
        assert _offered(tmp_path, f"{no_file}identityagent {tmp_path}/agent{number}\n") == [
            key.asbytes()
        ]
    assert _offered(tmp_path, no_file) == []
    monkeypatch.setenv("OTHER_AGENT", f"{tmp_path}/agent1")
    assert _offered(tmp_path, f"{no_file}identityagent $OTHER_AGENT\n") == [keys[1].asbytes()]
    assert _offered(tmp_path, f"{no_file}identityagent none\n") == []


def test_with_identities_only_an_agent_shows_no_other_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity may be a private key with a passphrase, its public half, or not be there at all."""
    keys = [paramiko.ECDSAKey.generate() for _ in "1234"]
    sshd.agent(tmp_path / "agent", keys)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    public = [f"{key.get_name()} {key.get_base64()} me\n" for key in keys]
    (tmp_path / "a.pub").write_text(public[0])
    (tmp_path / "b.pub").write_text(public[1])
    keys[2].write_private_key_file(str(tmp_path / "c"), password="secret")
    _as_openssh(tmp_path / "c", keys[2])
    files = "".join(f"identityfile {tmp_path}/{name}\n" for name in ("a", "b.pub", "c", "missing"))
    assert _offered(tmp_path, files + "identitiesonly yes\n") == [key.asbytes() for key in keys[:3]]
    assert _offered(tmp_path, files + "identitiesonly no\n") == [key.asbytes() for key in keys]


def _as_openssh(file: Path, key: paramiko.PKey) -> None:
    """The format that ssh-keygen writes, with a passphrase."""
    from cryptography.hazmat.primitives import serialization as forms

    plain = io.StringIO()
    key.write_private_key(plain)
    loaded = forms.load_pem_private_key(plain.getvalue().encode(), None)
    file.write_bytes(
        loaded.private_bytes(
            forms.Encoding.PEM,
            forms.PrivateFormat.OpenSSH,
            forms.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("127.0.0.1 {own}", ""),
        ("127.0.0.1 {other}", "is not known"),
        ("@revoked 127.0.0.1 {own}", "is revoked"),
        ("127.0.0.1 {own}\n[127.0.0.1]:{port} {other}", "has changed"),
    ],
)
def test_a_key_that_is_known_without_the_port_counts_where_none_is_known_with_it(
    tmp_path: Path, line: str, reason: str
) -> None:
    """As with ssh, for an sshd that was moved to another port."""
    key, file = _identity(tmp_path)
    server = sshd.Server(lambda _transport, _channel: None)
    server.accepted.add(key.asbytes())
    own, other = (
        f"{each.get_name()} {each.get_base64()}"
        for each in (server.host_key, paramiko.ECDSAKey.generate())
    )
    with sshd.listening(server.talk) as port:
        settings = sshd.settings(tmp_path, port, identity_files=(str(file),))
        Path(settings.known_hosts[0]).write_text(line.format(own=own, other=other, port=port) + "\n")
        if not reason:
            open_connection(settings, 20).close()
            return
        with pytest.raises(ConnectFailed, match=reason) as caught:
            open_connection(settings, 20)
        assert caught.value.refusal is Refusal.HOST_KEY


def test_a_changed_key_names_its_file_whatever_that_is_called() -> None:
    errors = ErrorLines()
    errors.feed(
        b"@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
        b"Offending ED25519 key in /home/An na/known hosts:3\r\n"
        b"Host key verification failed.\r\n"
    )
    found = failure(errors)
    assert found.refusal is Refusal.HOST_KEY
    assert str(found).endswith("not the one in /home/An na/known hosts:3")
