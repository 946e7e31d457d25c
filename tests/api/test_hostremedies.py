"""What fixes a host: for every refusal, and for hosts that the inventory describes in full.

tests/lab/test_host_hints.py types these commands against a real sshd.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.hostremedies import Problem, Remedy, remedies
from sshrender.config import inventory
from sshrender.coordinator.hosts.hostcheck import Check, HostReport, _failed
from sshrender.transports import sshagent, sshlogin
from sshrender.transports.interface import Refusal
from tests.lab.host import new_key

FULL = {
    "address": "10.0.0.9",
    "port": 2222,
    "user": "me",
    "identity_file": "~/.ssh/farm key",
    "known_hosts": "~/.ssh/farm_known_hosts",
}


def _ssh(home: Path) -> list[str]:
    """Return how its command begins; ssh itself reads a name with a space in quotes (ssh_config(5))."""
    known = str(home / ".ssh" / "farm_known_hosts")
    quoted = f'"{known}"' if " " in known else known
    return ["ssh", "-o", f"UserKnownHostsFile={quoted}", "-o", "HostName=10.0.0.9"]


def _problem(report: HostReport, **keys: Any) -> Problem:
    table = {"hosts": [{"name": "bigiron", **keys}], "san": {"path": "/san"}}
    (host,) = inventory.expand(inventory.check(table, Path("hosts.toml")))
    return Problem(report, host, "/san", None, Path("hosts.toml"))


def _of(refusal: Refusal, **keys: Any) -> list[Remedy]:
    if refusal is Refusal.PICTURE:  # found by the comparison, after all other checks
        checks = [Check("picture", False, "some reason")]
        report = HostReport("bigiron", "refused", "some reason", refusal.value, checks)
    else:
        report = _failed("bigiron", refusal, "some reason")
    return remedies(_problem(report, **keys))


@pytest.fixture
def key(home: Path) -> Path:
    """Return the identity file."""
    (home / ".ssh").mkdir()
    path = home / ".ssh" / "farm key"
    assert new_key(path).wait(timeout=60) == 0
    return path


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_a_command_that_reaches_the_host_as_a_run_does(
    key: Path, home: Path, refusal: Refusal
) -> None:
    found = _of(refusal, **FULL)
    commands = [each.text for each in found if each.lead in ("try", "then")]
    assert commands
    assert all(shlex.split(command)[0] for command in commands)
    for command in commands:
        words = shlex.split(command)
        assert not any(word.startswith("~") for word in words), "no shell expands that in quotes"
        if words[0] == "ssh" and words[1] != "-G":
            assert words[:7] == [*_ssh(home), "-i", str(key)]
            assert "me@bigiron" in words


@pytest.mark.parametrize(
    ("refusal", "keys", "shown"),
    [
        (Refusal.SAN, {}, 'or: san = "/where/the/host/sees/it" for bigiron in hosts.toml'),
        (Refusal.PROTOCOL, {}, "note: that has to print the word in, and nothing else"),
        (Refusal.PICTURE, {}, "or: use it nevertheless: render with --mixed"),
        (Refusal.NO_SANDBOX, {}, 'or: sandbox = "none" for bigiron'),
        (Refusal.FILES, {"san": False}, "try: sftp -o HostName=10.0.0.9 bigiron"),
        (Refusal.NO_ADDRESS, {}, "try: getent hosts 10.0.0.9"),
        (Refusal.NO_PYTHON, {"user": "root"}, "root@bigiron 'apt-get install -y python3'"),
        (Refusal.NO_PYTHON, {"user": "me"}, "-t me@bigiron 'sudo apt-get install -y python3'"),
        (Refusal.AUTHENTICATION, {}, "ssh-copy-id"),
        (Refusal.CONFIGURATION, {"identity_file": "/no/key"}, "make that key: ssh-keygen"),
    ],
)
def test_the_remedy_fits_the_cause(
    home: Path, refusal: Refusal, keys: dict[str, Any], shown: str
) -> None:
    found = _of(refusal, **{"address": "10.0.0.9", **keys})
    assert shown in "\n".join(f"{each.lead}: {each.text}" for each in found)


def test_a_key_that_a_pattern_matches_is_edited_and_not_removed(key: Path, home: Path) -> None:
    """``ssh-keygen -R`` would leave that line, and other hosts may need it."""
    known = home / ".ssh" / "farm_known_hosts"
    known.write_text("*,!x ssh-ed25519 " + key.with_suffix(".pub").read_text().split()[1] + "\n")
    text = "\n".join(each.text for each in _of(Refusal.HOST_KEY, **FULL))
    assert f"{known}:1 matches [10.0.0.9]:2222 by a pattern" in text
    assert "ssh-keygen" not in text


def test_a_key_that_others_may_read_is_closed_first(key: Path) -> None:
    """ssh ignores it then. A public half is for others, and one of another user is root's to read."""
    key.chmod(0o644)
    (found,) = _of(Refusal.AUTHENTICATION, **FULL)
    assert (found.lead, found.text) == ("try", f"chmod 600 '{key}'")
    assert sshlogin._loaded(str(key)) == f"permissions 0644 for {key} are too open (chmod 600 '{key}')"
    assert not sshagent.is_too_open(key.with_suffix(".pub"))
    key.chmod(0o600)
    assert not sshagent.is_too_open(key)


def test_an_account_without_a_shell_needs_another_user() -> None:
    reason = "this user may not run commands on n; it says: This account is currently not available."
    report = _failed("bigiron", Refusal.PROTOCOL, reason)
    assert 'user = "NAME"' in remedies(_problem(report))[-1].text


def test_a_shared_folder_elsewhere_on_this_machine_is_named_and_one_that_hangs_not_looked_at() -> None:
    report = _failed(
        "bigiron", Refusal.SAN, "does not see the shared folder at /san: it does not answer"
    )
    first, note, *_ = remedies(replace(_problem(report), own_san="/mnt/other"))
    assert (first.lead, first.text) == ("try", "ssh bigiron findmnt")
    assert note.text.startswith("--san /mnt/other is for this machine alone; hosts use /san")
    found = remedies(replace(_problem(report), own_san="/san"))
    assert "--san" not in "".join(each.text for each in found)


def test_this_machine_needs_no_ssh() -> None:
    report = _failed("localhost", Refusal.NO_GHOSTSCRIPT, "Ghostscript is not installed")
    (found,) = remedies(Problem(report, None, "/san"))
    assert found.text.removeprefix("sudo ") == "apt-get install -y ghostscript"


def test_a_usable_host_with_a_warning_has_a_command_and_a_good_one_none() -> None:
    good = HostReport("bigiron", "idle", checks=[Check("clock", True)])
    assert remedies(_problem(good)) == []
    late = HostReport("bigiron", "idle", checks=[Check("clock", False, "-3600 s from ours")])
    assert remedies(_problem(late)) == [Remedy("try", "ssh bigiron timedatectl")]
