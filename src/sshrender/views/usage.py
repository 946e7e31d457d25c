"""Format usage for ``report``: one line for each account, and the total.

The input is what ``report --json`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean

_NUMBERS = ("PAGES", "CPU SECONDS", "FAILURES")


def table(accounts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[str]:
    """Yield the table; each column is as wide as its content, numbers are aligned right."""
    if not accounts:
        yield "no usage recorded"
        return
    rows = [(*map(str.upper, keys), *_NUMBERS), *(_row(account, keys) for account in accounts)]
    # The total is a row like any other, so its numbers count for the widths.
    rows.append(_row(_total(accounts, keys), keys))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if column < len(keys) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(account: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    numbers = (f"{account['pages']:,}", f"{account['cpu_seconds']:,.1f}", f"{account['failures']:,}")
    return (*(clean(account[key]) for key in keys), *numbers)


def _total(accounts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    total: dict[str, Any] = dict.fromkeys(keys, "")
    # The first key's column has the word, the others stay empty.
    total[keys[0]] = "total"
    for number in ("pages", "cpu_seconds", "failures"):
        total[number] = sum(account[number] for account in accounts)
    return total
