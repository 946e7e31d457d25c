"""Format hosts for ``hosts``: one line for each host, and below it a command that fixes its problem.

The input is what ``hosts --json`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean, count

Report = Mapping[str, Any]
"""A host as ``hosts --json`` has it."""

_STATES = ("idle", "busy", "drained", "lost", "refused")
"""States in the last line; *drained* is left out there if no host is."""

MAX_FIX = 4096
"""Characters of a line that fixes a host. A command must not be cut."""

_SIGNS = {True: "ok", False: "FAILS", None: "-"}


Fixes = Mapping[str, Sequence[tuple[str, str]]]
"""The remedies of each host, by its name: each with the first word of its line, and its text."""


def lines(reports: Sequence[Report], fixes: Fixes, verbose: int = 0) -> Iterator[str]:
    """Yield the table, what fixes a host below it, and the number of hosts by state.

    With ``verbose``, every check is listed.
    """
    rows: list[tuple[str, ...]] = [
        ("HOST", "STATE", "SLOTS", "LOAD", "GS", "PYTHON", "ENCODER", "REASON")
    ]
    rows += [_row(report) for report in reports]
    # The titles count as well: a column is never narrower than its title.
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    yield table[0]
    for report, line in zip(reports, table[1:], strict=True):
        yield line
        for lead, text in fixes.get(report["name"], ()):
            yield f"    {lead}: {clean(text, MAX_FIX)}"
        if verbose:
            yield from _checks(report)
    states = [report["state"] for report in reports]
    # Every state is counted, but drained hosts only if there are any.
    shown = [state for state in _STATES if state in states or state != "drained"]
    words = [f"{states.count(state)} {state}" for state in shown]
    yield f"{count(len(reports), 'host')}: " + ", ".join(words)


def _row(report: Report) -> tuple[str, ...]:
    cores = report["cores"]
    return (
        clean(report["name"]),
        report["state"],
        str(report["slots"] or "-"),
        # Threads per core, as the thresholds of the inventory are.
        f"{report['others'] / cores:.2f}" if cores else "-",
        clean(report["ghostscript"], 20) or "-",
        clean(report["python"], 20) or "-",
        clean(report.get("encoder", ""), 20) or "-",
        # A host without a reason may still have failed a check that does not matter for its use.
        clean(report["reason"]) or _warning(report),
    )


def _warning(report: Report) -> str:
    """Return the failed checks of a host that is usable in spite of them."""
    return "; ".join(
        f"{check['name']}: {clean(check['says'])}" for check in report["checks"] if check["ok"] is False
    )


def _checks(report: Report) -> Iterator[str]:
    for check in report["checks"]:
        says = f"  {clean(check['says'])}" if check["says"] else ""
        yield f"    {check['name']:<12}{_SIGNS[check['ok']]:<6}{says}".rstrip()
