"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.lab.plugin"]

# A property is about answers, not about time: test machines are noisy.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# Under nohup(1) what is started would ignore SIGHUP as well, rightly, and not do what tests expect.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

PROGRAM = [sys.executable, "-m", "sshrender"]


@pytest.fixture(scope="session", autouse=True)
def _ghostscript_is_there() -> None:
    """Nothing here means anything without a real Ghostscript, so its absence is no skip."""
    if shutil.which("gs") is None:
        pytest.exit("install ghostscript first: apt install ghostscript", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def _key_is_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Signing makes a key on first use (config/keyfile.py): not in the home of the person who tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home without any configuration; tests run in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("SSHRENDER_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    temporary = tmp_path / "temporary-files"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    # Jobs of one user share a machine's slots (runner/slotlocks.py): tests side by side must not.
    monkeypatch.setenv("SSHRENDER_SLOT_NAMESPACE", uuid.uuid4().hex[:12])
    monkeypatch.chdir(folder)
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sshrender(home: Path) -> Run:
    """Run the program as a user does: a process of its own, both streams apart."""

    def run(
        *words: object, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, words)],
            cwd=home,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
