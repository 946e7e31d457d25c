"""Format the pools of an inventory for ``hosts``: one line for each, and what to type below it.

The input is what ``hosts --json`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean

MAX_COMMAND = 1000
"""Characters of a command to type; ssh's options may be many."""


def lines(pools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of pools."""
    rows: list[tuple[str, ...]] = [
        ("POOL", "STATE", "ENGINE", "NODES", "FREE CORES", "PILOTS", "QUEUE", "REASON")
    ]
    rows += [_row(pool) for pool in pools]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        # The first row holds the titles.
        if number:
            yield from _advice(pools[number - 1])


def _advice(pool: Mapping[str, Any]) -> Iterator[str]:
    if pool["state"] == "lost":
        yield f"    try: {clean(pool['command'], MAX_COMMAND)}"
    elif pool["state"] == "refused" and pool["version"]:
        yield "    note: the engine was asked with the pool's queue, options, cores, memory and walltime"
    elif "is not installed here" in pool["reason"]:
        yield f"    note: {pool['engine']} is not here; via names the host that has its commands"


def _row(pool: Mapping[str, Any]) -> tuple[str, ...]:
    nodes = ", ".join(f"{number} {clean(state)}" for state, number in pool["nodes"].items())
    return (
        clean(pool["name"]),
        pool["state"],
        f"{pool['engine']} {clean(pool['version'], 20)}".strip(),
        nodes or "-",
        f"{pool['free']} of {pool['cores']}" if pool["cores"] else "-",
        f"up to {pool['pilots']}",
        f"{pool['waiting']} waiting, {pool['running']} running" if pool["state"] == "usable" else "-",
        clean(pool["reason"]),
    )


def queue_in_words(pool: Mapping[str, Any]) -> str:
    """Return how many pilots of a pool wait and run, and why they wait."""
    words = f"pool {clean(pool['pool'])}: {pool['waiting']} waiting, {pool['running']} running"
    why = [clean(pool["reason"])] if pool["reason"] else []
    why += [f"expected to start {clean(pool['start'])}"] if pool["start"] else []
    return words + (f" ({'; '.join(why)})" if why else "")
