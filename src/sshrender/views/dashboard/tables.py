"""A job as rows: hosts, attempts in flight, the log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.style import Style

from sshrender.job.journalentries import (
    AttemptFailed,
    JournalEntry,
    PageFailed,
    PageSuspected,
    RequestHandled,
    RunEnded,
    RunStarted,
    StorageFailed,
)
from sshrender.views.dashboard.rowlist import Column, Row
from sshrender.views.dashboard.styles import HOST_ORDER, STRAGGLER, Styles
from sshrender.views.jobmodel import HostRow, JobModel
from sshrender.views.pagehistory import tell, time_of_day
from sshrender.views.text import clean, duration

HOSTS = (
    Column("host", most=24),
    Column("state", most=13),
    Column("slots", is_right=True),
    Column("theirs", least=64, is_right=True),
    Column("ours", least=64, is_right=True),
    Column("pages", is_right=True),
    Column("s/page", least=64, is_right=True),
    Column("bad", least=56, is_right=True),
    Column("reason"),
)
FLIGHTS = (
    Column("page", is_right=True),
    Column("host", most=24),
    Column("age", is_right=True),
    Column("attempt", least=40, is_right=True),
    Column(""),
)
MAX_IN_FLIGHT = 200
"""The oldest: nobody reads on, and a large farm draws hundreds of pages at a time."""

LOG = (Column("time"), Column("what happened"))

_KEYS: dict[str, Callable[[HostRow], Any]] = {
    "host": lambda host: host.name,
    "state": lambda host: (_rank(host), host.name),
    "slots": lambda host: (-host.running, host.name),
    "theirs": lambda host: (-host.others, host.name),
    "ours": lambda host: (-host.ours, host.name),
    "pages": lambda host: (-host.pages, host.name),
    "s/page": lambda host: (-(host.median or 0.0), host.name),
    "bad": lambda host: (-host.failures, host.name),
}
SORTS = tuple(_KEYS)


def _rank(host: HostRow) -> int:
    return HOST_ORDER.index(host.state) if host.state in HOST_ORDER else len(HOST_ORDER)


def hosts(job: JobModel, looks: Styles, sort: str, is_reversed: bool, wanted: str = "") -> list[Row]:
    """The hosts whose name, state or reason holds ``wanted``."""
    found = [host for host in job.hosts.values() if _holds(wanted, host.name, host.state, host.reason)]
    found.sort(key=_KEYS[sort], reverse=is_reversed)
    return [_host(host, looks) for host in found]


def _holds(wanted: str, *texts: str) -> bool:
    return not wanted or any(wanted.lower() in text.lower() for text in texts)


def _host(host: HostRow, looks: Styles) -> Row:
    symbol, style = looks.host(host.state)
    is_met = host.slots > 0
    return Row(
        host.name,
        (
            clean(host.name),
            f"{symbol} {host.state}",
            f"{host.running}/{host.slots}" if is_met else "",
            f"{host.others:.2f}" if is_met else "",
            f"{host.ours:.2f}" if is_met else "",
            str(host.pages) if is_met else "",
            "" if host.median is None else f"{host.median:.2f}",
            str(host.failures or ""),
            clean(host.reason),
        ),
        (None, style),
    )


def flights(job: JobModel, looks: Styles, now: float, wanted: str = "") -> list[Row]:
    """What is being drawn, oldest first, stragglers marked."""
    found = []
    for drawing in job.drawings(now)[:MAX_IN_FLIGHT]:
        flight = drawing.flight
        if not _holds(wanted, str(flight.page), flight.host):
            continue
        symbol, style = looks.page(STRAGGLER)
        mark = f"{symbol} takes much longer than usual there" if drawing.straggles else ""
        tries = job.pages[flight.page].attempts
        cells = (str(flight.page), clean(flight.host), duration(drawing.age), str(tries), mark)
        found.append(Row(flight.attempt, cells, (None, None, None, None, style)))
    return found


def log_row(number: int, entry: JournalEntry) -> Row | None:
    """An entry in words, with its number among all; None for one that says nothing to people."""
    words = tell(entry)
    if words is None:
        return None
    return Row(str(number), (time_of_day(entry), words), (_DIM, _LOUD.get(type(entry))))


def log(rows: Iterable[Row], wanted: str) -> list[Row]:
    """Those of the rows that hold ``wanted``."""
    return [row for row in rows if _holds(wanted, row.cells[1])]


_DIM = Style(dim=True)
_LOUD: Mapping[type[JournalEntry], Style] = {
    AttemptFailed: Style(color="yellow"),
    PageSuspected: Style(color="yellow"),
    PageFailed: Style(color="red", bold=True),
    StorageFailed: Style(color="red", bold=True),
    RequestHandled: Style(bold=True),
    RunStarted: Style(bold=True),
    RunEnded: Style(bold=True),
}
