"""A command that is forked off is like one that is started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.cli.conftest import Paced, paced
from tests.lab.prepared import PROGRAM, Prepared, is_usual
from tests.lab.slow import FOR_EVER

__all__ = ["paced"]


@pytest.mark.parametrize("words", [["--version"], ["rendre"], ["status", "--san", "/nowhere"]])
def test_it_ends_and_answers_like_one_that_is_started(
    prepared: Prepared, home: Path, words: list[str]
) -> None:
    forked = prepared.run([*PROGRAM, *words], cwd=home, env=os.environ)
    started = subprocess.run([*PROGRAM, *words], cwd=home, capture_output=True, check=False)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )


def test_it_gets_signals_and_its_end_is_told(prepared: Prepared, home: Path, paced: Paced) -> None:
    paced(FOR_EVER)
    command = [*PROGRAM, "render", str(pdfs.write(home / "one.pdf", pdfs.numbered(1)))]
    process = prepared.popen(command, cwd=home, env=os.environ, stderr=subprocess.PIPE, text=True)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_what_changes_the_start_is_started(prepared: Prepared, home: Path) -> None:
    env = {**os.environ, "PYTHONVERBOSE": "1"}
    assert not is_usual(env)
    assert "import " in prepared.run([*PROGRAM, "--version"], cwd=home, env=env, text=True).stderr
