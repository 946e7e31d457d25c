"""Whatever stands in a file or comes over the wire is understood or refused, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.config import inventory
from sshrender.config.declaration import SETTINGS
from sshrender.config.settings import resolve
from sshrender.config.units import parse_duration, parse_size
from sshrender.document import pagelist
from sshrender.document.facts import read_password
from sshrender.errors import ExitCode, UserError
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalformat import SCHEMA
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings, load_spec
from sshrender.storage import processidentity
from sshrender.transports import framing, knownhosts, messages, payload, sshconfig
from sshrender.transports.fabricssh import _enter_known_keys
from tests import pdfs
from tests.conftest import Run
from tests.entries import fields_of
from tests.lab.inventory import table
from tests.stretch import stretched, wait_until

IN_A_FOLDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.just(10**400)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=12)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


# Configuration


HOST_KEYS = [*inventory.HostEntry.model_fields, "nmae"]
WORDS = st.text("abn019[]-,./~ %@*", max_size=12) | st.sampled_from(["node[1-3]", "a,b", "strict", "5s"])
VALUES = JSON.filter(lambda value: value is not None) | WORDS
HOST = st.dictionaries(st.sampled_from(HOST_KEYS), VALUES, max_size=6)
NAMED = st.builds(lambda name, more: {**more, "name": name}, WORDS, HOST)


def _toml(san: Any, defaults: dict[str, Any], hosts: list[dict[str, Any]]) -> str:
    parts = [table("[san]", {"path": san}), table("[defaults]", defaults)]
    return "\n".join(parts + [table("[[hosts]]", host) for host in hosts])


def _is_an_inventory(file: Path, data: bytes) -> bool:
    """Whether these bytes are one; that they are none is said as a mistake of usage."""
    file.write_bytes(data)
    try:
        hosts = inventory.expand(inventory.load(file))
    except UserError as error:
        assert error.code is ExitCode.USAGE
        assert str(file) in error.what
        return False
    assert len({host.name for host in hosts}) == len(hosts) > 0
    assert all(host.idle_below <= host.busy_above for host in hosts)
    return True


@IN_A_FOLDER
@given(VALUES, HOST, st.lists(NAMED | HOST, max_size=3))
def test_an_inventory_of_any_shape_is_taken_or_refused(
    tmp_path: Path, san: Any, defaults: dict[str, Any], hosts: list[dict[str, Any]]
) -> None:
    _is_an_inventory(tmp_path / "hosts.toml", _toml(san, defaults, hosts).encode("utf-8", "replace"))


@IN_A_FOLDER
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_an_inventory_with_some_bytes_changed_is_taken_or_refused(
    tmp_path: Path, at: int, damage: bytes
) -> None:
    good = b'[san]\npath = "/san"\n[[hosts]]\nname = "node[1-3],big"\nslots = 2\nidle_below = 0.5\n'
    assert _is_an_inventory(tmp_path / "hosts.toml", good)
    _is_an_inventory(tmp_path / "hosts.toml", good[:at] + damage + good[at + len(damage) :])


@given(WORDS)
def test_any_selection_of_hosts_is_taken_or_refused(text: str) -> None:
    with contextlib.suppress(UserError):
        inventory.select([], text)


@IN_A_FOLDER
@given(
    st.dictionaries(st.sampled_from([*SETTINGS]), VALUES, max_size=5),
    st.dictionaries(st.sampled_from([*SETTINGS]), SCALARS.map(str), max_size=5),
    st.dictionaries(st.sampled_from([*SETTINGS, "x"]), VALUES, max_size=5),
)
def test_settings_of_any_shape_are_taken_or_refused(
    tmp_path: Path, options: dict[str, Any], variables: dict[str, str], file: dict[str, Any]
) -> None:
    config = tmp_path / "sshrender.toml"
    text = table("", file)
    config.write_text(text, encoding="utf-8", errors="replace")
    environ = {f"SSHRENDER_{key.upper()}": value for key, value in variables.items()}
    try:
        found = resolve(options, config, {**environ, "XDG_CONFIG_HOME": str(tmp_path / "none")})
    except UserError as error:
        assert error.code is ExitCode.USAGE
        return
    assert set(found.origins) == set(SETTINGS)


@given(st.text(max_size=20) | st.text("0123456789.smhdKMGTiB ", max_size=20))
def test_a_time_or_size_is_a_number_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) < 1e9
    with contextlib.suppress(ValueError):
        assert parse_size(text) >= 0


@given(st.text(max_size=30), st.integers(1, 500))
def test_any_page_list_selects_pages_or_is_refused(text: str, total: int) -> None:
    try:
        pages = pagelist.parse(text, total)
    except UserError as error:
        assert error.code is ExitCode.USAGE
        return
    assert pages == sorted(set(pages))
    assert 1 <= pages[0] <= pages[-1] <= total


@IN_A_FOLDER
@given(st.binary(max_size=60))
def test_any_password_file_is_one_line_or_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(data)
    try:
        assert "\n" not in read_password(file)
    except UserError as error:
        assert error.code is ExitCode.USAGE


# The job's files


FIELDS = ["schema", "type", "page", "file", "bytes", "sha256", "width", "host", "seconds", "diagnostics"]
KINDS = st.sampled_from(["page_delivered", "page_suspected", "document_diagnosed", "run_started"])


def _delivered(page: int) -> dict[str, Any]:
    record = history.PageRecord(page, f"page-{page:04d}.png", 10, "ab", 1, 2, "h", "10", 0.5, 1, ())
    return fields_of("page_delivered", 0.0, **record.as_fields())


def _write_journal(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))


@IN_A_FOLDER
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_journal_of_random_lines_is_an_empty_history(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert history.of(read_journal(path)).pages == {}


def _is_not_newer(fields: dict[str, Any]) -> bool:
    schema = fields.get("schema")
    return not isinstance(schema, int) or schema <= SCHEMA


@IN_A_FOLDER
@given(
    st.lists(
        st.tuples(
            KINDS,
            # Lines of a newer version end the history that this one can read.
            st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4).filter(_is_not_newer),
        ),
        max_size=6,
    )
)
def test_entries_of_wrong_types_cost_no_other_entry(
    tmp_path: Path, changes: list[tuple[str, dict[str, Any]]]
) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    odd = [{**_delivered(2), "type": kind, **fields} for kind, fields in changes]
    _write_journal(path, [*odd, _delivered(9)])
    found = history.of(read_journal(path))
    assert found.pages[9].file == "page-0009.png"
    history.keep_present(found, {"page-0009.png": 10}, "page-{:04}.png".format)
    assert 9 in found.pages


@IN_A_FOLDER
@given(st.integers(0, 1500), st.integers(0, 7))
def test_a_flipped_bit_costs_one_entry_at_most(tmp_path: Path, at: int, bit: int) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    _write_journal(path, [_delivered(page) for page in range(1, 6)])
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    path.write_bytes(bytes(data))
    found = history.of(read_journal(path))
    whole = {
        page: record for page, record in found.pages.items() if record.file == f"page-{page:04d}.png"
    }
    # A bit that ends a line, or joins two, costs both.
    assert len(set(whole) & set(range(1, 6))) >= 3


CLAIM = {"counter": 1, "epoch": 1, "host": "h", "pid": 0, "boot": "b", "started": "s", "token": "0" * 32}


def _take(path: Path) -> lease.Lease:
    moments = iter(range(10**6))
    return lease.take(path, clock=lambda: float(next(moments)), pause=lambda seconds: None)


def _tidy(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@IN_A_FOLDER
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_lease_of_any_content_can_be_taken(tmp_path: Path, data: bytes) -> None:
    _tidy(tmp_path)
    path = tmp_path / "lease"
    path.write_bytes(data)
    held = _take(path)
    held.beat()
    held.release()
    assert sorted(left.name for left in tmp_path.rglob("*")) == [".epochs", "00000001", "lease"]


@IN_A_FOLDER
@given(
    epoch=st.integers(-(2**70), 2**70),
    pid=st.integers(-(2**70), 2**70),
    counter=st.integers(-(2**70), 2**70),
    boot=st.text(max_size=8) | st.just(processidentity.space()),
)
def test_a_lease_with_odd_numbers_is_taken_over_and_its_epoch_counts(
    tmp_path: Path, epoch: int, pid: int, counter: int, boot: str
) -> None:
    _tidy(tmp_path)
    path = tmp_path / "lease"
    claim = {**CLAIM, "epoch": epoch, "pid": pid, "counter": counter, "boot": boot}
    path.write_text(json.dumps(claim))
    held = _take(path)
    is_sound = all(0 <= number < 1 << 62 for number in (epoch, pid, counter))
    assert held.epoch == (epoch + 1 if is_sound else 1)
    held.beat()


def _spec() -> JobSpec:
    return JobSpec(
        name="big-12345678",
        created="2026-01-31T12:00:00.000Z",
        document=DocumentRecord(name="big.pdf", bytes=100, sha256="0" * 64, pages=3),
        settings=RenderSettings(device="png16m", dpi=150, pages="1-3"),
    )


def _is_a_job(folder: JobFolder) -> bool:
    try:
        return load_spec(folder) is not None
    except UserError as error:
        assert error.code is ExitCode.STORAGE
        assert str(folder.spec) in error.what
        return False


@IN_A_FOLDER
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_job_of_any_content_is_damaged_storage(tmp_path: Path, data: bytes) -> None:
    folder = JobFolder(tmp_path)
    folder.spec.write_bytes(data)
    assert not _is_a_job(folder)


@IN_A_FOLDER
@given(st.integers(0, 500), st.binary(min_size=1, max_size=3))
def test_a_job_with_some_bytes_changed_is_a_job_or_damaged_storage(
    tmp_path: Path, at: int, damage: bytes
) -> None:
    folder = JobFolder(tmp_path)
    _spec().save(folder)
    data = folder.spec.read_bytes()
    at %= len(data)
    folder.spec.write_bytes(data[:at] + damage + data[at + len(damage) :])
    _is_a_job(folder)


RUBBISH = os.urandom(300) + b'\n{"schema": 2, "type": "page_delivered", "page": 1}\n[]\n' + b"\0" * 50


def test_a_job_whose_books_are_rubbish_is_done_all_the_same(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "two.pdf", pdfs.numbered(2))
    first = json.loads(sshrender("render", document, "-r", "36", "--json").stdout)
    wanted = {path.name: path.read_bytes() for path in (home / "two-pages").iterdir()}
    job = Path(first["job_dir"])
    for name in ("journal.jsonl", "lease", "manifest.json"):
        (job / name).write_bytes(RUBBISH)
    (job / "work" / "stray").write_bytes(RUBBISH)
    (job / "pages" / "page-0002.png").write_bytes(RUBBISH)
    answer = sshrender("render", document, "-r", "36", "--json")
    assert answer.returncode == 0, answer.stderr
    assert {path.name: path.read_bytes() for path in (home / "two-pages").iterdir()} == wanted
    assert json.loads((job / "manifest.json").read_text())["pages"][1]["state"] == "done"
    (job / "job.json").write_bytes(RUBBISH)
    answer = sshrender("render", document, "-r", "36")
    assert answer.returncode == ExitCode.STORAGE
    assert "job.json is damaged" in answer.stderr


# What ssh and known_hosts say


KEY = paramiko.ECDSAKey.generate()
MARKERS = st.sampled_from(["", "@revoked ", "@cert-authority ", "@x "])
PATTERNS = st.text("node1*?!,[]:|=", min_size=1, max_size=12) | st.text(max_size=8)
KNOWN_KINDS = st.sampled_from(["ssh-rsa", "ssh-ed25519", KEY.get_name(), "rsa-sha2-512"])
BLOBS = st.sampled_from([KEY.get_base64(), "AAAA", "!", "AAAAB3NzaC1yc2EAAAADAQAB"])
KNOWN = st.builds("{}{} {} {} c".format, MARKERS, PATTERNS, KNOWN_KINDS, BLOBS)


@IN_A_FOLDER
@given(st.lists(KNOWN, max_size=6), st.binary(max_size=40))
def test_known_hosts_of_any_content_are_read(tmp_path: Path, lines: list[str], rubbish: bytes) -> None:
    file = tmp_path / "known"
    good = f"node1 {KEY.get_name()} {KEY.get_base64()}"
    text = "\n".join([*lines, good]).encode("utf-8", "replace")
    file.write_bytes(rubbish + b"\n" + text + b"\n" + rubbish)
    known = knownhosts.lookup([str(file)], "node1")
    assert any(line.blob == KEY.asbytes() and not line.is_revoked for line in known)
    client = paramiko.SSHClient()
    _enter_known_keys(client, sshconfig.SshSettings("node1", "node1"), known)
    assert client.get_host_keys().lookup("node1") is not None


SSH_KEYS = st.sampled_from(
    ["user", "hostname", "identityagent", "proxyjump", "proxycommand", "hostkeyalias", "Host"]
    + ["stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "identityfile"]
)
SSH_VALUES = st.text(max_size=20).filter(lambda text: "\0" not in text)


@given(
    st.lists(st.tuples(SSH_KEYS, SSH_VALUES), max_size=12), st.integers(1, 65535), st.text(max_size=20)
)
def test_whatever_ssh_prints_is_settings(lines: list[tuple[str, str]], port: int, rubbish: str) -> None:
    rubbish = rubbish.replace("port", "")
    text = "".join(f"{key} {value}\n" for key, value in lines)
    try:
        found = sshconfig.parse("node1", f"port {port}\n{text}{rubbish}")
    except (RuntimeError, ValueError) as error:  # resolve() makes a refusal of both
        assert "~" in text or "unknown token" in str(error) or "with a space" in str(error)
        return
    assert found.port == port
    assert found.host_key in (sshconfig.STRICT, sshconfig.ACCEPT_NEW)
    assert found.hostname


# The wire, towards us


TYPES = st.sampled_from(sorted(messages._DECODERS))
WIRE_FIELDS = ["attempt", "bytes", "sha256", "page_size", "seconds", "cpu", "kind", "reason"]
WIRE_FIELDS += [
    "diagnostics",
    "page",
    "pages",
    "others",
    "ours",
    "free_memory",
    "san",
    "cores",
    "python",
    "ghostscript",
]
MESSAGES = st.builds(
    lambda kind, fields: b"@mark " + json.dumps({"type": kind, **fields}).encode() + b"\n",
    TYPES,
    st.dictionaries(st.sampled_from(WIRE_FIELDS), JSON, max_size=8),
)
NOISE = st.binary(max_size=40) | st.just(b"@mark ") | st.just(b"\n") | st.just(b"@mark {}\n")


def _hear(data: bytes, cuts: list[int]) -> Iterator[messages.Message]:
    reader = framing.MessageReader("mark")
    at = 0
    for cut in [*cuts, len(data)]:
        yield from reader.feed(data[at : at + cut])
        at += cut
    assert len(reader.noise) <= framing.KEPT_NOISE


@given(st.lists(MESSAGES | NOISE, max_size=12), st.lists(st.integers(1, 60), max_size=12))
def test_whatever_a_host_sends_is_messages_or_another_protocol(
    parts: list[bytes], cuts: list[int]
) -> None:
    heard = []
    with contextlib.suppress(messages.ProtocolError):
        for message in _hear(b"".join(parts), cuts):
            heard.append(message)
    for message in heard:
        for value in message:
            assert not isinstance(value, float) or 0 <= value <= 1e18


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(1, 60), max_size=12))
def test_messages_are_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    def heard(cuts: list[int]) -> list[object]:
        found: list[object] = []
        try:
            found += _hear(b"".join(parts), cuts)
        except messages.ProtocolError as error:
            found.append(str(error))
        return [each for each in found if isinstance(each, str)] or found

    assert heard(cuts) == heard([])


# The wire, towards a runner


OPS = st.sampled_from(
    ["hello", "prepare", "render", "revoke", "kill", "finish", "ping", "x", "", None, 5]
)
ASKED = ["attempt", "page", "file", "index", "output", "ghostscript", "folder", "nonce", "nonce_file"]
ASKED += ["slots", "device", "dpi", "page_timeout", "page_memory", "idle_below"]
REQUESTS = st.builds(
    lambda op, fields: json.dumps({"op": op, **fields}).encode() + b"\n",
    OPS,
    st.dictionaries(st.sampled_from(ASKED), JSON, max_size=6),
)
MARK = "fuzzmark"


def _runner(folder: Path) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    argv = payload.argv(sys.executable, "fuzz")
    process = subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(payload.build(MARK, 30.0))
    return process


def _group_is_gone(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(REQUESTS | st.binary(max_size=40).map(lambda data: data + b"\n"), max_size=60))
def test_a_runner_survives_what_it_does_not_understand_and_ends_with_its_input(
    tmp_path: Path, requests: list[bytes]
) -> None:
    process = _runner(tmp_path)
    out, _ = process.communicate(b"".join(requests) + b'{"op": "nonsense"}\n', timeout=stretched(90))
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: _group_is_gone(process.pid), pause=0.01)
    heard = framing.MessageReader(MARK).feed(out)
    assert messages.Trouble("bad request: KeyError: 'nonsense'") in heard
    assert list(tmp_path.iterdir()) == []


def test_a_runner_that_is_told_nothing_at_all_ends(tmp_path: Path) -> None:
    for data in (b"", b"rubbish without an end", os.urandom(5000).replace(b"\0", b"")):
        process = subprocess.Popen(
            payload.argv(sys.executable, "fuzz"),
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            start_new_session=True,
        )
        process.communicate(data, timeout=stretched(90))
        wait_until(lambda pid=process.pid: _group_is_gone(pid), pause=0.01)  # type: ignore[misc]


@pytest.mark.parametrize("size", [10, 1000, 20_000])
def test_half_a_runner_does_nothing(tmp_path: Path, size: int) -> None:
    whole = payload.build(MARK, 30.0)
    process = subprocess.run(
        payload.argv(sys.executable, "fuzz"),
        input=whole[: min(size, len(whole) - 1)],
        capture_output=True,
        cwd=tmp_path,
        timeout=stretched(90),
        check=False,
    )
    # The loader names its Python, which is no message.
    assert framing.MessageReader(MARK).feed(process.stdout) == []
    assert process.stdout.count(b"\n") <= 1
    assert list(tmp_path.iterdir()) == []
