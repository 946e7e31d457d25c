"""Turn a job into rows for the lists: hosts, attempts in work, log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.style import Style

from sshrender.job.journal.journalentries import JournalEntry, RequestHandled, RunEnded, RunStarted
from sshrender.job.journal.storagepause import Pause
from sshrender.views import hostwords
from sshrender.views.dashboard.rowlist import Column, Row
from sshrender.views.dashboard.styles import STRAGGLER, Styles
from sshrender.views.hostrow import HostRow
from sshrender.views.jobmodel import JobModel
from sshrender.views.pagehistory import tell, time_of_day
from sshrender.views.severity import ERROR, WARNING, severity
from sshrender.views.text import clean, duration, pause

HOSTS = (
    Column("host", max_width=24),
    Column("state", max_width=15),
    Column("slots", is_right=True),
    Column("load", min_list_width=64, is_right=True),
    Column("own", min_list_width=64, is_right=True),
    Column("pages", is_right=True),
    Column("s/page", min_list_width=64, is_right=True),
    Column("errors", min_list_width=56, is_right=True),
    Column("reason"),
)
ATTEMPTS = (
    Column("page", is_right=True),
    Column("host", max_width=24),
    Column("age", is_right=True),
    Column("attempt", min_list_width=40, is_right=True),
    Column(""),
)
MAX_ATTEMPTS = 200
"""The oldest attempts are listed: a large farm renders hundreds of pages at a time."""

REOPENING = "reopening "
"""Start of the key of a row for a waiting slot instead of an attempt; the host's name follows."""

LOG = (Column("time"), Column("event"))

_KEYS: dict[str, Callable[[HostRow], Any]] = {
    "host": lambda host: host.name,
    # The name makes the order complete, so rows do not jump between equal ones.
    "state": lambda host: (_rank(host), host.name),
    "slots": lambda host: (-host.running, host.name),
    "load": lambda host: (-host.others, host.name),
    "own": lambda host: (-host.ours, host.name),
    "pages": lambda host: (-host.pages, host.name),
    "s/page": lambda host: (-(host.median or 0.0), host.name),
    "errors": lambda host: (-host.failures, host.name),
}
SORTS = tuple(_KEYS)


def _rank(host: HostRow) -> tuple[int, bool]:
    return hostwords.rank(host.state, is_working=host.is_working)


def hosts(job: JobModel, styles: Styles, sort: str, is_reversed: bool, text: str = "") -> list[Row]:
    """Return the hosts whose name, state or reason contains ``text``, sorted by a column."""
    found = [
        host
        for host in job.hosts.values()
        if _contains(text, host.name, host.in_words(job.waits.write), host.reason, host.node)
    ]
    found.sort(key=_KEYS[sort], reverse=is_reversed)
    return [_host(host, styles, job.waits.write) for host in found]


def _contains(text: str, *places: str) -> bool:
    # In any case of letters: users type what they see.
    return not text or any(text.lower() in place.lower() for place in places)


def _host(host: HostRow, styles: Styles, withheld: Pause | None) -> Row:
    symbol, style = styles.host(host.state)
    is_known = host.slots > 0
    return Row(
        host.name,
        (
            clean(host.name),
            f"{symbol} {clean(host.in_words(withheld))}",
            f"{host.running}/{host.slots}" if is_known else "",
            f"{host.others:.2f}" if is_known else "",
            f"{host.ours:.2f}" if is_known else "",
            str(host.pages) if is_known else "",
            "" if host.median is None else f"{host.median:.2f}",
            str(host.failures or ""),
            reason_on_node(host, withheld),
        ),
        (None, style),
    )


def reason_on_node(host: HostRow, withheld: Pause | None) -> str:
    """Return the reason of a host's state, after the node of a pilot.

    ``withheld``: the time in which no page is sent, if that is now.
    """
    reason = host.reason
    if withheld is not None and host.is_free:
        reason = f"{pause('', withheld.until)}: {withheld.reason}"
    return clean("; ".join(each for each in (host.node and f"on {host.node}", reason) if each))


def attempts(job: JobModel, styles: Styles, now: float, text: str = "") -> list[Row]:
    """Return the attempts in work, oldest first, with a mark on stragglers."""
    found = [_reopening(host, page, now) for host in job.hosts.values() for page in host.reopening]
    found = [row for row in found if _contains(text, *row.cells)]
    # Longest first, so the list that is cut holds what matters.
    for drawing in job.drawings(now)[:MAX_ATTEMPTS]:
        flight = drawing.flight
        if not _contains(text, str(flight.page), flight.host):
            continue
        symbol, style = styles.page(STRAGGLER)
        mark = f"{symbol} takes much longer than usual on this host" if drawing.straggles else ""
        tries = job.pages[flight.page].attempts
        cells = (str(flight.page), clean(flight.host), duration(drawing.age), str(tries), mark)
        found.append(Row(flight.attempt, cells, (None, None, None, None, style)))
    return found


def _reopening(host: HostRow, page: int, now: float) -> Row:
    """Return the row of a slot that renders nothing, because it opens the document again."""
    age = duration(now - host.reopening[page])
    words = f"opens the document again, after page {page}; the slot waits"
    # A prefix that no attempt has, so both kinds of rows fit into one list.
    return Row(f"{REOPENING}{host.name}", ("", clean(host.name), age, "", words), _WAITS)


def log_row(number: int, entry: JournalEntry) -> Row | None:
    """Return an entry as a row with its number as the key; None for an entry that has no text."""
    words = tell(entry)
    if words is None:
        return None
    # A severe entry keeps its colour, whatever its type.
    style = _SEVERE.get(severity(entry)) or _EMPHASIS.get(type(entry))
    return Row(str(number), (time_of_day(entry), words), (_DIM, style))


def log(rows: Iterable[Row], text: str) -> list[Row]:
    """Return the rows that contain ``text``."""
    return [row for row in rows if _contains(text, row.cells[1])]


_DIM = Style(dim=True)
_WAITS = (None, None, None, None, Style(color="cyan"))
_SEVERE = {WARNING: Style(color="yellow"), ERROR: Style(color="red", bold=True)}
_EMPHASIS: Mapping[type[JournalEntry], Style] = {
    RequestHandled: Style(bold=True),
    RunStarted: Style(bold=True),
    RunEnded: Style(bold=True),
}
