"""The Rich board: on a terminal, hosts and pages at a glance, redrawn in place twice a second.

``render`` is pure: a snapshot and a width in, something to print out.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sshrender.core.snapshot import HostView, Snapshot
from sshrender.views.plain import describe
from sshrender.views.protocol import Entry
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
        self._drawn_at = 0.0
        self._live = Live(
            Text(""), console=self._console, auto_refresh=False, transient=True, screen=False
        )
        self._live.start()

    def entry(self, entry: Entry) -> None:
        """See View.entry. Hosts' states are on the board already."""
        if entry["type"] == "host_state" and not self._verbose:
            return
        line = describe(entry, self._verbose)
        if line is not None:
            self.say(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._rate.note(now, snapshot.delivered_here)
        if now - self._drawn_at < REDRAW:
            return
        self._drawn_at = now
        width, height = self._console.size
        board = render(snapshot, self._job, self._rate, now, width, height)
        self._live.update(board, refresh=True)

    def say(self, line: str) -> None:
        """See View.say."""
        self._console.print(Text(line))

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
    return ProgressBar(total=snapshot.total, completed=snapshot.settled, width=min(width, 100))


def _pace(snapshot: Snapshot, rate: Rate, now: float) -> Text:
    speed = rate.per_second(now)
    left = rate.left(now, snapshot.missing)
    words = [f"{count(snapshot.running, 'page')} under way"]
    if speed is not None:
        words.append(f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min")
    if left is not None:
        words.append(f"{duration(left)} left")
    return Text(", ".join(words), no_wrap=True, overflow="ellipsis")


def _hosts(snapshot: Snapshot, width: int, room: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=False, show_edge=False)
    table.add_column("host", no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    table.add_column("slots", justify="right", no_wrap=True)
    wide = width >= 70
    if wide:
        table.add_column("load", justify="right", no_wrap=True)
    table.add_column("pages", justify="right", no_wrap=True)
    if wide:
        table.add_column("s/page", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    hosts = sorted(snapshot.hosts, key=lambda host: _ORDER.index(host.state))
    for host in hosts[:room]:
        table.add_row(*_row(host, wide))
    if len(hosts) > room:
        table.add_row(f"… and {len(hosts) - room} more")
    return table


def _row(host: HostView, wide: bool) -> list[Text | str]:
    symbol, colour = _LOOKS[host.state]
    median = "" if host.median is None else f"{host.median:.2f}"
    cells: list[Text | str] = [
        clean(host.name),
        Text(f"{symbol} {host.state}", style=colour),
        f"{host.running}/{host.slots}" if host.slots else "",
    ]
    if wide:
        cells.append(f"{host.others:.2f}" if host.slots else "")
    cells.append(str(host.pages) if host.slots else "")
    if wide:
        cells.append(median)
    cells.append(Text(clean(host.reason), style="dim"))
    return cells
