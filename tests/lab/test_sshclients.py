"""Both ssh clients against a real sshd: what they honour, and what they say when they are refused."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.coordinator.hosts.connection import HostConnection, LinkFailed
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.transports import startwatch
from sshrender.transports.framing import MessageReader, encode
from sshrender.transports.interface import ConnectFailed, FilesFailed, Link, Refusal, RunnerSpec
from sshrender.transports.messages import Hello
from sshrender.transports.openssh import OpensshLink
from sshrender.transports.sshchoice import FABRIC, OPENSSH, ChosenTransport
from sshrender.transports.sshconfig import Overrides
from sshrender.transports.startwatch import WatchedLink
from tests.lab.host import new_key
from tests.lab.loopback import Loopback
from tests.stretch import stretched, wait_until

CLIENTS = [FABRIC, OPENSSH]
TIMEOUT = 60.0


@pytest.fixture
def to_it(loopback: Loopback, tmp_path: Path) -> Overrides:
    """Return how the inventory would reach it, without any ssh_config."""
    config = tmp_path / "ssh_config"
    config.write_text("")
    return Overrides(
        address="127.0.0.1",
        port=loopback.port,
        user=loopback.user,
        identity_file=str(loopback.identity),
        known_hosts=str(loopback.known_hosts),
        config_file=str(config),
    )


def _connect(overrides: Overrides, client: str = "auto", name: str = "loopback") -> Link:
    spec = RunnerSpec("python3", "clients", secrets.token_hex(4), 20.0)
    link = ChosenTransport(name, replace(overrides, client=client)).connect(spec, TIMEOUT)
    reader = MessageReader(spec.marker)
    link.write(
        encode("hello") + encode("prepare", folder="/nowhere", nonce_file="n", nonce="n"), TIMEOUT
    )
    wait_until(
        lambda: any(isinstance(each, Hello) for each in reader.feed(link.read(0.2))),
        TIMEOUT,
        "what it says first",
        pause=0,
    )
    return link


def _refused(overrides: Overrides, client: str, name: str = "loopback") -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        _connect(overrides, client, name).close()
    return caught.value


def _key(folder: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    path = folder / f"id_{kind}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_key_that_the_host_does_not_know_is_a_refusal_of_our_login(
    to_it: Overrides, tmp_path: Path, kind: str, client: str
) -> None:
    failed = _refused(replace(to_it, identity_file=str(_key(tmp_path, kind))), client)
    assert failed.refusal is Refusal.AUTHENTICATION


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_file_that_cannot_be_used_is_named(to_it: Overrides, tmp_path: Path, client: str) -> None:
    locked = _key(tmp_path, "ed25519", "secret")
    failed = _refused(replace(to_it, identity_file=str(locked)), client)
    assert failed.refusal is Refusal.AUTHENTICATION
    assert f"ssh-add {locked}" in failed.reason
    odd = tmp_path / "odd"
    odd.write_text("no key\n")
    failed = _refused(replace(to_it, identity_file=str(odd)), client)
    assert failed.refusal is Refusal.AUTHENTICATION
    assert f"{odd} is no private key" in failed.reason


FORCED = {
    "a forced command": ("echo for backups only", "(exit code 0); the host says: for backups only"),
    "a start-up file that ends the shell": ("exit 3", "ended with exit code 3"),
    "words and an exit code": (
        "echo down for maintenance; exit 5",
        "(exit code 5); the host says: down",
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("program", ["fish", "cat"])
def test_a_program_that_reads_to_the_end_in_the_place_of_the_runner_is_found_out(
    loopback: Loopback,
    to_it: Overrides,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    program: str,
) -> None:
    """What it reads never ends, so it would be waited for as long as for any hello."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
    monkeypatch.setattr(startwatch, "TEST_AFTER", 0.0)
    with _forced(loopback, tmp_path, program) as key:
        failed = _failure(replace(to_it, identity_file=str(key)), client)
    assert failed.refusal is Refusal.PROTOCOL
    assert "starts another shell or program in its place" in failed.reason


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", FORCED)
def test_what_runs_in_the_place_of_the_runner_is_said(
    loopback: Loopback, to_it: Overrides, tmp_path: Path, client: str, case: str
) -> None:
    command, words = FORCED[case]
    with _forced(loopback, tmp_path, command) as key:
        said = _failure(replace(to_it, identity_file=str(key)), client).reason
    assert "the runner did not start" in said
    assert words in said


def test_a_signal_on_the_host_is_no_broken_connection(
    loopback: Loopback, to_it: Overrides, tmp_path: Path
) -> None:
    with _forced(loopback, tmp_path, "kill -KILL $$") as key:
        failed = _failure(replace(to_it, identity_file=str(key)), FABRIC)
    assert failed.refusal is Refusal.UNREACHABLE
    assert "ended by a signal" in failed.reason


@contextlib.contextmanager
def _forced(loopback: Loopback, folder: Path, command: str) -> Iterator[Path]:
    """Give a key with which the host runs this command in the place of any other."""
    key = _key(folder)
    allowed = loopback.identity.parent / "home" / ".ssh" / "authorized_keys"
    allowed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    allowed.write_text(f'command="{command}" {key.with_suffix(".pub").read_text()}')
    try:
        yield key
    finally:
        allowed.unlink()


def _failure(overrides: Overrides, client: str) -> LinkFailed:
    """Return why the runner does not run: at once, or when its first answer is read."""
    spec = RunnerSpec("python3", "clients", secrets.token_hex(4), 20.0)
    setup = SimpleNamespace(
        plan=SimpleNamespace(name="loopback"),
        python="python3",
        connect_timeout=TIMEOUT,
        silence=None,
        transport=ChosenTransport("loopback", replace(overrides, client=client)),
    )
    posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    connection = HostConnection(cast("HostSetup", setup), spec.label, posted.put)
    connection.start()
    failed = posted.get(timeout=stretched(TIMEOUT))
    connection.close()
    connection.join(TIMEOUT)
    for thread in threading.enumerate():
        if thread.name == "close loopback":
            thread.join(TIMEOUT)
    assert isinstance(failed, LinkFailed)
    return failed


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unknown_and_a_changed_host_key_are_refused(
    loopback: Loopback, to_it: Overrides, tmp_path: Path, client: str
) -> None:
    known = tmp_path / "known"
    known.write_text("")
    failed = _refused(replace(to_it, known_hosts=str(known)), client)
    assert failed.refusal is Refusal.HOST_KEY
    assert "is not known" in failed.reason
    assert client == OPENSSH or "SHA256:" in failed.reason  # ssh shows it only to a person
    assert new_key(tmp_path / "other").wait(timeout=60) == 0
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{loopback.port} {kind} {key}\n")
    failed = _refused(replace(to_it, known_hosts=str(known)), client)
    assert failed.refusal is Refusal.HOST_KEY
    assert "has changed" in failed.reason
    assert f"{known}:1" in failed.reason


@pytest.mark.parametrize("client", CLIENTS)
def test_hosts_that_are_not_there_are_told_apart(to_it: Overrides, client: str) -> None:
    assert _refused(replace(to_it, address="no.such.host.invalid"), client).refusal is Refusal.NO_ADDRESS
    assert _refused(replace(to_it, port=1), client).refusal is Refusal.UNREACHABLE


@pytest.mark.parametrize("client", CLIENTS)
def test_a_setting_that_ssh_does_not_know_is_a_fault_of_the_configuration(
    to_it: Overrides, client: str
) -> None:
    assert to_it.config_file is not None
    Path(to_it.config_file).write_text("NoSuchKeyword yes\n")
    assert _refused(to_it, client).refusal is Refusal.CONFIGURATION


@pytest.mark.parametrize("client", CLIENTS)
def test_jump_hosts_in_a_circle_are_refused_at_once(to_it: Overrides, client: str) -> None:
    assert to_it.config_file is not None
    Path(to_it.config_file).write_text("Host a\nProxyJump b\nHost b\nProxyJump c\nHost c\nProxyJump a\n")
    failed = _refused(to_it, client, "a")
    assert failed.refusal is Refusal.CONFIGURATION
    assert "a → b → c → a" in failed.reason


@pytest.mark.parametrize("client", CLIENTS)
def test_a_jump_host_is_gone_through_and_named_when_it_refuses(
    loopback: Loopback, to_it: Overrides, tmp_path: Path, client: str
) -> None:
    assert to_it.config_file is not None
    config = Path(to_it.config_file)
    entry = (
        f'HostName 127.0.0.1\nPort {loopback.port}\nUser {loopback.user}\nIdentityFile "{{key}}"\n'
        f'IdentitiesOnly yes\nUserKnownHostsFile "{loopback.known_hosts}"\n'
    )
    way = f"Host gate\n{entry}\nHost behind\nProxyJump gate\n"
    config.write_text(way.format(key=loopback.identity))
    _connect(to_it, client, "behind").close()
    # Another name: connections to a jump host are shared while they last.
    way = way.replace("gate", "shut")
    config.write_text(way.format(key=_key(tmp_path, "ecdsa")))
    failed = _refused(to_it, client, "behind")
    assert failed.refusal is Refusal.AUTHENTICATION
    assert client == OPENSSH or failed.reason.startswith("jump host shut: ")


def test_a_certificate_of_the_user_is_honoured_by_the_client_that_can(
    loopback: Loopback, to_it: Overrides, tmp_path: Path
) -> None:
    """The host trusts the authority, and not the key itself."""
    authority, mine = loopback.identity, _key(tmp_path, "ecdsa")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", loopback.user, f"{mine}.pub"]
    subprocess.run(sign, check=True)
    certificate = mine.rename(tmp_path / "key").with_name("id_ecdsa-cert.pub")
    authorized = Path(f"{loopback.identity}.pub")
    before = authorized.read_text()
    authorized.write_text(f"cert-authority {before}")
    try:
        assert to_it.config_file is not None
        Path(to_it.config_file).write_text(f'CertificateFile "{certificate}"\n')
        with_key = replace(to_it, identity_file=str(tmp_path / "key"))
        _connect(with_key).close()
        failed = _refused(with_key, FABRIC)
    finally:
        authorized.write_text(before)
    assert failed.refusal is Refusal.CONFIGURATION
    assert "certificatefile" in failed.reason


def test_a_host_certificate_is_honoured_by_the_client_that_can(
    loopback: Loopback, to_it: Overrides, tmp_path: Path
) -> None:
    """The authority is trusted for another host name; this one's key is known as usual."""
    known = tmp_path / "known"
    line = loopback.known_hosts.read_text()
    authority = Path(f"{_key(tmp_path)}.pub").read_text()
    known.write_text(f"{line}@cert-authority [127.0.0.1]:* {authority}")
    failed = _refused(replace(to_it, known_hosts=str(known)), FABRIC)
    assert "@cert-authority" in failed.reason
    _connect(replace(to_it, known_hosts=str(known))).close()


@pytest.mark.parametrize("client", CLIENTS)
def test_files_travel_over_the_same_connection(to_it: Overrides, tmp_path: Path, client: str) -> None:
    link = _connect(to_it, client)
    try:
        content = os.urandom(3 << 20)
        (tmp_path / "ours").write_bytes(content)
        files = link.files(TIMEOUT)
        files.put(tmp_path / "ours", str(tmp_path / "theirs"))
        assert (tmp_path / "theirs").read_bytes() == content
        with (tmp_path / "back").open("wb") as back:
            files.get(str(tmp_path / "theirs"), len(content), back)
        assert (tmp_path / "back").read_bytes() == content
        with (tmp_path / "none").open("wb") as none, pytest.raises(FileNotFoundError):
            files.get(str(tmp_path / "missing"), 5, none)
        with pytest.raises(FilesFailed):
            files.put(tmp_path / "ours", str(tmp_path / "theirs"))
        files.close()
    finally:
        link.close()


def test_nothing_is_left_of_a_client_that_was_closed(
    to_it: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its folder nor a ProxyCommand."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert to_it.config_file is not None
    mark = f"mark-{secrets.token_hex(6)}"
    (tmp_path / "relay.py").write_text(RELAY)
    command = f"{sys.executable} -S {tmp_path}/relay.py %h %p {mark}"
    Path(to_it.config_file).write_text(f"ProxyCommand {command}\n")
    for client in CLIENTS:
        link = _connect(to_it, client)
        assert mark in _processes()
        link.close()
        wait_until(lambda: mark not in _processes(), TIMEOUT, "its ProxyCommand ends", pause=0.05)


RELAY = """
import os, select, socket, sys
server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
poll = select.poll()
poll.register(0, select.POLLIN)
poll.register(server, select.POLLIN)
while True:
    for descriptor, _ in poll.poll():
        data = os.read(descriptor, 65536)
        if not data and descriptor:
            sys.exit()  # the end of the client's side is not enough: it has to be ended
        if data:
            server.sendall(data) if descriptor == 0 else os.write(1, data)
"""


def _processes() -> str:
    return subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ("IgnoreUnknown UseKeychain\nUseKeychain yes\nRekeyLimit 1M\n", OPENSSH),
        ("ForkAfterAuthentication yes\n", FABRIC),
        ("RemoteCommand true\nSessionType none\nRekeyLimit 1M\n", OPENSSH),
    ],
)
def test_what_an_interactive_ssh_is_told_does_not_keep_a_runner_away(
    to_it: Overrides, lines: str, client: str
) -> None:
    Path(str(to_it.config_file)).write_text(lines)
    link = _connect(to_it)
    assert isinstance(link, WatchedLink)
    assert isinstance(link.inner, OpensshLink) == (client == OPENSSH)
    link.close()


def test_a_revoked_host_key_is_called_revoked(
    to_it: Overrides, loopback: Loopback, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text(loopback.known_hosts.read_text().split(None, 1)[1])
    Path(str(to_it.config_file)).write_text(f'RevokedHostKeys "{revoked}"\n')
    failed = _refused(to_it, "auto")
    assert failed.refusal is Refusal.HOST_KEY
    assert f"revoked by file {revoked}" in failed.reason


@pytest.mark.parametrize(
    ("command", "says"),
    [("no-such-program %h %p", "was not found: no-such"), ("false", "ended with exit code 1: false")],
)
def test_a_proxy_command_that_ends_is_named(to_it: Overrides, command: str, says: str) -> None:
    Path(str(to_it.config_file)).write_text(f"ProxyCommand {command}\n")
    failed = _refused(to_it, FABRIC)
    assert failed.refusal is Refusal.UNREACHABLE
    assert says in failed.reason
