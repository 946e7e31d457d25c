"""The manual agrees with the command tree, the inventory, the exit codes and the journal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sshrender.cli import man
from sshrender.config.inventory import HostEntry
from sshrender.errors import ExitCode
from sshrender.job.journal.journalentries import TYPES
from tests.commandtree import TREE
from tests.conftest import Run

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in (ROOT / "man").iterdir()}


def _options(name: str) -> list[str]:
    """Return the long options of a command that are not hidden."""
    command = TREE.commands[name]
    below = getattr(command, "commands", {}).values()
    params = [param for each in (command, *below) for param in each.params]
    shown = [each for each in params if not getattr(each, "hidden", False)]
    found = [word for each in shown for word in (*each.opts, *each.secondary_opts)]
    return [option for option in found if option.startswith("--")]


def _documents(page: str, option: str) -> bool:
    return re.search(rf"Fl Fl {re.escape(option[2:])}\b", PAGES[page]) is not None


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_valid_mdoc(name: str) -> None:
    answer = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", str(ROOT / "man" / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    # Pages of other packages, and our own, need not be installed where tests run.
    elsewhere = ("referenced manual not found", "mandoc.db")
    found = answer.stdout.splitlines() + answer.stderr.splitlines()
    assert [line for line in found if not any(word in line for word in elsewhere)] == []


@pytest.mark.parametrize("name", sorted(TREE.commands))
def test_every_command_and_option_is_documented(name: str) -> None:
    assert re.search(rf"^\.Cm {name}\b", PAGES["sshrender.1"], re.MULTILINE)
    page = "sshrender-render.1" if name == "render" else "sshrender.1"
    assert [option for option in _options(name) if not _documents(page, option)] == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    known = {option for name in TREE.commands for option in _options(name)}
    known |= {"--version", "--help", "--install-completion", "--show-completion"}
    for page, text in PAGES.items():
        documented = {f"--{option}" for option in re.findall(r"Fl Fl ([a-z-]+)", text)}
        assert documented <= known, page


def test_every_key_of_the_inventory_is_documented() -> None:
    for key in HostEntry.model_fields:
        assert f".It Ic {key}\n" in PAGES["sshrender-hosts.5"]


def test_every_exit_code_is_documented() -> None:
    for code in ExitCode:
        assert f".It {code.value}\n" in PAGES["sshrender.1"]


def test_every_journal_entry_is_documented() -> None:
    assert len(TYPES) > 10
    for kind in TYPES:
        assert re.search(rf"^\.It Ic .*\b{kind}\b", PAGES["sshrender-job.5"], re.MULTILINE), kind


@pytest.mark.parametrize("page", man.PAGES)
def test_the_program_finds_its_manual(sshrender: Run, page: str) -> None:
    answer = sshrender("man", page)
    assert answer.returncode == 0, answer.stderr
    assert "NAME" in re.sub(".\x08", "", answer.stdout)


def test_a_page_that_does_not_exist_is_an_error(sshrender: Run) -> None:
    answer = sshrender("man", "woman")
    assert answer.returncode == 2
    assert "there are sshrender, render, watch, hosts, job, queue, 7" in answer.stderr
    assert "hint: sshrender man sshrender" in answer.stderr


def test_manual_and_completions_are_in_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for path in [*(ROOT / "man").iterdir(), *(ROOT / "completions").iterdir()]:
        assert f'"{path.relative_to(ROOT)}" = "share/' in text
