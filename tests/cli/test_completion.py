"""The Tab key, in real shells: commands, options, files, names, and nothing that a shell could run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs import completions

from tests import pdfs
from tests.cli.tab import SCRIPTS, Shell
from tests.conftest import Run

BIN = Path(sys.executable).parent
SHELLS = ["bash", "zsh", "fish"]
MADE = "python -m docs.diagrams --write"


@pytest.fixture
def home_with_jobs(home: Path, sshrender: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory, a job, a folder on the SAN that somebody gave an evil name, and a few files."""
    san = home / "san"
    san.mkdir()
    monkeypatch.setenv("SSHRENDER_SAN", str(san))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    assert sshrender("submit", pdfs.write(home / "two words.pdf", pdfs.numbered(2))).returncode == 0
    evil = san / "evil$(touch canary)`touch canary`-12345678"
    evil.mkdir()
    (evil / "job.json").write_text("{}")
    (home / "hosts.toml").write_text(f'[san]\npath = "{san}"\n[[hosts]]\nname = "node[1-3],big"\n')
    (home / "secret.txt").write_text("password")
    (home / "folder").mkdir()
    return home


class _Fish:
    """Fish tells a program what it would offer, with the descriptions."""

    has_descriptions = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tab(self, line: str) -> str:
        program = f"source '{SCRIPTS}/sshrender.fish'; complete --do-complete \"$LINE\""
        answer = subprocess.run(
            ["fish", "--no-config", "-c", program],
            env={**os.environ, "LINE": line},
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert answer.stderr == ""
        return answer.stdout

    def close(self) -> None:
        pass


@pytest.fixture
def shell(request: pytest.FixtureRequest, home_with_jobs: Path) -> Iterator[Shell | _Fish]:
    name = request.param
    opened = _Fish(home_with_jobs) if name == "fish" else Shell(name, home_with_jobs, {**os.environ})
    yield opened
    opened.close()


_LINES = {
    "stat": ["status"],
    "render tw": [r"two\\? words\.pdf"],
    "render 'tw": [r"two words\.pdf"],
    "render --dpi 72 --password-file sec": [r"secret\.txt"],
    "render x.pdf -o fol": ["folder/"],
    "hosts --hosts ho": [r"hosts\.toml"],
    "status --config sec": [r"secret\.txt"],
    "config validate ho": [r"hosts\.toml"],
    "config val": ["validate"],
    "render x.pdf --device tiffg": ["tiffg3", "tiffg32d", "tiffg4", "tiffgray"],
    "render x.pdf --on node": ["node1", "node2", "node3"],
    "render x.pdf --on=big,node": ["big,node1", "big,node2", "big,node3"],
    "render x.pdf --sandbox ": ["bwrap", "none"],
    "render x.pdf --page-": ["--page-memory", "--page-timeout"],
    "key ": ["import", "path", "show"],
    "status two": [r"two_words-[0-9a-f]{8}"],
    "move two": [r"two_words-[0-9a-f]{8}"],
    "move two-1 3 bi": ["big"],
    "man ": ["queue", "render", "watch"],
}
"""What is typed, and patterns of what each shell offers for it."""

_NOTHING = {
    "render x.pdf --dpi ": r"pdf|folder",
    "render --output secr": "secret.txt",
    "render two words.pdf --overview": "--on",
    "status sec": "secret.txt",
    "status evil": "touch",
}
"""What is typed, and a pattern of what no shell may offer for it."""


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_tab_offers_what_fits_and_runs_nothing(shell: Shell | _Fish, home_with_jobs: Path) -> None:
    for typed, offered in _LINES.items():
        shown = shell.tab(f"sshrender {typed}")
        lost = [each for each in offered if not re.search(rf"(?m)(^|[\s=']){each}", shown)]
        assert lost == [], (typed, shown)
    for typed, unwanted in _NOTHING.items():
        shown = shell.tab(f"sshrender {typed}").replace(f"sshrender {typed}", "")
        assert not re.search(unwanted, shown), (typed, shown)
    assert not (home_with_jobs / "canary").exists()
    if shell.has_descriptions:
        for typed, said in (("config ", "Check files"), ("render --page-", "Longest time for one page")):
            assert said in shell.tab(f"sshrender {typed}")


def test_a_broken_inventory_silences_tab(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    (home / "hosts.toml").write_text("hosts = 7")
    assert _Fish(home).tab("sshrender drain n") == ""


@pytest.mark.parametrize("path", completions.scripts(), ids=lambda path: path.name)
def test_the_scripts_are_those_of_the_commands(path: Path) -> None:
    assert path.read_text() == completions.scripts()[path], MADE


def test_an_option_takes_a_value_in_all_commands_or_in_none() -> None:
    """The scripts skip an option's value to count the arguments before the cursor."""
    options = [option for command in completions.commands() for option in command.options]
    valued = {name for option in options if option.value is not None for name in option.names}
    flags = {name for option in options if option.value is None for name in option.names}
    assert valued & flags == set()
