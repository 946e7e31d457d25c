"""``init``: a first inventory from ssh_config, by asking or from the options alone."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from sshrender.config import inventory
from tests.conftest import PROGRAM, Run

SSH_CONFIG = """
Include more.d/*
Host node01 node02
  User artist
host=big   # an equals sign is allowed
Host * !gate
  ForwardAgent no
Host "quoted" node03
"""


@pytest.fixture
def target(home: Path) -> Path:
    """Where an inventory is looked for by default."""
    folder = home / ".ssh" / "more.d"
    folder.mkdir(parents=True)
    (home / ".ssh" / "config").write_text(SSH_CONFIG)
    (folder / "a").write_text("Host node04\nInclude ~/.ssh/more.d/a\n")
    return home / ".config" / "sshrender" / "hosts.toml"


def _names(target: Path) -> list[str]:
    return [host.name for host in inventory.expand(inventory.load(target))]


def test_without_a_question_ssh_config_s_hosts_are_taken(sshrender: Run, target: Path) -> None:
    answer = sshrender("init", "--yes", "--san", "/san/a b")
    assert answer.returncode == 0, answer.stderr
    assert sorted(_names(target)) == ["big", "node01", "node02", "node03", "node04", "quoted"]
    written = inventory.load(target)
    assert written.san is not None
    assert written.san.path == Path("/san/a b")
    assert "next: sshrender hosts" in answer.stdout
    assert sshrender("config", "validate").returncode == 0


def test_the_options_say_it_all(sshrender: Run, home: Path) -> None:
    words = [
        "--hosts",
        "mine.toml",
        "--san",
        "/san",
        "--host",
        "n[1-3]",
        "--host",
        "big",
        "--user",
        "me",
    ]
    assert sshrender("init", *words).returncode == 0
    assert sorted(_names(home / "mine.toml")) == ["big", "n1", "n2", "n3"]
    assert inventory.load(home / "mine.toml").defaults.user == "me"


def test_what_is_there_is_kept(sshrender: Run, target: Path) -> None:
    words = ["init", "--san", "/san", "--host", "a"]
    assert sshrender(*words).returncode == 0
    again = sshrender(*words)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert sshrender(*words, "--host", "b", "--force").returncode == 0
    assert _names(target) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the shared folder is not known"),
        (["--san", "/san", "--host", "node[1-"], "not a node set"),
        (["--san", "/san", "--host", "-oProxyCommand=x"], "no host name"),
        (["--san", "/san", "--host", "a", "--user", "a b"], "user"),
        (["--san", "/san", "--ssh-config", "none"], "no host is given"),
        (["--san", "/san", "--host", "a", "--hosts", "/proc/x/y"], "/proc/x/y"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_written(
    sshrender: Run, target: Path, words: list[str], said: str
) -> None:
    answer = sshrender("init", *words)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "hint: " in answer.stderr
    assert not target.exists()


def test_on_a_terminal_it_asks(target: Path, home: Path) -> None:
    """What ssh_config names is what Enter takes."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "init"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=home, env=dict(os.environ)
    )
    os.close(theirs)
    os.write(ours, b"/san/here\n")
    time.sleep(1)
    os.write(ours, b"\n")
    assert process.wait(timeout=90) == 0
    os.close(ours)
    assert len(_names(target)) == 6
    written = inventory.load(target)
    assert written.san is not None
    assert written.san.path == Path("/san/here")
