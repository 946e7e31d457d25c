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

    For what is done to a job while it runs. Renderers that run already keep what they began with. Where
    a job has to run until the test has done something, however long that takes, pages after ``last``
    wait for the next call.
    """
    folder = tmp_path / "slow"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    gates: list[Path] = []

    def pace(seconds: float, gate: Path | None = None, last: int = 0) -> None:
        for earlier in gates:
            earlier.touch()
        if last:
            gate = folder / f"gate{len(gates)}"
            gates.append(gate)
        program = folder / "new"
        program.write_text(slow.script(seconds, last=last, gate=str(gate or "")))
        program.chmod(0o755)
        program.replace(folder / "gs")

    return pace
