"""What goes wrong while a run is told of changes neither its pages nor its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sshrender.job.journal.journalformat import SCHEMA
from tests import pdfs

PROGRAM = [sys.executable, "-m", "sshrender"]
PATCHED = """
import sys
{patch}
import sshrender.__main__ as program
sys.argv[0] = "sshrender"
program.main()
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """One page."""
    return pdfs.write(tmp_path / "doc.pdf", pdfs.numbered(1))


def _render(
    document: Path, *words: str, patch: str = "", shell: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """``patch``: Python that is run before; ``shell``: redirections."""
    folder = document.parent
    program = [sys.executable, "-c", PATCHED.format(patch=patch)] if patch else PROGRAM
    command = [*program, "render", str(document), "-r", "20", "-o", str(folder / "out"), *words]
    environment = {**os.environ, "HOME": str(folder), **env}
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder, check=False
    )


def _is_delivered(document: Path) -> bool:
    return (document.parent / "out" / "page-0001.png").is_file()


@pytest.mark.parametrize("where", ["option", "file"])
def test_an_address_that_is_none_is_refused_before_anything_is_done(document: Path, where: str) -> None:
    words = ["--mail-to", "a@["] if where == "option" else []
    if where == "file":
        (document.parent / "sshrender.toml").write_text('mail_to = "a@["\n')
    answer = _render(document, *words)
    assert answer.returncode == 2
    assert "an address such as ann@example.org" in answer.stderr
    assert "hint: " in answer.stderr
    assert not _is_delivered(document)


_BROKEN = {
    "mail": "import sshrender.coordinator.notification as n\nn.mail = lambda *a: 1 / 0",
    "on_done": "import sshrender.coordinator.notification as n\nn.run = lambda *a: 1 / 0",
    "overview": "import sshrender.coordinator.overviewwriter as o\no.write = lambda *a: 1 / 0",
    "manifest": "import sshrender.job.output.manifest as m\nm.save = lambda *a: 1 / 0",
    "view": "import sshrender.views.plain as p\np.PlainView.snapshot = lambda *a: 1 / 0",
    "entry": "import sshrender.views.plain as p\np.PlainView.entry = lambda *a: 1 / 0",
    "summary": "import sshrender.views.reporter as r\nr.lines = lambda *a: 1 / 0",
}


@pytest.mark.parametrize(
    "what",
    [("mail", "on_done", "overview", "summary"), ("manifest",), ("view",), ("entry",)],
    ids=lambda what: ", ".join(what),
)
def test_whatever_raises_while_a_run_is_told_of_the_exit_code_is_the_job_s(
    document: Path, what: tuple[str, ...]
) -> None:
    words = ["--mail-to", "ann@example.org", "--config", str(document.parent / "c.toml")]
    (document.parent / "c.toml").write_text('on_done = ["true"]\nprogress = "plain"\n')
    answer = _render(document, *words, patch="\n".join(_BROKEN[each] for each in what))
    assert answer.returncode == 0, answer.stderr
    assert _is_delivered(document)
    assert answer.stderr.count("division by zero") >= len(what), answer.stderr
    if what != ("manifest",):
        (log,) = document.parent.glob(".local/**/sshrender.log")
        assert "ZeroDivisionError" in log.read_text()


@pytest.mark.parametrize(
    "shell",
    [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", ">&- 2>&- <&-", "| true"],
)
def test_streams_that_take_nothing_change_no_page(document: Path, shell: str) -> None:
    """Nor the exit code, but where the one object that was asked for cannot be written."""
    if shell == "| true":
        shell = "| true; exit 0"
    answer = _render(document, "--json", "--log-file", "/dev/full", shell=shell)
    assert answer.returncode == (6 if shell.startswith(">/dev/full") else 0), answer.stderr
    assert _is_delivered(document)
    if shell.startswith(">/dev/full") and "2>" not in shell:
        assert "standard output cannot be written: No space left on device" in answer.stderr
    (journal,) = document.parent.glob(".local/**/journal.jsonl")
    assert all(json.loads(line)["schema"] == SCHEMA for line in journal.read_text().splitlines())


def test_data_that_cannot_be_written_is_no_defect(document: Path) -> None:
    assert _render(document).returncode == 0
    command = ["sh", "-c", '"$@" >/dev/full', "sh", *PROGRAM, "status"]
    env = {**os.environ, "HOME": str(document.parent)}
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 6
    assert "standard output cannot be written: No space left on device" in answer.stderr


def test_a_reader_that_is_gone_is_told_by_the_exit_code(document: Path) -> None:
    """As a shell tells of a program that SIGPIPE ended: 128 + 13."""
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "HOME": str(document.parent)}
    with os.fdopen(writing, "wb") as pipe:
        answer = subprocess.run(
            [*PROGRAM, "status", "--json"],
            env=env,
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (141, b"")


def test_a_name_is_the_same_in_every_locale(home: Path) -> None:
    """A job with an umlaut was damaged for users of another encoding than UTF-8."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env = {**os.environ, **ascii_only, "HOME": str(home)}
    answer = subprocess.run(
        [*PROGRAM, "status", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"],
        env=env,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 2
    assert "there is no job \N{LATIN SMALL LETTER U WITH DIAERESIS} in" in answer.stderr.decode()


def test_a_locale_without_a_letter_gets_another_one(document: Path) -> None:
    named = document.rename(document.with_name("straße-Σ.pdf"))
    latin = {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    assert _render(named, **latin).returncode == 0
    env = {**os.environ, **latin, "HOME": str(named.parent)}
    answer = subprocess.run(
        [*PROGRAM, "status"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
