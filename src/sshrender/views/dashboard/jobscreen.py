"""The screen that lists jobs and hosts: the whole queue, or the documents of one command."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Static

from sshrender.job.queue.requestoperations import Operation
from sshrender.views import queuewords
from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import headline
from sshrender.views.dashboard.dialogs import Confirmation, Question
from sshrender.views.dashboard.keyhints import ENDS, Hint
from sshrender.views.dashboard.keyline import KeyLine
from sshrender.views.dashboard.rowlist import Column, Listing, Row
from sshrender.views.dashboard.source import HostLine, JobLine, JobList, Listed, PoolLine
from sshrender.views.dashboard.styles import Styles
from sshrender.views.hostwords import word
from sshrender.views.jobmodel import FAILED, SUSPECT
from sshrender.views.pooltable import queue_in_words
from sshrender.views.text import clean, count, duration

REFRESH = 2.0
"""Seconds between two readings: each one lists the shared folder and reads what has changed."""

# Columns with a number are left out first if the list is narrow; the last one takes the rest.
_JOBS = (
    Column("job", max_width=32, keeps_end=True),
    Column("state", max_width=11),
    Column("pages", is_right=True),
    Column("problems", min_list_width=60, is_right=True),
    Column("hosts", min_list_width=70, is_right=True),
    Column("speed", min_list_width=80, is_right=True),
    Column("left", is_right=True),
    Column("owner", min_list_width=100, max_width=20),
    Column(""),
)
_HOSTS = (
    Column("host", max_width=24),
    Column("state", max_width=15),
    Column("slots", is_right=True),
    Column("load", min_list_width=60, is_right=True),
    Column("jobs", min_list_width=60, max_width=40),
    Column("reason"),
)
_STATES = {
    "running": "bold green",
    "paused": "bold red",
    "failed": "bold red",
    "partial": "bold yellow",
    "held": "yellow",
    "done": "green",
}
_HINTS = (
    Hint("Enter", "Open", "open"),
    Hint("/", "Filter", "search"),
    Hint("Tab", "Jobs, hosts", "other"),
    Hint("h", "Hold, release", "hold"),
    Hint("x", "Cancel", "cancel_job"),
)
_DONE = {Operation.HOLD: "held", Operation.RELEASE: "released", Operation.CANCEL: "cancelled"}
_FINE: SeverityLevel = "information"
_FAILED: SeverityLevel = "error"
_BACK = Hint("Esc", "Back", "back")


class JobScreen(Screen[None]):
    """Lists jobs and hosts, and opens a job.

    ``on_open`` gets the key of the chosen job. ``has_job``: a job is shown below, to go back to.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open the job"),
        Binding("slash", "search", "Filter jobs and hosts"),
        Binding("tab,shift+tab", "other", "Jobs or hosts"),
        Binding("h", "hold", "Hold or release the selected job"),
        Binding("x", "cancel_job", "Cancel the selected job"),
        Binding("escape", "back", "Back"),
        Binding("question_mark", "app.help", "Help"),
        Binding("q", "leave", "Leave"),
    ]

    def __init__(
        self, jobs: JobList, styles: Styles, on_open: Callable[[str], object], *, has_job: bool
    ) -> None:
        super().__init__()
        self._jobs = jobs
        self._styles = styles
        self._on_open = on_open
        self._has_job = has_job
        self._listed: Listed | None = None
        self._problem = ""
        self._filter = ""
        # One reading at a time: the folder may be slower than the timer.
        self._is_reading = False
        self._read_started = 0.0

    def compose(self) -> ComposeResult:
        """Yield a headline, the jobs, the hosts and the keys."""
        yield Static(id="list-title")
        with Container(id="lists"):
            yield Listing(_JOBS, id="jobs")
            yield Listing(_HOSTS, id="all-hosts")
        yield KeyLine(id="list-keys", ends=ENDS)

    def on_mount(self) -> None:
        """Start to read."""
        self.set_class(self._styles.is_ascii, "-plain")
        self.query_one("#jobs").border_title = "jobs"
        self.query_one("#all-hosts").border_title = "hosts"
        # Without a job below there is nothing to go back to.
        self.query_one(KeyLine).show([*_HINTS, _BACK] if self._has_job else list(_HINTS))
        self.query_one("#jobs").focus()
        self._show()
        self._read()
        self.set_interval(REFRESH, self._read)

    def _read(self) -> None:
        if self._is_reading:
            # The list may be out of date, so that has to be seen.
            self._show_title()
        else:
            self._is_reading = True
            self._read_started = time.monotonic()
            # exit_on_error=False: an error in the thread must not end the dashboard.
            self.run_worker(self._read_now, thread=True, exit_on_error=False)

    def _read_now(self) -> None:
        """Read the list. Runs in a thread."""
        # After an error the list of before stays, with the reason above it.
        listed, problem = self._listed, ""
        try:
            listed = self._jobs.read()
        except Exception as error:  # noqa: BLE001 - other programs can write into the folder
            why = getattr(error, "strerror", None) or error or type(error).__name__
            problem = f"cannot read the jobs: {clean(str(why))}"
        # The screen may have been left while the folder was read.
        if self.is_attached:
            self.app.call_from_thread(self._take, listed, problem)

    def _take(self, listed: Listed | None, problem: str) -> None:
        self._is_reading = False
        self._listed, self._problem = listed, problem
        if self.is_attached:
            self._show()

    def _show(self) -> None:
        listed = self._listed
        self._show_title()
        # Before the first answer the lists stay empty.
        if listed is None:
            return
        hosts = self.query_one("#all-hosts", Listing)
        hosts.display = bool(listed.hosts or listed.pools)
        text = self._filter.lower()
        # The name of a host or pool shows the jobs that use it.
        named = [each for each in _places(listed) if text and text in each.name.lower()]
        using = {job for each in named for job in each.jobs}
        found = [
            line
            for line in listed.jobs
            if line.name in using or _matches(text, line.name, line.state, line.owner)
        ]
        self.query_one("#jobs", Listing).show(
            [_job(line, number, self._styles) for number, line in enumerate(found)]
        )
        seen = [host for host in listed.hosts if _matches(text, host.name, host.state, *host.jobs)]
        pools = [pool for pool in listed.pools if _matches(text, pool.name, *pool.jobs)]
        hosts.show([*map(_pool, pools), *(_host(host, self._styles) for host in seen)])
        # At most two fifths, and five lines: jobs matter more than hosts here.
        lines = len(listed.hosts) + len(listed.pools) + 3
        hosts.styles.height = min(lines, max(5, self.size.height * 2 // 5))

    def _show_title(self) -> None:
        self.query_one("#list-title", Static).update(harmless_text(self._title()))

    def _title(self) -> Text:
        listed = self._listed
        silence = headline.no_answer(time.monotonic() - self._read_started) if self._is_reading else ""
        text = Text(clean(self._jobs.title), "bold", no_wrap=True, overflow="ellipsis")
        if self._filter:
            text.append(f"  only: {clean(self._filter)}", "reverse")
        if problem := silence or self._problem:
            text.append(f"  {problem}", "bold red reverse")
        elif listed is None:
            text.append("  reading …", "dim")
        elif not listed.jobs:
            text.append("  no jobs")
        else:
            states = [line.state for line in listed.jobs]
            # dict.fromkeys keeps the order in which the list has the states.
            counted = {state: states.count(state) for state in dict.fromkeys(states)}
            words = ", ".join(f"{number} {state}" for state, number in counted.items())
            text.append(f"  {words}")
            text.append(_speed(listed.jobs), "dim")
        return text

    # Keys

    def action_open(self) -> None:
        """Open the job under the cursor; of a host, show its jobs alone."""
        if self.query_one("#all-hosts").has_focus:
            self._show_jobs_of(self.query_one("#all-hosts", Listing).key or "")
            return
        line = self._selected("this job cannot be opened yet")
        if line is not None:
            self._on_open(line.key)

    def _show_jobs_of(self, place: str) -> None:
        """Show the jobs of a host or pool alone: its name becomes the filter."""
        if not any(each.name == place and each.jobs for each in _places(self._listed or Listed())):
            self.app.notify(f"no job uses {clean(place)} now", severity="warning")
            return
        self._set_filter(place)
        self.query_one("#jobs").focus()

    def _selected(self, why_not: str) -> JobLine | None:
        """Return the job under the cursor; None, after a message, if nothing can be done with it."""
        key = self.query_one("#jobs", Listing).key
        jobs = (self._listed or Listed()).jobs
        # A line without a key cannot be opened or changed.
        line = next((line for line in jobs if line.key and line.key == key), None)
        if line is None and key is not None:
            self.app.notify(why_not, severity="warning")
        return line

    def action_hold(self) -> None:
        """Hold the job under the cursor, or release it if it is held."""
        line = self._selected("this job cannot be held yet")
        if line is not None:
            # The same key for both, as in the dashboard of a job.
            self._change(line, Operation.RELEASE if line.state == "held" else Operation.HOLD)

    def action_cancel_job(self) -> None:
        """Cancel the job under the cursor, after a confirmation."""
        line = self._selected("this job cannot be cancelled yet")
        if line is not None and line.state in ("done", "cancelled"):
            self.app.notify(f"{clean(line.name)} is {line.state} already", severity="warning")
            return

        def answered(is_confirmed: bool | None) -> None:
            if is_confirmed and line is not None:
                self._change(line, Operation.CANCEL)

        if line is not None:
            question = f"Cancel the job {clean(line.name)}? Finished pages stay."
            self.app.push_screen(Confirmation(question), answered)

    def _change(self, line: JobLine, op: Operation) -> None:
        """Change a job in a thread, and show what was done: the folder may be slow."""

        def work() -> None:
            name, severity = clean(line.name), _FINE
            try:
                no_need = self._jobs.change(line.key, op)
                words = f"{name} {no_need}" if no_need else f"{name}: {_DONE[op]}"
            except Exception as error:  # noqa: BLE001 - the list continues whatever becomes of one job
                words, severity = f"{op} {name} failed: {clean(str(error))}", _FAILED
            self.app.call_from_thread(self.app.notify, words, severity=severity)
            # Read at once, so that the change is seen.
            self._read_now()

        self.run_worker(work, thread=True, group="request", exit_on_error=False)

    def action_other(self) -> None:
        """Go from the jobs to the hosts, or back."""
        hosts = self.query_one("#all-hosts")
        # A list of hosts that is empty is not shown and cannot have the focus.
        (self.query_one("#jobs") if hosts.has_focus or not hosts.display else hosts).focus()

    def action_search(self) -> None:
        """Show only the jobs and hosts that contain a text."""

        def answered(text: str | None) -> None:
            if text is not None:
                self._set_filter(text)

        self.app.push_screen(
            Question("show only:", "a part of a name, a state, an owner or a host"), answered
        )

    def _set_filter(self, text: str) -> None:
        self._filter = text
        self._show()

    def action_back(self) -> None:
        """Remove the filter, or go back to the job."""
        if self._filter:
            self._set_filter("")
        elif self._has_job:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Leave the program. The jobs continue."""
        self.app.exit()


def _places(listed: Listed) -> list[HostLine | PoolLine]:
    return [*listed.hosts, *listed.pools]


def _matches(text: str, *places: str) -> bool:
    return not text or any(text in place.lower() for place in places)


def _job(line: JobLine, number: int, styles: Styles) -> Row:
    # In the order of the columns of a job: suspect, failed.
    counts = ((SUSPECT, line.suspect), (FAILED, line.failed))
    problems = [f"{styles.page(state)[0]} {pages}" for state, pages in counts if pages]
    style = Style.parse(_STATES.get(line.state, ""))
    cells = (
        clean(line.name),
        line.state,
        f"{line.done + line.suspect}/{line.total}" if line.total else "",
        " ".join(problems),
        str(line.hosts or ""),
        _pages_per(line.speed),
        "" if line.left is None else duration(line.left),
        clean(line.owner),
        clean(line.note or _waits(line)),
    )
    problem_style = Style.parse("bold red" if line.failed else "yellow")
    # A job without a key gets one, because the cursor follows keys.
    return Row(line.key or f"#{number}", cells, (None, style, None, problem_style))


def _waits(line: JobLine) -> str:
    return ": ".join(filter(None, (line.waits, queuewords.remedy(line.waits))))


def _pool(pool: PoolLine) -> Row:
    cells = (
        f"pool {clean(pool.name)}",
        "waiting" if pool.waiting and not pool.running else "",
        "",
        "",
        clean(", ".join(pool.jobs)),
        # Without its name, which is in the first column.
        queue_in_words({**asdict(pool), "pool": ""}).partition(": ")[2],
    )
    return Row(pool.name, cells)


def _host(host: HostLine, styles: Styles) -> Row:
    symbol, style = styles.host(host.state or "unknown")
    cells = (
        clean(host.name),
        f"{symbol} {word(host.state, is_working=host.running > 0) if host.state else 'not in use'}",
        f"{host.running}/{host.slots}" if host.slots else "",
        "" if host.others is None else f"{host.others:.2f}",
        clean(", ".join(host.jobs)),
        clean(host.reason),
    )
    return Row(host.name, cells, (None, style))


def _pages_per(speed: float | None) -> str:
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min"


def _speed(jobs: Sequence[JobLine]) -> str:
    speeds = [line.speed for line in jobs if line.speed]
    return f", {sum(speeds):.1f} pages/s on {count(len(speeds), 'job')}" if speeds else ""
