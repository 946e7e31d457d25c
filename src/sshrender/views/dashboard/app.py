"""The dashboard application: reads new journal entries twice a second and shows them.

Everything that may block (the shared folder, page images) runs in threads. When the shared folder hangs,
the dashboard keeps working and the headline shows it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from sshrender.job.journalentries import JournalEntry
from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import details, headline, tables, terminalgraphics
from sshrender.views.dashboard.dialogs import HelpScreen, Question
from sshrender.views.dashboard.pageimages import PageImages
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.rowlist import Listing, Row
from sshrender.views.dashboard.source import JobView, Owner
from sshrender.views.dashboard.styles import Styles, of_terminal
from sshrender.views.jobmodel import DONE, FAILED, LOG_LENGTH, SUSPECT, JobModel
from sshrender.views.text import clean

REDRAW = 0.5
"""Seconds: two redraws a second look live and load a slow link little."""

HANG_TIMEOUT = 5.0
"""Seconds without an answer from the shared folder until the headline shows that."""

LOG_SHOWN = 500
"""Lines that the log pane shows; ``why`` and a filter find older ones."""

_MIN_WIDTH_FOR_IMAGE, _MIN_HEIGHT_FOR_IMAGE = 50, 8
"""Columns of the terminal and lines of the details that a thumbnail needs."""

_PANES = {"pages": "pages", "hosts": "hosts", "attempts": "in work", "log": "log"}
"""Panes by id, with their titles, in the order of their keys."""


class Dashboard(PageImages):
    """Shows the job that its owner gives it."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "sshrender"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual has it so
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-high")]  # noqa: RUF012
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "Leave"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("1", "pane('pages')", "Pages"),
        Binding("2", "pane('hosts')", "Hosts"),
        Binding("3", "pane('attempts')", "In work"),
        Binding("4", "pane('log')", "Log"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("n", "problem(1)", "Next problem"),
        Binding("N", "problem(-1)", "Previous problem", show=False),
        Binding("enter", "open", "Open", show=False),
        Binding("h", "hold", "Hold"),
        Binding("x", "cancel_job", "Cancel job", show=False),
        Binding("d", "drain", "Drain host", show=False),
        Binding("u", "undrain", "Undrain host", show=False),
        Binding("t", "retry", "Retry page", show=False),
        Binding("s", "sort", "Sort hosts", show=False),
        Binding("r", "reverse", "Reverse sort", show=False),
        Binding("c", "ssh", "Copy ssh command", show=False),
        Binding("escape", "clear", "Clear filters", show=False),
        Binding("ctrl+c", "interrupt", "Stop", show=False, priority=True),
    ]

    def __init__(
        self,
        owner: Owner,
        waiting_for: str,
        *,
        styles: Styles | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)  # here, because NO_COLOR is read here
        self.theme = "ansi-dark"  # the terminal's own colours, light or dark, all sixteen of them
        self.animation_level = "none"
        self._owner = owner
        self._waiting_for = waiting_for
        self._styles = styles or of_terminal()
        self._clock = clock
        self._source: JobView | None = None
        self._model = JobModel(())
        self._coordinator = ""
        self._skew = 0.0
        self._is_reading = False
        self._read_started = self._read_ended = 0.0
        self._problem = ""
        self._pane_filters = dict.fromkeys(_PANES, "")
        self._sort, self._is_reversed = "state", False
        self._pane = "pages"
        self._subject: tuple[str, str] = ("page", "")
        self._log_lines: deque[Row] = deque(maxlen=LOG_LENGTH)
        self._logged = 0
        self._shown_values: dict[str, object] = {}
        self._defects: list[Exception] = []

    # Layout

    def compose(self) -> ComposeResult:
        """Yield headline, panes, details and keys, from top to bottom."""
        yield Static(id="headline")
        with Container(id="panes"):
            yield PageMap(self._styles, id="pages")
            yield Listing(tables.HOSTS, id="hosts")
            yield Listing(tables.ATTEMPTS, id="attempts")
            yield Listing(tables.LOG, follows=True, id="log")
        with Horizontal(id="details"):
            with VerticalScroll(id="words", can_focus=False):
                yield Static(id="subject")
            yield Container(id="thumbnail")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Set the titles and start the timer."""
        for pane, title in _PANES.items():
            self.query_one(f"#{pane}").border_title = title
        self._mark_sorted()
        self.action_pane("pages")
        self.set_interval(REDRAW, self._tick)
        self._tick()

    @property
    def now(self) -> float:
        """The current time by the coordinator's clock, as estimated from its entries."""
        return self._clock() + self._skew

    # Twice a second

    def _tick(self) -> None:
        if not self.query("#log"):
            return  # the dashboard closes: Textual removes the widgets before the timer
        source = self._owner.job()
        if source is not None and source is not self._source:
            self._open_job(source)
        if self._source is None or self._is_reading:
            self._update()
        else:
            self._is_reading = True
            self._read_started = time.monotonic()
            self._in_thread(self._read)
        if self._owner.is_over():
            self.exit()

    def _open_job(self, source: JobView) -> None:
        self._source = source
        self._model = JobModel(source.facts.pages)
        self._skew = 0.0
        self._read_ended = 0.0
        self._log_lines.clear()
        self._logged = 0
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
        self._is_reading = False
        if source is not self._source:
            return  # another job was opened meanwhile
        self._problem = ""
        for entry in entries:
            self._model.take(entry)
        # The first reading has old entries: only later ones show how the clocks differ.
        if entries and self._read_ended and holder:
            self._skew = self._model.now - self._clock()
        self._read_ended = time.monotonic()
        self._coordinator = holder
        self.refresh_bindings()
        self._update()

    def _page_state(self, page: int) -> str:
        return self._model.pages[page].state

    # Output: only what has changed since the last time

    def _update(self) -> None:
        with self.batch_update():
            self._update_headline()
            if self._source is None:
                return
            if self._model.changed:
                self._map.update_pages(self._model.changed)
                self._model.changed.clear()
            self._update_lists()
            self._update_details()

    def _update_headline(self) -> None:
        width = max(20, self.size.width)
        if self._source is None:
            words = [Text(f"opening {clean(self._waiting_for)} …", "bold")]
        else:
            words = headline.lines(
                self._source.facts, self._model, self._coordinator, self.now, width, self._styles
            )
        paused = self._model.paused if self._coordinator else ""
        problem = self._problem or self._storage_hang() or clean(paused)
        if problem:
            words[-1] = Text(problem, "bold red reverse")
        self._show("#headline", Text("\n").join(words))

    def _storage_hang(self) -> str:
        if self._is_reading and time.monotonic() - self._read_started > HANG_TIMEOUT:
            return (
                f"the shared folder has not answered for {time.monotonic() - self._read_started:.0f} s"
            )
        return ""

    def _update_lists(self) -> None:
        filters = self._pane_filters
        rows = tables.hosts(self._model, self._styles, self._sort, self._is_reversed, filters["hosts"])
        self._listing("hosts").show(rows)
        if self._is_shown("attempts"):
            self._listing("attempts").show(
                tables.attempts(self._model, self._styles, self.now, filters["attempts"])
            )
        if self._is_shown("log") and self._has_changed("log", (self._model.logged, filters["log"])):
            self._listing("log").show(self._log_rows(filters["log"]))

    def _log_rows(self, text: str) -> list[Row]:
        """Return the latest lines of the log, or all that contain ``text``; format each entry once."""
        model = self._model
        new = min(model.logged - self._logged, len(model.log))
        first = len(model.log) - new
        for number, entry in enumerate(islice(model.log, first, None), model.logged - new):
            row = tables.log_row(number, entry)
            if row is not None:
                self._log_lines.append(row)
        self._logged = model.logged
        if text:
            return tables.log(self._log_lines, text)
        return list(islice(self._log_lines, max(0, len(self._log_lines) - LOG_SHOWN), None))

    def _is_shown(self, pane: str) -> bool:
        return self.query_one(f"#{pane}").display and self.query_one(f"#{pane}").size.height > 0

    def _update_details(self) -> None:
        kind, name = self._subject
        if kind == "host" and name in self._model.hosts:
            command = self._source.ssh_command(name) if self._source is not None else ""
            words = details.of_host(self._model.hosts[name], command, self._styles)
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
            self.query_one("#details").size.height >= 8 and self.size.width >= _MIN_WIDTH_FOR_IMAGE
        )
        if self._subject[0] == "page" and page is not None and has_room:
            file = self._model.pages[page].file
        self._want_thumbnail(file)

    def _show(self, selector: str, words: Text) -> None:
        """Set a text if it has changed: Static would redraw an unchanged one, too."""
        if self._has_changed(selector, words.markup):
            shown = harmless_text(words)
            self.query_one(selector, Static).update(shown, layout=selector == "#subject")

    def _has_changed(self, what: str, value: object) -> bool:
        if self._shown_values.get(what) == value:
            return False
        self._shown_values[what] = value
        return True

    # Navigation

    def action_pane(self, pane: str) -> None:
        """Select a pane. A small terminal shows only the selected one."""
        self.screen.set_class(True, "-any")
        for each in _PANES:
            self.query_one(f"#{each}").set_class(each == pane, "-chosen")
        self.query_one(f"#{pane}").focus()
        self.call_after_refresh(self._update)

    def on_descendant_focus(self) -> None:
        """Follow the focus, which Tab or the mouse has moved."""
        pane = self.focused.id if self.focused is not None else None
        if pane not in _PANES:
            return  # a dialog has the focus
        self._pane = pane
        for each in _PANES:
            self.query_one(f"#{each}").set_class(each == pane, "-chosen")
        if pane == "pages":
            self._subject = ("page", "")
        elif pane == "hosts":
            self._subject = ("host", self._listing("hosts").key or "")
        if self._source is not None:
            self._update_details()

    def on_page_map_moved(self, _event: PageMap.Moved) -> None:
        """Show the page that is now under the cursor."""
        self._subject = ("page", "")
        self._update_details()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Show the host or page of the row that is now under the cursor."""
        if event.listing.id == "hosts" and self._pane == "hosts":
            self._subject = ("host", event.key)
        elif event.listing.id == "attempts" and self._pane == "attempts":
            self._go_to_attempt(event.key)
        self._update_details()

    def _go_to_attempt(self, attempt: str) -> None:
        for host in self._model.hosts.values():
            if attempt in host.flights:
                self._map.go_to(host.flights[attempt].page)

    def on_listing_titled(self, event: Listing.Titled) -> None:
        """Sort the hosts by the title that was clicked; a second click reverses."""
        title = tables.HOSTS[event.column].title
        if event.listing.id == "hosts" and title in tables.SORTS:
            self._is_reversed = not self._is_reversed if title == self._sort else False
            self._sort_by(title)

    def action_sort(self) -> None:
        """Sort the hosts by the next column."""
        self._sort_by(tables.SORTS[(tables.SORTS.index(self._sort) + 1) % len(tables.SORTS)])

    def action_reverse(self) -> None:
        """Reverse the order of the hosts."""
        self._is_reversed = not self._is_reversed
        self._sort_by(self._sort)

    def _sort_by(self, title: str) -> None:
        self._sort = title
        self._mark_sorted()
        self._update()

    def _mark_sorted(self) -> None:
        listing = self._listing("hosts")
        listing.sorted_by, listing.sort_mark = self._sort, self._styles.sort_marks[self._is_reversed]
        listing.refresh()

    def action_problem(self, step: int) -> None:
        """Go to the next page that failed, is suspect or is a straggler."""
        slow = {drawing.flight.page for drawing in self._model.drawings(self.now) if drawing.straggles}

        def is_problem(page: int) -> bool:
            return self._page_state(page) in (FAILED, SUSPECT) or page in slow

        if self._map.find(is_problem, step):
            self.action_pane("pages")
        else:
            self.notify("no page has failed, is suspect or takes much longer than usual")

    def action_search(self) -> None:
        """Go to a page by number, or filter a list by text."""
        pane = self._pane
        words = "go to page:" if pane == "pages" else f"filter {_PANES[pane]}:"

        def answered(text: str | None) -> None:
            if text is None:
                return
            if pane != "pages":
                self._pane_filters[pane] = text
                self._shown_values.pop(pane, None)
                self._update_title(pane)
                self._update()
            elif not (text.isdecimal() and self._map.go_to(int(text))):
                self.notify(f"the job has no page {text}", severity="warning")

        self.push_screen(Question(words, self._pane_filters[pane]), answered)

    def _update_title(self, pane: str) -> None:
        text = self._pane_filters[pane]
        self.query_one(f"#{pane}").border_title = _PANES[pane] + (f": {text}" if text else "")

    def action_clear(self) -> None:
        """Remove the filters of all lists."""
        for pane in list(_PANES)[1:]:
            self._pane_filters[pane] = ""
            self._shown_values.pop(pane, None)
            self._update_title(pane)
        self._update()

    def action_open(self) -> None:
        """Show the page's image, the log of the selected host, or the page of the selected attempt."""
        if self._pane == "hosts":
            self._pane_filters["log"] = self._listing("hosts").key or ""
            self._update_title("log")
            self.action_pane("log")
        elif self._pane == "attempts":
            self.action_pane("pages")
        elif self._pane == "pages" and self._map.page is not None and self._source is not None:
            self._in_thread(partial(self._enlarge, self._map.page))

    def action_help(self) -> None:
        """Show keys, columns and symbols."""
        symbols = Text()
        for state in ("waiting", "sent", DONE, SUSPECT, FAILED, "straggler"):
            symbol, style = self._styles.page(state)
            symbols.append(f"{symbol} {state}  ", style)
        self.push_screen(HelpScreen(symbols))

    # Leaving

    def action_leave(self) -> None:
        """Leave the dashboard. The job continues."""
        self.exit()

    def action_interrupt(self) -> None:
        """Handle Ctrl-C: the owner decides whether it stops the job or closes the dashboard."""
        words = self._owner.interrupt()
        if words:
            self.notify(words, severity="warning", timeout=30)
        else:
            self.exit()

    def _handle_exception(self, error: Exception) -> None:
        """End the dashboard and keep the error for the caller: no traceback on the terminal."""
        self._defects.append(error)
        self.exit(return_code=1)

    def run_to_the_end(self) -> None:
        """Run until the user leaves or the job has ended. Raises the error that ended the dashboard."""
        for name in ("COLUMNS", "LINES"):  # Textual would use them instead of the real size
            os.environ.pop(name, None)
        terminalgraphics.prepare()
        self.run()
        if self._defects:
            raise self._defects[0]

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the entries of the command palette: every key binding by name, and Textual's own."""
        for binding in self.BINDINGS:
            assert isinstance(binding, Binding)
            name = binding.description
            yield SystemCommand(name, f"key {binding.key_display or binding.key}", self._runner(binding))
        yield from super().get_system_commands(screen)

    def _runner(self, binding: Binding) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, binding.action)

        return run
