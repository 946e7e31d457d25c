"""Offer values for the Tab key: devices, recipes, hosts of the inventory, jobs in the shared folder.

Completion never fails and prints nothing else: the command itself reports a broken configuration. Names
with characters that a shell interprets are left out, because any user may name a folder in the shared
folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_HARMLESS = re.compile(r"[\w.+-]+")


def devices(incomplete: str) -> list[str]:
    """Return raster devices."""
    from sshrender.renderers.devices import DEVICES

    return _fitting(DEVICES, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Return shipped recipes, and the user's own."""
    return _fitting(_quietly(_recipe_names), incomplete)


def hosts(incomplete: str) -> list[str]:
    """Return hosts of the inventory; after a comma, the next host of a list."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _fitting(_quietly(_host_names), last)]


def jobs(incomplete: str) -> list[str]:
    """Return jobs in the shared folder."""
    return _fitting(_quietly(_job_names), incomplete)


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Return a function that offers these values."""
    return lambda incomplete: _fitting(values, incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _HARMLESS.fullmatch(name)]


def _quietly(names: Callable[[], Iterator[str]]) -> list[str]:
    try:
        return list(names())
    except Exception:  # noqa: BLE001 - the command itself reports what is wrong
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
