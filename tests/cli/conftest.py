"""What the tests of commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import slow


@pytest.fixture
def san(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared folder that every command knows of."""
    folder = home / "san"
    folder.mkdir()
    monkeypatch.setenv("SSHRENDER_SAN", str(folder))
    return folder


Paced = Callable[..., None]


@pytest.fixture
def paced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paced:
    """Let each page take so many seconds from now on, once a file is there, and no more of a core.

    For what is done to a job while it runs. Renderers that run already keep what they began with.
    """
    folder = tmp_path / "slow"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def pace(seconds: float, gate: Path | None = None) -> None:
        program = folder / "new"
        program.write_text(slow.script(seconds, gate=str(gate or "")))
        program.chmod(0o755)
        program.replace(folder / "gs")

    return pace
