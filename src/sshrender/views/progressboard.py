"""The board: a summary of pages and hosts on a terminal, renewed in place twice a second.

``render`` is pure: it turns a snapshot and a size into a Rich renderable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sshrender.core.snapshot import HostView, Snapshot
from sshrender.job.journal.journalentries import HostStateChanged, JournalEntry
from sshrender.views import hostwords
from sshrender.views.backgroundprocess import is_in_background
from sshrender.views.controlcharacters import Harmless
from sshrender.views.plain import describe, pause_now, wait_left, withheld_now
from sshrender.views.rate import Rate, follow, of_run
from sshrender.views.text import clean, count, duration

REDRAW = 0.5
"""Seconds: two redraws a second look live and load a slow link little."""

_STYLES = {
    "idle": ("●", "green"),
    "busy": ("◐", "yellow"),
    "drained": ("▼", "cyan"),
    "removed": ("·", "white"),
    "connecting": ("…", "cyan"),
    "unknown": ("·", "white"),
    "quarantined": ("▲", "magenta"),
    "lost": ("○", "red"),
    "refused": ("✕", "red"),
}
"""Symbol and colour of each state: states differ without colours, too."""


class BoardView:
    """A live board on a terminal; messages scroll above it."""

    def __init__(self, stream: TextIO, job: str, color: str = "auto", verbose: int = 0) -> None:
        # None leaves the decision to Rich, which knows NO_COLOR and terminals without colours.
        no_color = {"auto": None, "never": True, "always": False}[color]
        self._console = Console(file=stream, no_color=no_color, highlight=False)
        self._job = job
        self._verbose = verbose
        self._rate = Rate()
        self._rendered_at = 0.0
        # transient: the board disappears at the end, and the summary takes its place.
        self._live = Live(
            Text(""), console=self._console, auto_refresh=False, transient=True, screen=False
        )
        self._live.start()
        # Ctrl-Z would leave the shell without one.
        self._console.show_cursor(True)

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry. Hosts' states are on the board already."""
        if isinstance(entry, HostStateChanged) and not self._verbose:
            return
        line = describe(entry, self._verbose)
        if line is not None:
            self.print_line(line)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        follow(self._rate, snapshot, now)
        # A background process that writes to the terminal would be mixed with the shell's own lines.
        if now - self._rendered_at < REDRAW or is_in_background(self._console.file):
            return
        self._rendered_at = now
        width, height = self._console.size
        board = render(snapshot, self._job, self._rate, now, width, height)
        # The last step: Rich adds its escapes after the text was made harmless.
        self._live.update(Harmless(board), refresh=True)

    def print_line(self, line: str) -> None:
        """See View.print_line."""
        self._console.print(Harmless(Text(line)))

    def close(self) -> None:
        """See View.close."""
        self._live.stop()


def render(
    snapshot: Snapshot, job: str, rate: Rate, now: float, width: int, height: int
) -> RenderableType:
    """Return the board for a snapshot, at most ``width`` columns wide and ``height`` lines high."""
    parts: list[RenderableType] = [_headline(snapshot, job), _progress(snapshot, width)]
    parts.append(_pace(snapshot, rate, now))
    if snapshot.paused:
        parts.append(Text(pause_now(snapshot), style="bold red", no_wrap=True))
    elif words := _waits(snapshot):
        parts.append(Text(words, style="bold red", no_wrap=True, overflow="ellipsis"))
    # Three lines are not for hosts: the titles, "and … more", and the one that the cursor is on. At
    # least three rows, even if they do not fit: a board without hosts says too little.
    max_rows = max(3, height - len(parts) - 3)
    parts.append(_hosts(snapshot, width, max_rows))
    return Group(*parts)


def _waits(snapshot: Snapshot) -> str:
    """Return why no page is sent now though the run is not paused; empty if pages are sent."""
    if none := hostwords.none_usable_in(snapshot):
        return none + wait_left(snapshot)
    return withheld_now(snapshot) if snapshot.withheld else ""


def _headline(snapshot: Snapshot, job: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(clean(job), style="bold")
    text.append(f"  {snapshot.delivered} of {count(snapshot.total, 'page')}")
    if snapshot.suspect:
        text.append(f"  ? {snapshot.suspect} suspect", style="yellow")
    if snapshot.failed:
        text.append(f"  ✕ {snapshot.failed} failed", style="red")
    troubled = hostwords.troubled(host.state for host in snapshot.hosts)
    if troubled:
        text.append(f"  hosts: {troubled}", style="red")
    return text


def _progress(snapshot: Snapshot, width: int) -> RenderableType:
    share = snapshot.delivered / snapshot.total if snapshot.total else 1.0
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(
        # Six columns are for the percentage and the space before it.
        ProgressBar(total=snapshot.total, completed=snapshot.delivered, width=min(width - 6, 100)),
        f"{int(100 * share)} %",
    )
    return line


def _pace(snapshot: Snapshot, rate: Rate, now: float) -> Text:
    speed, left = of_run(rate, snapshot, now)
    words = [f"{count(snapshot.running, 'page')} in work"]
    if speed is not None:
        words.append(f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min")
    if left is not None:
        words.append(f"{duration(left)} left")
    return Text(", ".join(words), no_wrap=True, overflow="ellipsis")


_TITLES = ("host", "state", "slots", "load", "pages", "s/page", "")
_NARROW = (0, 1, 2, 4, 6)
"""The columns that a narrow terminal shows."""

_WIDE = 70
"""Columns from which on a terminal shows everything."""

_MAX_NAME_WIDTH = 24
_MIN_REASON_WIDTH = 12


def _hosts(snapshot: Snapshot, width: int, max_rows: int) -> RenderableType:
    """Return the table of hosts. Each column fits its content; the reason gets the rest and is cut.

    Rich's own layout would squeeze every column to make room for one long reason.
    """
    hosts = _chosen(snapshot.hosts, max_rows)
    kept = range(len(_TITLES)) if width >= _WIDE else _NARROW
    cells = [_row(host, is_withheld=bool(snapshot.withheld)) for host in hosts]
    rows = [[cell for n, cell in enumerate(row) if n in kept] for row in cells]
    titles = [_TITLES[n] for n in kept]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    left = width
    for column, title in enumerate(titles[:-1]):
        # Measured for this redraw alone: columns may change their width when a name appears.
        needed = max(len(title), *(cell.cell_len for cell in (row[column] for row in rows)))
        needed = min(needed, _MAX_NAME_WIDTH) if column == 0 else needed
        justify: JustifyMethod = "left" if column < 2 else "right"
        table.add_column(title, width=needed, justify=justify, no_wrap=True, overflow="ellipsis")
        left -= needed + 1
    # A reason that is cut to a few letters says nothing, so the column is left out.
    if left >= _MIN_REASON_WIDTH:
        table.add_column(titles[-1], max_width=left - 1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    left_out = len(snapshot.hosts) - len(hosts)
    if left_out:
        return Group(table, Text(f"… and {count(left_out, 'more host')}"))
    return table


def _chosen(hosts: Sequence[HostView], max_rows: int) -> list[HostView]:
    """Return the hosts that are shown, those with a problem first.

    If not all fit, these take half of the rows at most: the others show that work continues.
    """
    ordered = sorted(hosts, key=_rank)
    if len(ordered) <= max_rows:
        return ordered
    troubled = [host for host in ordered if host.state in hostwords.TROUBLED]
    others = [host for host in ordered if host.state not in hostwords.TROUBLED]
    # Hosts with a problem get the lines that the others do not need.
    kept = max(max_rows // 2, max_rows - len(others))
    return (troubled[:kept] + others)[:max_rows]


def _rank(host: HostView) -> tuple[int, bool]:
    return hostwords.rank(host.state, is_working=host.running > 0)


def _row(host: HostView, is_withheld: bool) -> list[Text]:
    symbol, colour = _STYLES[host.state]
    # Until the handshake neither slots nor load are known.
    is_known = bool(host.slots)
    word = hostwords.word(host.state, is_working=host.running > 0, is_withheld=is_withheld)
    return [
        Text(clean(host.name)),
        Text(f"{symbol} {word}", style=colour),
        Text(f"{host.running}/{host.slots}" if is_known else ""),
        Text(f"{host.others:.2f}" if is_known else ""),
        Text(str(host.pages) if is_known else ""),
        Text("" if host.median is None else f"{host.median:.2f}"),
        Text(clean(host.reason), style="dim"),
    ]
