"""Describe the page or the host under the cursor. Pure."""

from __future__ import annotations

from rich.text import Text

from sshrender.core.fingerprint import in_words
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.storagepause import Pause
from sshrender.views.dashboard.styles import Styles
from sshrender.views.dashboard.tables import reason_on_node
from sshrender.views.hostrow import HostRow
from sshrender.views.jobmodel import SENT, WAITING, PageRow
from sshrender.views.pagehistory import tell, time_of_day
from sshrender.views.text import clean, count, duration, size

_MAX_DIAGNOSTICS = 6
_MAX_ASSIGNED = 8
"""Pages of a host that are listed; the others are counted."""


def of_page(page: PageRow, now: float, styles: Styles) -> Text:
    """Return a page's state, host, time, size, diagnostics and the last entries of its history."""
    symbol, style = styles.page(page.state)
    text = Text()
    text.append(f"page {page.number}  ", "bold")
    text.append(f"{symbol} {page.state}", style)
    text.append(f"  {_whereabouts(page, now)}\n")
    if page.width:
        text.append(f"{page.width} × {page.height} pixels, {size(page.bytes)}", "dim")
        # The number of attempts is known with the size, when the page was delivered.
        text.append(f", {count(page.attempts, 'attempt')}\n", "dim")
    if page.reason and page.state != "done":
        text.append(f"{page.kind}: {clean(page.reason)}\n")
    for line in page.diagnostics[:_MAX_DIAGNOSTICS]:
        text.append(f"{clean(line)}\n", "yellow")
    for entry in page.history[-_MAX_DIAGNOSTICS:]:
        words = tell(entry)
        if words:
            text.append(f"{time_of_day(entry)}  ", "dim")
            text.append(f"{words}\n")
    return text


def _whereabouts(page: PageRow, now: float) -> str:
    if page.state == WAITING:
        return "not started" if page.attempts == 0 else "will be tried again"
    if page.state == SENT:
        return f"to {clean(page.host)}, {duration(now - page.since)} ago"
    return f"from {clean(page.host)} in {page.seconds:.2f} s" if page.file else ""


def of_host(host: HostRow, ssh_command: str, styles: Styles, withheld: Pause | None = None) -> Text:
    """Return a host's state, size, assigned pages, and the command that logs in to it.

    ``withheld``: the time in which no page is sent to any host, if that is now.
    """
    symbol, style = styles.host(host.state)
    text = Text()
    text.append(f"{clean(host.name)}  ", "bold")
    text.append(f"{symbol} {clean(host.in_words(withheld))}", style)
    text.append(f"  {reason_on_node(host, withheld)}\n")
    if host.slots:
        text.append(
            f"{count(host.cores, 'core')}, {count(host.slots, 'slot')},"
            f" {clean(in_words(host.ghostscript))}\n",
            "dim",
        )
    for page in host.reopening:
        text.append(f"a slot opens the document again after page {page}\n", "cyan")
    assigned = [str(flight.page) for flight in host.flights.values()]
    if assigned:
        noun = "page" if len(assigned) == 1 else "pages"
        more = len(assigned) - _MAX_ASSIGNED
        text.append(f"assigned {noun}: {', '.join(assigned[:_MAX_ASSIGNED])}")
        text.append(f" and {more} more\n" if more > 0 else "\n")
    if ssh_command:
        text.append(f"{clean(ssh_command)}\n", "cyan")
    return text


def of_entry(entry: JournalEntry) -> Text:
    """Return an entry of the log in full: the log cuts long ones."""
    text = Text()
    text.append(f"{time_of_day(entry)}  ", "dim")
    text.append(f"{tell(entry) or ''}\n")
    return text
