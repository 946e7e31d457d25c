"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def san(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared folder that every command knows of."""
    folder = home / "san"
    folder.mkdir()
    monkeypatch.setenv("SSHRENDER_SAN", str(folder))
    return folder
