"""What there is to say of the page or the host under the cursor. Pure."""

from __future__ import annotations

from rich.text import Text

from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import SENT, WAITING, HostRow, JobModel, PageRow
from sshrender.views.pagehistory import tell, time_of_day
from sshrender.views.text import clean, count, duration, size

_MAX_DIAGNOSTICS = 6


def of_page(page: PageRow, _job: JobModel, now: float, looks: Styles) -> Text:
    """A page: where it is or was, how long it took, what was said of it, its troubles."""
    symbol, style = looks.page(page.state)
    text = Text()
    text.append(f"page {page.number}  ", "bold")
    text.append(f"{symbol} {page.state}", style)
    text.append(f"  {_whereabouts(page, now)}\n")
    if page.width:
        text.append(f"{page.width} × {page.height} pixels, {size(page.bytes)}", "dim")
        text.append(f", {count(page.attempts, 'attempt')}\n", "dim")
    if page.reason and page.state != "done":
        text.append(f"{page.kind}: {clean(page.reason)}\n")
    for line in page.said[:_MAX_DIAGNOSTICS]:
        text.append(f"{clean(line)}\n", "yellow")
    for entry in page.story[-_MAX_DIAGNOSTICS:]:
        words = tell(entry)
        if words:
            text.append(f"{time_of_day(entry)}  ", "dim")
            text.append(f"{words}\n")
    return text


def _whereabouts(page: PageRow, now: float) -> str:
    if page.state == WAITING:
        return "nobody has it" if page.attempts == 0 else "waits for another host"
    if page.state == SENT:
        return f"on {clean(page.host)} for {duration(now - page.since)}"
    return f"from {clean(page.host)} in {page.seconds:.2f} s" if page.file else ""


def of_host(host: HostRow, ssh_command: str, looks: Styles) -> Text:
    """A host: what it is, what it did, how to get there."""
    symbol, style = looks.host(host.state)
    text = Text()
    text.append(f"{clean(host.name)}  ", "bold")
    text.append(f"{symbol} {host.state}", style)
    text.append(f"  {clean(host.reason)}\n")
    if host.slots:
        text.append(
            f"{count(host.cores, 'core')}, {count(host.slots, 'slot')},"
            f" Ghostscript {clean(host.ghostscript)}\n",
            "dim",
        )
    held = ", ".join(str(flight.page) for flight in list(host.flights.values())[:8])
    if held:
        text.append(f"has {'page' if len(host.flights) == 1 else 'pages'} {held}")
        text.append(f" and {len(host.flights) - 8} more\n" if len(host.flights) > 8 else "\n")
    if ssh_command:
        text.append(f"{clean(ssh_command)}\n", "cyan")
    return text
