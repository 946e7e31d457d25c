"""The Rich board: on a terminal, hosts and pages at a glance, redrawn in place twice a second.

``render`` is pure: a snapshot and a width in, something to print out.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sshrender.core.snapshot import HostView, Snapshot
from sshrender.job.journalentries import HostStateChanged, JournalEntry
from sshrender.views.controlcharacters import Harmless
from sshrender.views.plain import describe
from sshrender.views.rate import Rate
from sshrender.views.text import clean, count, duration

REDRAW = 0.5
"""Seconds: two redraws a second are enough for the eye and little for a slow link."""

_LOOKS = {
    "idle": ("●", "green"),
    "busy": ("◐", "yellow"),
    "connecting": ("…", "cyan"),
    "unknown": ("·", "white"),
    "quarantined": ("▲", "magenta"),
    "lost": ("○", "red"),
    "refused": ("✕", "red"),
}
"""State by symbol and colour, never by colour alone."""

_ORDER = list(_LOOKS)


class BoardView:
    """A live board on a terminal, with lines worth keeping scrolling above it."""

    def __init__(self, stream: TextIO, job: str, color: str = "auto", verbose: int = 0) -> None:
        no_color = {"auto": None, "never": True, "always": False}[color]
        self._console = Console(file=stream, no_color=no_color, highlight=False)
        self._job = job
        self._verbose = verbose
        self._rate = Rate()
        self._rendered_at = 0.0
        self._live = Live(
            Text(""), console=self._console, auto_refresh=False, transient=True, screen=False
        )
        self._live.start()

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry. Hosts' states are on the board already."""
        if isinstance(entry, HostStateChanged) and not self._verbose:
            return
        line = describe(entry, self._verbose)
        if line is not None:
            self.say(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._rate.note(now, snapshot.delivered_here)
        if now - self._rendered_at < REDRAW:
            return
        self._rendered_at = now
        width, height = self._console.size
        board = render(snapshot, self._job, self._rate, now, width, height)
        self._live.update(Harmless(board), refresh=True)

    def say(self, line: str) -> None:
        """See View.say."""
        self._console.print(Harmless(Text(line)))

    def close(self) -> None:
        """See View.close."""
        self._live.stop()


def render(
    snapshot: Snapshot, job: str, rate: Rate, now: float, width: int, height: int
) -> RenderableType:
    """The board of a moment, no wider than ``width`` and no higher than ``height``."""
    parts: list[RenderableType] = [_headline(snapshot, job), _progress(snapshot, width)]
    parts.append(_pace(snapshot, rate, now))
    if snapshot.paused:
        parts.append(Text(f"paused: {clean(snapshot.paused)}", style="bold red", no_wrap=True))
    room = max(3, height - len(parts) - 3)
    parts.append(_hosts(snapshot, width, room))
    return Group(*parts)


def _headline(snapshot: Snapshot, job: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(clean(job), style="bold")
    text.append(f"  {snapshot.settled} of {count(snapshot.total, 'page')}")
    if snapshot.suspect:
        text.append(f"  ? {snapshot.suspect} suspect", style="yellow")
    if snapshot.failed:
        text.append(f"  ✕ {snapshot.failed} failed", style="red")
    return text


def _progress(snapshot: Snapshot, width: int) -> RenderableType:
    share = snapshot.settled / snapshot.total if snapshot.total else 1.0
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(
        ProgressBar(total=snapshot.total, completed=snapshot.settled, width=min(width - 6, 100)),
        f"{int(100 * share)} %",
    )
    return line


def _pace(snapshot: Snapshot, rate: Rate, now: float) -> Text:
    speed = rate.per_second(now)
    left = rate.left(now, snapshot.missing)
    words = [f"{count(snapshot.running, 'page')} on hosts"]
    if speed is not None:
        words.append(f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min")
    if left is not None:
        words.append(f"{duration(left)} left")
    return Text(", ".join(words), no_wrap=True, overflow="ellipsis")


_TITLES = ("host", "state", "slots", "load", "pages", "s/page", "")
_NARROW = (0, 1, 2, 4, 6)
"""The columns that are left where there is little room."""

_WIDE = 70
_NAME_MOST = 24
_REASON_LEAST = 12


def _hosts(snapshot: Snapshot, width: int, room: int) -> RenderableType:
    """Every column as wide as what is in it; the reason gets what is left, and is cut there.

    Rich, left to itself, would squeeze all columns to make room for one long reason.
    """
    hosts = sorted(snapshot.hosts, key=lambda host: _ORDER.index(host.state))
    kept = range(len(_TITLES)) if width >= _WIDE else _NARROW
    rows = [[cell for n, cell in enumerate(_row(host)) if n in kept] for host in hosts[:room]]
    titles = [_TITLES[n] for n in kept]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    left = width
    for column, title in enumerate(titles[:-1]):
        wanted = max(len(title), *(cell.cell_len for cell in (row[column] for row in rows)))
        wanted = min(wanted, _NAME_MOST) if column == 0 else wanted
        justify: JustifyMethod = "left" if column < 2 else "right"
        table.add_column(title, width=wanted, justify=justify, no_wrap=True, overflow="ellipsis")
        left -= wanted + 1
    if left >= _REASON_LEAST:
        table.add_column(titles[-1], max_width=left - 1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    if len(hosts) > room:
        return Group(table, Text(f"… and {len(hosts) - room} more"))
    return table


def _row(host: HostView) -> list[Text]:
    symbol, colour = _LOOKS[host.state]
    is_met = bool(host.slots)
    return [
        Text(clean(host.name)),
        Text(f"{symbol} {host.state}", style=colour),
        Text(f"{host.running}/{host.slots}" if is_met else ""),
        Text(f"{host.others:.2f}" if is_met else ""),
        Text(str(host.pages) if is_met else ""),
        Text("" if host.median is None else f"{host.median:.2f}"),
        Text(clean(host.reason), style="dim"),
    ]
