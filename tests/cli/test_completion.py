"""The Tab key, in real shells: devices, hosts, jobs, and nothing that a shell could run."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests import pdfs
from tests.lab.prepared import PROGRAM, Prepared

SCRIPTS = Path(__file__).parents[2] / "completions"
BIN = Path(sys.executable).parent

BASH = """
source "$SCRIPT"; COMP_WORDS=($LINE); [[ $LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sshrender sshrender; printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compadd() { print -rl -- "${found[@]}"; }; _files() { }
words=(${(z)LINE}); [[ $LINE == *' ' ]] && words+=(''); CURRENT=$#words
complete() { source "$SCRIPT" }; complete
"""
FISH = """source "$SCRIPT"; complete --do-complete "$LINE" """
SHELLS = {"bash": ("sshrender.bash", BASH), "zsh": ("_sshrender", ZSH), "fish": ("sshrender.fish", FISH)}


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SSHREN", "XDG_"))}
    own = {"HOME": str(home), "SSHRENDER_SAN": str(home / "san"), "SSHRENDER_SLOT_NAMESPACE": home.name}
    return {**kept, **own}


@pytest.fixture(scope="module")
def home_with_jobs(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Path:
    """An inventory, a job, and a folder on the SAN that somebody gave an evil name."""
    home = tmp_path_factory.mktemp(f"home-{uuid.uuid4().hex}")
    san = home / "san"
    san.mkdir()
    render = [*PROGRAM, "render", str(pdfs.write(home / "five.pdf", pdfs.numbered(2)))]
    assert prepared.run(render, cwd=home, env=_environment(home)).returncode == 0
    evil = san / "evil$(touch canary)`touch canary`-12345678"
    evil.mkdir()
    (evil / "job.json").write_text("{}")
    (home / "hosts.toml").write_text(f'[san]\npath = "{san}"\n[[hosts]]\nname = "node[1-3],big"\n')
    return home


def _complete(shell: str, line: str, home: Path) -> list[str]:
    script, program = SHELLS[shell]
    environment = {**_environment(home), "SCRIPT": str(SCRIPTS / script), "LINE": line}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    answer = subprocess.run(
        [shell, "-c", program],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = [line.split("\t")[0] for line in answer.stdout.splitlines() if line]
    return [name for name in found if not (home / name).exists()]  # fish offers files as well


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sshrender stat", ["status"]),
        ("sshrender render x.pdf --device tiffg", ["tiffg3", "tiffg32d", "tiffg4", "tiffgray"]),
        ("sshrender render x.pdf --on node", ["node1", "node2", "node3"]),
        ("sshrender render x.pdf --on big,node1", ["big,node1"]),
        ("sshrender render x.pdf --sandbox ", ["bwrap", "none"]),
        ("sshrender render x.pdf --page-t", ["--page-timeout"]),
        ("sshrender key ", ["import", "path", "show"]),
    ],
)
def test_tab_offers_what_fits(home_with_jobs: Path, shell: str, line: str, offered: list[str]) -> None:
    assert sorted(_complete(shell, line, home_with_jobs)) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_offers_jobs_and_runs_nothing(home_with_jobs: Path, shell: str) -> None:
    found = _complete(shell, "sshrender status ", home_with_jobs)
    assert [name[:5] for name in found] == ["five-"]
    assert not (home_with_jobs / "canary").exists()


def test_a_broken_inventory_silences_tab(home_with_jobs: Path) -> None:
    inventory = home_with_jobs / "hosts.toml"
    whole = inventory.read_text()
    inventory.write_text("hosts = 7")
    try:
        assert _complete("bash", "sshrender render x.pdf --on n", home_with_jobs) == []
    finally:
        inventory.write_text(whole)
