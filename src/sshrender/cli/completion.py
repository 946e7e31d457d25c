"""What the Tab key offers: devices, hosts of the inventory, jobs on the SAN.

Never fails and never says anything else: a mistake in a configuration is no matter for a shell that
completes. Names that a shell could take for something else are not offered; anybody may name a folder
on the SAN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_HARMLESS = re.compile(r"[\w.+-]+")


def devices(incomplete: str) -> list[str]:
    """Raster devices."""
    from sshrender.renderers.devices import DEVICES

    return _fitting(DEVICES, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Ready recipes, and one's own."""
    return _fitting(_quietly(_recipe_names), incomplete)


def hosts(incomplete: str) -> list[str]:
    """Hosts of the inventory; behind a comma the next one of a list."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _fitting(_quietly(_host_names), last)]


def jobs(incomplete: str) -> list[str]:
    """Jobs on the SAN."""
    return _fitting(_quietly(_job_names), incomplete)


def one_of(*values: str) -> Callable[[str], list[str]]:
    """A choice."""
    return lambda incomplete: _fitting(values, incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _HARMLESS.fullmatch(name)]


def _quietly(names: Callable[[], Iterator[str]]) -> list[str]:
    try:
        return list(names())
    except Exception:  # noqa: BLE001 - whatever is wrong is said by the command itself, not by Tab
        return []


def _recipe_names() -> Iterator[str]:
    from sshrender.config.recipes import BUILT_IN, SHIPPED
    from sshrender.config.settings import resolve

    yield from dict.fromkeys([*SHIPPED, BUILT_IN, *resolve({}).settings.recipes])


def _host_names() -> Iterator[str]:
    from sshrender.config import inventory
    from sshrender.config.paths import find_inventory
    from sshrender.config.settings import resolve

    file = find_inventory(resolve({}).settings.hosts)
    if file is not None:
        yield from (host.name for host in inventory.expand(inventory.load(file)))


def _job_names() -> Iterator[str]:
    from sshrender.cli.jobstore import job_names, san_folder
    from sshrender.config.settings import resolve
    from sshrender.coordinator.hangguard import guarded_call

    san = san_folder(resolve({}).settings)
    yield from guarded_call(san, lambda: job_names(san))
