"""What the tests of the web front end share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.views.chromium import Browser, chromium
from tests.web.serving import Client, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module: it takes a second to start.

    And it does not start with the long TMPDIR of a test's home.
    """
    with chromium() as found:
        yield found


@pytest.fixture
def san(home: Path) -> Path:
    """An empty shared folder."""
    folder = home / "san"
    folder.mkdir()
    return folder


@pytest.fixture
def alice(san: Path) -> Iterator[Client]:
    """A user who may upload; ``as_`` makes others: olga is an operator, vera a viewer, bob as alice."""
    with serving(san) as client:
        yield client
