"""The dashboard application: reads new journal entries twice a second and shows them.

Everything that may block (the shared folder, page images) runs in threads. When the shared folder hangs,
the dashboard keeps working and the headline shows it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.containers import Container, Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from sshrender.job.journal.journalentries import JournalEntry, RequestHandled
from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import details, headline, tables, terminalgraphics
from sshrender.views.dashboard.jobscreen import JobScreen
from sshrender.views.dashboard.keyline import KeyLine, PaneTabs
from sshrender.views.dashboard.logrows import LogRows
from sshrender.views.dashboard.navigation import Navigation
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.palette import DashboardCommands
from sshrender.views.dashboard.rowlist import Listing
from sshrender.views.dashboard.source import JobList, JobView, Owner
from sshrender.views.dashboard.styles import Styles, of_terminal
from sshrender.views.jobmodel import JobModel
from sshrender.views.text import clean

REDRAW = 0.5
"""Seconds: two redraws a second look live and load a slow link little."""

_MIN_WIDTH_FOR_IMAGE, _MIN_HEIGHT_FOR_IMAGE = 50, 8
"""Columns of the terminal and lines of the details that a thumbnail needs."""

_MANY_ENTRIES = 500
"""Entries in one reading that mean that more of the journal is left to read: a block of it has 1 MiB."""

_DETAILS_HEIGHT = 12
"""Lines of the details if all panes are shown side by side."""


class _PaneScreen(Screen[None]):
    """The dashboard's own screen. Tab selects the next pane, also one that is not shown yet."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.next_pane(1)", show=False),
        Binding("shift+tab", "app.next_pane(-1)", show=False),
    ]


class Dashboard(Navigation):
    """Shows the job that its owner gives it."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "sshrender"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual has it so
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (20, "-low"), (34, "-high")]  # noqa: RUF012 - as above
    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {DashboardCommands}
    # The command palette lists them in this order: what only shows something comes first.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "pane('pages')", "Go to the pages"),
        Binding("2", "pane('hosts')", "Go to the hosts"),
        Binding("3", "pane('attempts')", "Go to the attempts in work"),
        Binding("4", "pane('log')", "Go to the log"),
        Binding("n", "problem(1)", "Next problem"),
        Binding("N", "problem(-1)", "Previous problem"),
        Binding("enter", "open", "Open what is under the cursor", key_display="Enter"),
        Binding("slash", "search", "Find a page, or filter a list", key_display="/"),
        Binding("l", "log_mode", "Log: problems first, problems alone, everything"),
        Binding("escape", "clear", "Clear filters", key_display="Esc"),
        Binding("s", "sort", "Sort hosts by the next column"),
        Binding("r", "reverse", "Reverse the order of hosts"),
        Binding("c", "ssh", "Copy the ssh command of the host"),
        Binding("o", "jobs", "All jobs or documents"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "leave", "Leave; the job continues"),
        Binding("h", "hold", "Hold or release the job"),
        Binding("u", "undrain", "Undrain the host"),
        Binding("t", "retry", "Retry the failed page"),
        Binding("d", "drain", "Drain the host"),
        Binding("x", "cancel_job", "Cancel the job"),
        Binding("ctrl+c", "interrupt", "Stop", priority=True, key_display="Ctrl-C"),
    ]

    def __init__(
        self,
        owner: Owner,
        waiting_for: str,
        *,
        styles: Styles | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(styles or of_terminal())
        self.theme = "ansi-dark"  # the terminal's own colours, light or dark, all sixteen of them
        self.animation_level = "none"
        self._owner = owner
        self._waiting_for = waiting_for
        self._clock = clock
        self._source: JobView | None = None
        self._chosen: JobView | None = None
        # An empty model, so that every method works before a job is open.
        self._model = JobModel(())
        self._coordinator = ""
        # The difference to the coordinator's clock, in seconds.
        self._skew = 0.0
        # Set and cleared by this thread alone, so no two readings overlap.
        self._is_reading = False
        # Whether a part of the journal has not been read yet.
        self._is_behind = True
        self._opened = time.monotonic()
        self._read_started = self._read_ended = 0.0
        self._problem = ""
        # By widget, what is on it: an unchanged text is not set again.
        self._shown_values: dict[str, object] = {}
        self._defects: list[Exception] = []

    def get_default_screen(self) -> Screen[None]:
        """Return the screen below all dialogs."""
        return _PaneScreen(id="_default")

    # Layout

    def compose(self) -> ComposeResult:
        """Yield headline, panes, details and keys, from top to bottom."""
        yield Static(id="headline")
        yield PaneTabs(id="tabs")
        with Container(id="panes"):
            yield PageMap(self._styles, id="pages")
            yield Listing(tables.HOSTS, id="hosts")
            yield Listing(tables.ATTEMPTS, id="attempts")
            yield Listing(tables.LOG, follows=True, id="log")
            with Horizontal(id="details"):
                with VerticalScroll(id="words", can_focus=False):
                    yield Static(id="subject")
                yield Container(id="thumbnail")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Set the titles and start the timer."""
        self.screen.set_class(self._styles.is_ascii, "-plain")
        self._mark_sorted()
        self.action_pane("pages")
        self._update_titles()
        self.set_interval(REDRAW, self._tick)
        self._tick()
        jobs = self._owner.jobs()
        if jobs is not None and jobs.is_first:
            self.action_jobs()

    @property
    def now(self) -> float:
        """The current time by the coordinator's clock, as estimated from its entries."""
        return self._clock() + self._skew

    # Twice a second

    def _tick(self) -> None:
        if not self.query("#log"):
            return  # the dashboard closes: Textual removes the widgets before the timer
        # The job that the user chose from a list overrides the owner's.
        source = self._chosen or self._owner.job()
        if source is not None and source is not self._source:
            self._open_job(source)
        # A reading that hangs leaves the rest of the dashboard alive.
        if self._source is None or self._is_reading:
            self._update()
        else:
            self._is_reading = True
            self._read_started = time.monotonic()
            self._in_thread(self._read)
        # After the update, so that the last state was on the screen.
        if self._owner.is_over():
            self.exit()

    def _open_job(self, source: JobView) -> None:
        self._source = source
        # A new model: nothing of the job before must be seen.
        self._model = JobModel(source.facts.pages)
        self._skew = 0.0
        self._read_ended = 0.0
        self._is_behind = True
        self._log_rows = LogRows()
        self._shown_values.clear()
        self._map.show(source.facts.pages, self._page_state)
        self._subject = ("page", "")

    def _read(self) -> None:
        """Read new entries. Runs in a thread."""
        source = self._source
        assert source is not None
        try:
            entries, holder = source.entries(), source.coordinator()
        except Exception as error:  # noqa: BLE001 - other programs can write into the folder
            why = getattr(error, "strerror", None) or error or type(error).__name__
            self.call_from_thread(self._reading_failed, str(why))
            return
        self.call_from_thread(self._take, source, entries, holder)

    def _reading_failed(self, reason: str) -> None:
        self._is_reading = False
        self._problem = f"cannot read the job: {clean(reason)}"
        self._update()

    def _take(self, source: JobView, entries: list[JournalEntry], holder: str) -> None:
        # Cleared before the test: a late answer for another job must not block the next reading.
        self._is_reading = False
        if source is not self._source:
            return  # another job was opened meanwhile
        self._problem = ""
        for entry in entries:
            self._model.take(entry)
            # Entries from before the dashboard was opened are history.
            # _read_ended is 0 until the first reading has been taken.
            if isinstance(entry, RequestHandled) and self._read_ended:
                self._report_request(entry)
        # The first reading has old entries: only later ones show how the clocks differ.
        if entries and self._read_ended and holder:
            self._skew = self._model.now - self._clock()
        # Only now: entries of the first reading are old.
        self._read_ended = time.monotonic()
        self._coordinator = holder
        self.refresh_bindings()
        self._is_behind = len(entries) >= _MANY_ENTRIES
        self._update()
        # At once and not after half a second: the journal of a long job has many blocks.
        if self._is_behind:  # a block of a long journal was read, not all of it
            self.call_later(self._tick)

    # Output: only what has changed since the last time

    def _update(self) -> None:
        # One repaint for all changes.
        with self.batch_update():
            self._update_headline()
            if self._source is None:
                return
            # Only rows of changed pages are repainted.
            if self._model.changed:
                self._map.update_pages(self._model.changed)
                self._model.changed.clear()
            self._update_lists()
            self._update_details()
            self._update_keys()

    def _update_headline(self) -> None:
        width = max(20, self.size.width)
        # The owner knows nothing of a job that was chosen from a list.
        self._model.told_pause = None if self._chosen else self._owner.pause()
        if self._source is None:
            words = headline.opening(
                self._waiting_for, self._owner.doing(), time.monotonic() - self._opened
            )
        else:
            words = headline.lines(
                self._source.facts, self._model, self._coordinator, self.now, width, self._styles
            )
        # A pause without a coordinator is history.
        paused = self._model.paused if self._coordinator else ""
        if self._source is not None and self._is_behind:
            # The last line is replaced, so the headline keeps its height.
            words[-1] = Text(f"reading the journal: {self._model.logged:,} events so far …", "bold")
        problem = self._problem or self._storage_hang() or clean(paused)
        if problem:
            words[-1] = Text(problem, "bold red reverse")
        if self._has_changed("headline", len(words)):
            self.query_one("#headline").styles.height = len(words)
        self._show("#headline", Text("\n").join(words))

    def _storage_hang(self) -> str:
        return headline.no_answer(time.monotonic() - self._read_started) if self._is_reading else ""

    def _update_lists(self) -> None:
        filters = self._pane_filters
        rows = tables.hosts(self._model, self._styles, self._sort, self._is_reversed, filters["hosts"])
        self._arrange(len(rows))
        self._listing("hosts").show(rows)
        # A pane that is not shown is not formatted.
        if self._is_shown("attempts"):
            self._listing("attempts").show(
                tables.attempts(self._model, self._styles, self.now, filters["attempts"])
            )
        if self._is_shown("log"):
            self._update_log(filters["log"])

    def _update_log(self, text: str) -> None:
        listing, model = self._listing("log"), self._model
        # Formatting thousands of entries twice a second would be felt.
        if self._has_changed("log", (model.logged, text, self._log_mode, listing.size.height)):
            self._log_rows.take(model)
            pinned = self._log_rows.pinned(self._log_mode, text, listing.size.height)
            listing.show(self._log_rows.rows(self._log_mode, text), pinned)

    def _arrange(self, hosts: int) -> None:
        """If all panes are shown, give hosts and attempts the lines they need, and the log the rest.

        The details are below the pages there.
        """
        panes = self.query_one("#panes")
        below = self.screen_stack[0]
        if not (below.has_class("-wide") and below.has_class("-high")):
            return
        slots = sum(host.slots for host in self._model.hosts.values())
        frame, room = 3, panes.size.height  # a border above and below, and the titles
        # At most two fifths of the height, so that the log stays readable.
        lines = min(max(hosts, 2) + frame, room * 2 // 5)
        attempts = min(max(slots, 2) + frame, room // 4)
        if self._has_changed("rows", (lines, attempts)):
            panes.styles.grid_rows = f"{lines} {attempts} 1fr {_DETAILS_HEIGHT}"

    def _is_shown(self, pane: str) -> bool:
        return self.query_one(f"#{pane}").display and self.query_one(f"#{pane}").size.height > 0

    def _update_details(self) -> None:
        kind, name = self._subject
        entry = self._log_rows.entry(name) if kind == "entry" else None
        if kind == "host" and name in self._model.hosts:
            command = self._source.ssh_command(name) if self._source is not None else ""
            words = details.of_host(
                self._model.hosts[name], command, self._styles, self._model.waits.write
            )
        elif entry is not None:
            words = details.of_entry(entry)
        else:
            page = self._map.page
            if page is None:
                return
            words = details.of_page(self._model.pages[page], self.now, self._styles)
        self._show("#subject", words)
        self._update_thumbnail()

    def _update_thumbnail(self) -> None:
        file = ""
        page = self._map.page
        has_room = (
            self.query_one("#details").size.height >= _MIN_HEIGHT_FOR_IMAGE
            and self.size.width >= _MIN_WIDTH_FOR_IMAGE
        )
        if self._subject[0] == "page" and page is not None and has_room:
            file = self._model.pages[page].file
        # Empty: the thumbnail of the page before is removed.
        self._want_thumbnail(file)

    def _show(self, selector: str, words: Text) -> None:
        """Set a text if it has changed: Static would redraw an unchanged one, too."""
        # Markup and not plain text: a colour may be all that changes.
        if self._has_changed(selector, words.markup):
            shown = harmless_text(words)
            self.query_one(selector, Static).update(shown, layout=selector == "#subject")

    def _has_changed(self, what: str, value: object) -> bool:
        if self._shown_values.get(what) == value:
            return False
        self._shown_values[what] = value
        return True

    # Several jobs

    def _has_jobs(self) -> bool:
        return self._owner.jobs() is not None

    def action_jobs(self) -> None:
        """Show all jobs, or all documents of the command, to choose another one."""
        jobs = self._owner.jobs()
        if jobs is None:
            self.notify("this command has one job; sshrender watch shows all of them")
        elif not isinstance(self.screen, JobScreen):
            has_job = self._source is not None
            self.push_screen(JobScreen(jobs, self._styles, partial(self._choose, jobs), has_job=has_job))

    def _choose(self, jobs: JobList, key: str) -> None:
        # Opening reads the shared folder.
        self._in_thread(partial(self._open_chosen, jobs, key))

    def _open_chosen(self, jobs: JobList, key: str) -> None:
        """Open a job of the list. Runs in a thread."""
        try:
            chosen = jobs.open(key)
        except Exception as error:  # noqa: BLE001 - other programs can write into the folder
            why = getattr(error, "strerror", None) or error or type(error).__name__
            self.call_from_thread(self.notify, f"cannot open the job: {why}", severity="error")
            return
        self.call_from_thread(self._show_chosen, chosen)

    def _show_chosen(self, chosen: JobView) -> None:
        self._chosen = chosen
        # The list is left only when the job is there, so after an error another one can be chosen.
        if isinstance(self.screen, JobScreen):
            self.pop_screen()
        self.action_pane("pages")
        self._tick()

    # Leaving

    def action_leave(self) -> None:
        """Leave the dashboard. The job continues."""
        self.exit()

    def action_interrupt(self) -> None:
        """Handle Ctrl-C: the owner decides whether it stops the job or closes the dashboard."""
        words = self._owner.interrupt()
        if words:
            # Half a minute: the notice must be read before Ctrl-C is pressed again.
            self.notify(words, severity="warning", timeout=30)
        else:
            self.exit()

    def _handle_exception(self, error: Exception) -> None:
        """End the dashboard and keep the error for the caller: no traceback on the terminal."""
        self._defects.append(error)
        self.exit(return_code=1)

    def run_to_the_end(self) -> None:
        """Run until the user leaves or the job has ended. Raises the error that ended the dashboard."""
        # They are those of the shell that started the program, and do not follow the window.
        for name in ("COLUMNS", "LINES"):  # Textual would use them instead of the real size
            os.environ.pop(name, None)
        # Before Textual reads the keys, because answers of the terminal come like keys.
        terminalgraphics.prepare()
        self.run()
        if self._defects:
            raise self._defects[0]
