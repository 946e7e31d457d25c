"""Completions for the Tab key: devices, recipes, hosts of the inventory, jobs in the shared folder.

Completion never fails and prints nothing else: the command itself reports errors of the configuration.
Names with characters that mean something to a shell are left out: any user of the shared folder can
give a folder such a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

# A name of other characters would have to be quoted, which shells do in different ways.
_SHELL_SAFE = re.compile(r"[\w.+-]+")


def devices(incomplete: str) -> list[str]:
    """Return raster devices."""
    from sshrender.api.documentarguments import device_names

    return _matching(_quietly(device_names), incomplete)


def recipes(incomplete: str) -> list[str]:
    """Return the recipes that come with the program, and those of the configuration."""
    return _matching(_quietly(_recipe_names), incomplete)


def hosts(incomplete: str) -> list[str]:
    """Return hosts of the inventory; after a comma, the next one of a list."""
    # Only the last name of a list is completed; what precedes it stays.
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _matching(_quietly(_host_names), last)]


def jobs(incomplete: str) -> list[str]:
    """Return jobs in the shared folder."""
    return _matching(_quietly(_job_names), incomplete)


def states(incomplete: str) -> list[str]:
    """Return states of jobs; after a comma, the next one of a list."""
    from sshrender.api.jobselection import STATES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _matching(STATES, last)]


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Return a completion for a fixed list of values."""
    return lambda incomplete: _matching(values, incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _SHELL_SAFE.fullmatch(name)]


# A traceback between two Tab keys would ruin the command line.
def _quietly(names: Callable[[], Iterator[str]]) -> list[str]:
    try:
        return list(names())
    except Exception:  # noqa: BLE001 - the command itself reports errors, not the Tab key
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
    from sshrender.api.jobs import job_names, on_san, san_folder
    from sshrender.config.settings import resolve

    san = san_folder(resolve({}).settings)
    yield from on_san(san, lambda: job_names(san))
