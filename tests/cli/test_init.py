"""``init``: a first inventory from ssh_config, by asking or from the options alone."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sshrender.config import inventory, sshhosts
from tests.conftest import PROGRAM, Run
from tests.stretch import stretched

SSH_CONFIG = """
Include {home}/.ssh/more.d/*
Host node01 node02
  User artist
host=big   # an equals sign is allowed
Host * !gate
  ForwardAgent no
Host "quoted" node03
Host work
  HostName gitlab.example.org
Host pages
  User git
Host github.com *.github.com
"""


@pytest.fixture
def target(home: Path) -> Path:
    """Where an inventory is looked for by default."""
    folder = home / ".ssh" / "more.d"
    folder.mkdir(parents=True)
    (home / ".ssh" / "config").write_text(SSH_CONFIG.format(home=home))
    (folder / "a").write_text(f"Host node04\nInclude {home}/.ssh/more.d/a\n")
    return home / ".config" / "sshrender" / "hosts.toml"


def _names(target: Path) -> list[str]:
    return [host.name for host in inventory.expand(inventory.load(target))]


def test_without_a_question_ssh_config_s_hosts_are_taken(sshrender: Run, target: Path) -> None:
    # Named, because ssh does not look into HOME, but into the home that the password file has.
    words = ["--ssh-config", ".ssh/config", "--san", "/san/a b"]
    answer = sshrender("init", "--yes", "--no-check", *words)
    assert answer.returncode == 0, answer.stderr
    assert sorted(_names(target)) == ["big", "node01", "node02", "node03", "node04", "quoted"]
    written = inventory.load(target)
    assert written.san is not None
    assert written.san.path == Path("/san/a b")
    assert "next: sshrender hosts" in answer.stdout
    assert "left out, as they are git servers: work, pages, github.com" in answer.stderr
    assert sshrender("config", "validate").returncode == 0


def test_the_user_s_ssh_config_is_where_ssh_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ssh" / "d").mkdir(parents=True)
    entry = SimpleNamespace(pw_dir=str(tmp_path))
    monkeypatch.setattr("pwd.getpwuid", lambda _user: entry)
    monkeypatch.setenv("HOME", "/nonexistent")
    (tmp_path / ".ssh" / "config").write_text("Host node01\nInclude d/a\nInclude ~/.ssh/d/b\n")
    (tmp_path / ".ssh" / "d" / "a").write_text("Host node02\n")
    (tmp_path / ".ssh" / "d" / "b").write_text("Host node03\n")
    assert sshhosts.find(sshhosts.users_file()).names == ["node01", "node02", "node03"]


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
    assert sshrender("init", "--no-check", *words).returncode == 0
    assert sorted(_names(home / "mine.toml")) == ["big", "n1", "n2", "n3"]
    assert inventory.load(home / "mine.toml").defaults.user == "me"


def test_what_is_there_is_kept(sshrender: Run, target: Path) -> None:
    words = ["init", "--no-check", "--san", "/san", "--host", "a"]
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
    answer = sshrender("init", "--no-check", *words)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "hint: " in answer.stderr
    assert not target.exists()


def test_without_a_shared_folder_files_travel(sshrender: Run, target: Path) -> None:
    answer = sshrender("init", "--no-san", "--host", "a", "--user", "me", "--no-check")
    assert answer.returncode == 0, answer.stderr
    written = inventory.load(target)
    assert (written.san, written.defaults.san, written.defaults.user) == (None, False, "me")
    assert sshrender("config", "validate").returncode == 0


def test_a_folder_that_is_not_there_is_said_and_the_inventory_is_written(
    sshrender: Run, target: Path, home: Path
) -> None:
    """What is then suggested is typed."""
    answer = sshrender("init", "--san", home / "the san", "--host", "nowhere.invalid")
    assert answer.returncode == 0, answer.stderr
    assert target.exists()
    assert f"the shared folder {home / 'the san'} does not exist" in answer.stderr
    command = answer.stderr.splitlines()[-1].rpartition(": ")[2]
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    assert (home / "the san").is_dir()


class Terminal:
    """A program at a terminal: answers come after their questions."""

    def __init__(self, home: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=home,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(theirs)
        self.shown = ""

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and answer it."""
        seen = ""
        while question not in seen:
            ready = select.select([self._ours], [], [], stretched(90))[0]
            assert ready, f"{question} is not asked: {self.shown}"
            part = os.read(self._ours, 4096).decode(errors="replace")
            seen += part
            self.shown += part
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        """Return the exit code."""
        with contextlib.suppress(OSError):  # EIO: the program has closed its end
            while part := os.read(self._ours, 4096):
                self.shown += part.decode(errors="replace")
        os.close(self._ours)
        return self.process.wait(timeout=stretched(90))


def test_on_a_terminal_it_asks_again_after_a_typo_and_keeps_the_other_answers(
    target: Path, home: Path
) -> None:
    """What ssh_config names is what Enter takes."""
    (home / "san").mkdir()
    terminal = Terminal(home, "init", "--no-check", "--ssh-config", ".ssh/config")
    terminal.answer("or none", str(home / "sna"))
    terminal.answer("nevertheless?", "")
    terminal.answer("or none", str(home / "san"))
    terminal.answer("Hosts, as in", "node[1-")
    terminal.answer("Hosts, as in", "")
    assert terminal.end() == 0, terminal.shown
    assert f"{home / 'sna'} does not exist on this machine" in terminal.shown
    assert "not a node set" in terminal.shown
    assert len(_names(target)) == 6
    written = inventory.load(target)
    assert written.san is not None
    assert written.san.path == home / "san"
