"""The protocol's grammar, ssh's configuration and known_hosts: hosts are believed nothing unchecked."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.transports import framing, knownhosts, limitmessages, messages, openssh, sshconfig
from sshrender.transports.interface import LinkClosed
from sshrender.transports.local import LocalLink

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(
    ["hello", "heartbeat", "started", "rendered", "failed", "revoked", "suspected", "noted", "reopening"]
)
FIELDS = st.sampled_from(
    ["attempt", "bytes", "sha256", "page_size", "seconds", "diagnostics", "kind", "reason"]
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(line: bytes) -> None:
    try:
        messages.decode(line)
    except messages.ProtocolError:
        return


@given(TYPES, st.dictionaries(FIELDS, JSON, max_size=8))
def test_any_fields_are_a_message_or_a_protocol_error(kind: str, fields: dict[str, object]) -> None:
    try:
        message = messages.decode(json.dumps({"type": kind, **fields}).encode())
    except messages.ProtocolError:
        return
    if isinstance(message, messages.Rendered):
        assert message.bytes >= 0
        assert isinstance(message.sha256, str)


@given(st.lists(st.integers(1, 50), max_size=10), st.binary(max_size=30))
def test_our_lines_are_found_however_they_are_cut_and_whatever_stands_before(
    cuts: list[int], noise: bytes
) -> None:
    noise = noise.replace(b"\n", b"").replace(b"@", b"")
    line = json.dumps({"type": "started", "attempt": "1.1"}).encode()
    data = noise + b"\nprompt$ @mark " + line + b"\n" + noise + b"\n@mark " + line + b"\n"
    reader = framing.MessageReader("mark")
    found: list[messages.Message] = []
    at = 0
    for cut in [*cuts, len(data)]:
        found += reader.feed(data[at : at + cut])
        at += cut
    assert found == [messages.Started("1.1")] * 2


def test_a_line_without_end_is_refused() -> None:
    reader = framing.MessageReader("mark")
    with pytest.raises(messages.ProtocolError, match="bytes"):
        for _ in range(100):
            reader.feed(b"x" * 100_000)


def test_the_last_line_of_a_killed_runner_is_no_breach_of_the_protocol() -> None:
    reader = framing.MessageReader("mark")
    whole, cut = b'@mark {"type": "started", "attempt": "1.1"}\n', b'@mark {"type": "rendered", "att'
    assert reader.feed(whole + cut) == [messages.Started("1.1")]
    assert reader.feed(b"srun: error: node07: task 0: Killed\nsrun: Terminating\n") == []
    assert list(reader.noise)[-1] == "srun: Terminating"
    with pytest.raises(messages.ProtocolError, match="not JSON"):
        reader.feed(whole)


def test_a_flood_of_noise_is_refused_and_kept_short() -> None:
    reader = framing.MessageReader("mark")
    with pytest.raises(messages.ProtocolError, match="that are not messages"):
        for _ in range(2000):
            reader.feed((b"y" * 1000 + b"\n") * 50)
    assert len(reader.noise) <= framing.KEPT_NOISE


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("python3: error while loading shared libraries: libz.so.1: failed to map segment from", "-v"),
        ("MemoryError", "-v"),
        ("bash: fork: retry: Resource temporarily unavailable", "-u"),
        ("RuntimeError: can't start new thread", "-u"),
        ("OSError: [Errno 24] Too many open files: '/usr/lib/python3.11/zlib.py'", "-n"),
        ("sshrender runner: a limit of this host is too low: RLIMIT_AS, ulimit -v is 1", "-v is 1"),
    ],
)
def test_what_a_host_prints_before_its_runner_speaks_names_its_limit(line: str, limit: str) -> None:
    found = limitmessages.limit_in(["Welcome!", line, "logout"])
    assert found.startswith("a limit of this host is too low")
    assert f"ulimit {limit}" in found


@pytest.mark.parametrize("line", ["python3: command not found", "Memory: 64 GiB", "Permission denied"])
def test_other_words_are_no_limit(line: str) -> None:
    assert not limitmessages.limit_in([line])


def test_ssh_config_is_asked_of_ssh_itself(tmp_path: Path) -> None:
    included = tmp_path / "more"
    included.write_text("Host node*\n  User deep\n  Port 2222\n  HostKeyAlias farm\n")
    config = tmp_path / "config"
    config.write_text(
        f'Include "{included}"\nHost node1\n  HostName 10.9.8.7\n  ProxyJump me@jump:99\n'
        "  StrictHostKeyChecking accept-new\n"
    )
    settings = sshconfig.resolve("node1", sshconfig.Overrides(config_file=str(config)))
    assert (settings.hostname, settings.port, settings.user) == ("10.9.8.7", 2222, "deep")
    assert settings.proxy_jump == "me@jump:99"
    assert settings.known_name == "farm"
    assert settings.host_key == sshconfig.ACCEPT_NEW
    overrides = sshconfig.Overrides(
        config_file=str(config), user="other", port=7, address="1.2.3.4", host_key="strict"
    )
    settings = sshconfig.resolve("node1", overrides)
    assert (settings.user, settings.port, settings.hostname) == ("other", 7, "1.2.3.4")
    assert settings.host_key == sshconfig.STRICT


def test_proxy_command_tokens_are_replaced() -> None:
    text = "hostname h.example\nport 2200\nuser u\nproxycommand nc %h %p as %r to %n 100%%\n"
    settings = sshconfig.parse("h", text)
    assert settings.proxy_command == "nc h.example 2200 as u to h 100%"
    assert settings.known_name == "[h.example]:2200"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("jump", (None, "jump", None)),
        ("me@jump:2200", ("me", "jump", 2200)),
        ("ssh://me@[fe80::1]:22", ("me", "fe80::1", 22)),
    ],
)
def test_destinations(text: str, parts: tuple[str | None, str, int | None]) -> None:
    assert sshconfig.destination(text) == parts


@pytest.mark.parametrize(
    ("patterns", "name", "matches"),
    [
        ("node1,10.0.0.1", "10.0.0.1", True),
        ("node*", "node7", True),
        ("node*,!node7", "node7", False),
        ("[10.0.0.1]:2222", "[10.0.0.1]:2222", True),
        ("[10.0.0.1]:2222", "10.0.0.1", False),
        ("NODE1", "node1", True),
        ("|1|bad|hash", "node1", False),
    ],
)
def test_which_names_a_known_hosts_line_speaks_of(patterns: str, name: str, matches: bool) -> None:
    assert knownhosts.names_match(patterns, name) is matches


def test_hashed_names_revoked_keys_and_rubbish(tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    file = tmp_path / "known"
    hashed = paramiko.HostKeys.hash_host("secret.example")
    file.write_text(
        f"# comment\n\nrubbish\n{hashed} {key.get_name()} {key.get_base64()}\n"
        f"@revoked secret.example {key.get_name()} {key.get_base64()}\n"
        f"@cert-authority * {key.get_name()} {key.get_base64()}\nother ssh-rsa !!!\n"
    )
    found = knownhosts.lookup([str(file), str(tmp_path / "absent")], "secret.example")
    assert [line.is_revoked for line in found] == [False, True]
    assert found[0].blob == key.asbytes()


def test_a_new_key_is_remembered_as_ssh_keygen_reads_it(tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    file = tmp_path / "deep" / "known"
    knownhosts.remember(file, "[h]:22", key)
    answer = subprocess.run(
        ["ssh-keygen", "-lF", "[h]:22", "-f", str(file)], capture_output=True, text=True, check=True
    )
    assert knownhosts.fingerprint(key.asbytes()) in answer.stdout
    assert file.stat().st_mode & 0o077 == 0


def test_a_link_that_another_thread_closes_reads_no_other_file() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    link = LocalLink(process)
    link.write(b"x", 60)
    assert link.read(60) == b"x"
    assert process.stdout is not None
    with link._outputs.in_use():
        link.close()
        # The number is not free while a call waits with it; the process has ended all the same.
        assert not process.stdout.closed
        assert process.wait(60) == 0
    assert process.stdout.closed
    with pytest.raises(LinkClosed):
        link.read(60)
    with pytest.raises(LinkClosed):
        link.write(b"x", 60)


@pytest.mark.parametrize("name", ["a b", "50%", 'a"b'])
def test_the_control_socket_is_in_no_folder_whose_name_ssh_would_read_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    made = openssh._private_folder()
    made.rmdir()
    assert made.parent == Path("/tmp")
