"""Accounts in words: a line each, and what they come to. From what ``report --json`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean

_FIGURES = ("PAGES", "CPU SECONDS", "FAILURES")


def table(accounts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[str]:
    """The columns as wide as they need to be, figures to the right."""
    if not accounts:
        yield "nothing was rendered"
        return
    rows = [(*map(str.upper, keys), *_FIGURES), *(_row(account, keys) for account in accounts)]
    rows.append(_row(_total(accounts, keys), keys))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if column < len(keys) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(account: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    figures = (f"{account['pages']:,}", f"{account['cpu_seconds']:,.1f}", f"{account['failures']:,}")
    return (*(clean(account[key]) for key in keys), *figures)


def _total(accounts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    total: dict[str, Any] = dict.fromkeys(keys, "")
    total[keys[0]] = "in all"
    for figure in ("pages", "cpu_seconds", "failures"):
        total[figure] = sum(account[figure] for account in accounts)
    return total
