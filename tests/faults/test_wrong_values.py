"""Single values that no honest program writes, each of which once ended a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import paramiko
import pytest

from sshrender.config import inventory
from sshrender.config.units import parse_size
from sshrender.coordinator.hosts.handshake import check_host
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.records import Host
from sshrender.errors import ExitCode, UserError
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history
from sshrender.job.journal.journal import read_journal
from sshrender.job.spec import RecipeRecord, RenderSettings, job_name, load_spec
from sshrender.transports import fabricssh, knownhosts, messages, sshconfig
from sshrender.transports.interface import ConnectFailed
from tests.entries import entries_of, fields_of, parsed

CLAIM = {"counter": 1, "epoch": 1, "host": "h", "pid": 0, "boot": "b", "started": "s", "token": "0" * 32}


@pytest.mark.parametrize("character", "\x85\u2028\u2029\x0b\x1c\n")
def test_a_user_cannot_smuggle_in_a_proxy_command(character: str) -> None:
    overrides = sshconfig.Overrides(user=f"x{character}proxycommand touch canary")
    try:
        found = sshconfig.resolve("node1", overrides)
    except ConnectFailed:
        return
    assert found.proxy_command is None


def test_a_known_key_of_an_unknown_kind_is_passed_over() -> None:
    known = [knownhosts.KnownKey("sk-ssh-ed25519@openssh.com", b"x", False, "f", 1)]
    fabricssh._enter_known_keys(paramiko.SSHClient(), sshconfig.SshSettings("n", "n"), known)


@pytest.mark.parametrize("known_hosts", ["~nobody-here/x", "a\0b"])
def test_a_path_that_cannot_be_is_a_matter_of_configuration(known_hosts: str) -> None:
    with pytest.raises(ConnectFailed):
        sshconfig.resolve("node1", sshconfig.Overrides(known_hosts=known_hosts, user="a\0b"))


@pytest.mark.parametrize("seconds", [0.0, 5e-324, 1e-310])
def test_a_page_in_no_time_fills_no_queue_beyond_its_bound(seconds: float) -> None:
    host = Host(HostPlan("a", 1), slots=1, pages_done=1)
    host.note_seconds_per_page(seconds, 1.0, 0.0)
    assert host.capacity(Policy()) <= 1 + Policy().max_queued


def test_a_host_that_has_delivered_nothing_is_not_believed_about_its_cores() -> None:
    assert Host(HostPlan("a"), slots=1000).capacity(Policy()) <= Policy().probation


def test_a_version_of_5000_digits_is_no_version() -> None:
    fields = {"type": "hello", "python": "3.11", "ghostscript": "9" * 5000 + ".0", "cores": 10**15}
    hello = messages.decode(json.dumps(fields).encode())
    assert isinstance(hello, messages.Hello)
    assert hello.cores <= messages.MAX_CORES
    assert isinstance(check_host("h", hello, "/san"), ev.HostRefused)


def test_a_number_too_large_for_a_float_is_a_protocol_error() -> None:
    with pytest.raises(messages.ProtocolError):
        messages.decode(b'{"type": "heartbeat", "others": 1' + b"0" * 400 + b', "ours": 0}')


HELLO = {"type": "hello", "python": "3.11.2"}
BEAT = {"type": "heartbeat", "others": 0, "ours": 0}
REPORT = {
    "type": "rendered",
    "attempt": "1.1",
    "bytes": 1,
    "sha256": "0" * 64,
    "page_size": None,
    "seconds": 0.1,
    "cpu": 0.1,
}
FAILED = {"type": "failed", "attempt": "1.1", "kind": "crashed", "reason": "x"}
SUSPECTED = {"type": "suspected", "attempt": "1.1", "page": 1, "diagnostics": ["x"]}


def test_messages_of_an_honest_runner_are_understood() -> None:
    for fields in (HELLO, BEAT, REPORT, FAILED, SUSPECTED, {**HELLO, "missing": [], "slots": 4}):
        messages.decode(json.dumps(fields).encode())
    missing = {**HELLO, "missing": ["x"], "missing_recipes": [0]}
    assert messages.decode(json.dumps(missing).encode())


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (HELLO, {"missing": ["x"], "missing_recipes": [1, 0]}),
        (HELLO, {"missing": ["x", "y"], "missing_recipes": [0, 0]}),
        (HELLO, {"missing": ["x"], "missing_recipes": [-1]}),
        (HELLO, {"missing": ["x"], "missing_recipes": [10**9]}),
        (HELLO, {"missing_recipes": [0]}),
        (HELLO, {"cores": 1.5}),
        (HELLO, {"others": 1e300}),
        (HELLO, {"canary": "x" * 64}),
        (HELLO, {"fonts": {"digest": "many", "groups": {}}}),
        (HELLO, {"fonts": {"digest": "0" * 64, "groups": {"urw": -1}}}),
        (HELLO, {"san": True}),
        (BEAT, {"available_slots": -1}),
        (BEAT, {"available_slots": 0.5}),
        (BEAT, {"others": math.inf}),
        (REPORT, {"attempt": "../../x"}),
        (REPORT, {"attempt": "1.\u0661"}),
        (REPORT, {"sha256": "F" * 64}),
        (REPORT, {"bytes": 1.0}),
        (REPORT, {"bytes": 1 << 80}),
        (REPORT, {"seconds": 1e17}),
        (REPORT, {"cpu": math.nan}),
        (REPORT, {"page_size": [1e17, 1]}),
        (REPORT, {"page_size": [True, 1]}),
        (FAILED, {"kind": "host"}),
        (FAILED, {"kind": "bad_output"}),
        (FAILED, {"kind": ["crashed"]}),
        (SUSPECTED, {"page": -1}),
        (SUSPECTED, {"page": 10**12}),
        (SUSPECTED, {"page": 1.5}),
        (SUSPECTED, {"diagnostics": []}),
        ({"type": "inspected"}, {"pages": -1, "diagnostics": []}),
        ({"type": "revoked"}, {"attempt": None}),
    ],
)
def test_a_value_that_no_runner_sends_is_a_protocol_error(
    fields: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(messages.ProtocolError):
        messages.decode(json.dumps({**fields, **changes}).encode())


def test_programs_that_a_host_lacks_for_some_recipes_are_named_by_recipe() -> None:
    recipes = [RecipeRecord(name="own", steps=(("near",),), extension="png", format="png")]
    fields = {**HELLO, "missing": ["far", "near"], "missing_recipes": [1, 0]}
    hello = messages.decode(json.dumps(fields).encode())
    assert isinstance(hello, messages.Hello)
    refused = check_host("h", hello, "/san", recipes)
    assert isinstance(refused, ev.HostRefused)
    assert "needs near" in refused.reason


def test_a_half_of_a_surrogate_pair_is_replaced_where_it_enters() -> None:
    line = json.dumps({**FAILED, "reason": "\ud800", "diagnostics": ["\udfff"]})
    message = messages.decode(line.encode())
    assert isinstance(message, messages.Failed)
    assert (message.reason, message.diagnostics) == ("?", ("?",))


def test_words_without_end_are_cut() -> None:
    said = ["x" * 100_000] * 1000
    line = json.dumps({"type": "suspected", "attempt": "1.1", "page": 1, "diagnostics": said})
    message = messages.decode(line.encode())
    assert isinstance(message, messages.Suspected)
    assert len(message.diagnostics) == messages.MAX_TEXTS
    assert all(len(text) == messages.MAX_TEXT for text in message.diagnostics)


def _delivered(**changes: Any) -> dict[str, Any]:
    record = history.PageRecord(1, "page-0001.png", 10, "ab", 1, 2, "h", "10", 0.5, 1, ())
    return {**fields_of("page_delivered", 0.0, **record.as_fields()), "diagnostics": [], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"page": math.inf},
        {"page": True},
        {"page": "1"},
        {"page": 1.7},
        {"bytes": math.inf},
        {"seconds": 10**400},
        {"seconds": math.nan},
        {"diagnostics": "abc"},
        {"diagnostics": [1]},
    ],
)
def test_an_entry_of_a_wrong_type_is_not_believed(changes: dict[str, Any]) -> None:
    assert list(history.of(entries_of([_delivered()])).pages) == [1]
    assert parsed({**_delivered(), "diagnostics": [], **changes}) is None


def test_an_entry_that_names_another_page_s_file_is_not_believed() -> None:
    found = history.of(entries_of([_delivered(page=2)]))
    history.keep_present(found, {"page-0001.png": 10}, "page-{:04}.png".format)
    assert found.pages == {}


def test_a_nested_line_is_a_damaged_line(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"[" * 100_000 + b"\n" + json.dumps(_delivered()).encode() + b"\n")
    assert len(list(read_journal(tmp_path / "j"))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "x"},
        {"epoch": None},
        {"epoch": math.inf},
        {"epoch": 1.5},
        {"epoch": -1},
        {"token": "a/b"},
        {"token": "a\0b"},
        {"token": "x" * 300},
        {"counter": "/../x"},
        {"host": 7},
    ],
)
def test_a_lease_of_wrong_types_is_a_damaged_lease(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps({**CLAIM, **changes}))
    moments = iter(range(10**6))
    held = lease.take(path, clock=lambda: float(next(moments)), pause=lambda seconds: None)
    assert held.epoch == 1
    held.beat()


def test_a_nested_lease_or_job_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("[" * 100_000)
    assert lease.take(tmp_path / "lease").epoch == 1
    folder = JobFolder(tmp_path)
    folder.spec.write_text("[" * 100_000)
    with pytest.raises(UserError):
        load_spec(folder)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        '[san]\npath = "a\\u0000"\n[[hosts]]\nname = "a"',
        '[[hosts]]\nname = "a"\nuser = "a\\u0085b"',
        '[[hosts]]\nname = "a"\nuser = "-oProxyCommand=x"',
        '[[hosts]]\nname = "a"\naddress = "a b"',
    ],
)
def test_an_inventory_that_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "h.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        inventory.load(tmp_path / "h.toml")
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize("text", ["9" * 400 + "T", "1\u212a"])
def test_a_size_beyond_all_sizes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_a_name_of_wide_letters_is_short_enough() -> None:
    settings = RenderSettings(device="png16m", dpi=150, pages="1")
    assert len(job_name("\U00020000" * 62, "0" * 64, settings).encode()) <= 255
