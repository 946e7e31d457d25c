"""Fixtures for tests in the lab; load with ``-p tests.lab.plugin`` or ``pytest_plugins``."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.farm import Farm
from tests.lab.loopback import Loopback, missing
from tests.lab.prepared import Prepared
from tests.lab.requirements import require_lab, skip_or_fail

FarmFactory = Callable[..., Farm]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known wherever the plugin is loaded."""
    config.addinivalue_line("markers", "lab: needs root: hosts in name spaces, each with an sshd")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a farm, so that ``-m 'not lab'`` cannot miss one."""
    for item in items:
        if "farm_factory" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    """A process that has loaded the program; commands are forked off it."""
    with Prepared() as process:
        yield process


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """Return a running sshd on loopback, which needs no lab."""
    if absent := missing():
        skip_or_fail(f"an sshd on loopback needs: {absent}")
    with Loopback(tmp_path_factory.mktemp("loopback")) as running:
        if refusal := running.refusal():
            skip_or_fail(f"the sshd on loopback refuses each login: {refusal}")
        yield running


@pytest.fixture
def farm_factory(tmp_path: Path, prepared: Prepared) -> Iterator[FarmFactory]:
    """Return a maker of farms, with the arguments of :class:`Farm` but the directory."""
    require_lab()
    if " " in str(tmp_path):
        skip_or_fail(f"the lab needs a folder without a space in its name: {tmp_path}")
    with ExitStack() as farms:
        made = 0

        def make(hosts: int = 2, **options: Any) -> Farm:
            nonlocal made
            made += 1
            farm = Farm(tmp_path / f"farm{made}", hosts, prepared=prepared, **options)
            return farms.enter_context(farm)

        yield make


@pytest.fixture
def farm(farm_factory: FarmFactory) -> Farm:
    """Return a running farm of two hosts."""
    return farm_factory(2)
