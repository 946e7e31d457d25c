"""The dashboard itself: reads what is new twice a second, shows it, asks for what it is told to ask for.

Everything that may block (the SAN, a picture) happens in threads; a SAN that hangs leaves the dashboard
standing, and it says so.
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

from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import details, headline, tables, terminalgraphics
from sshrender.views.dashboard.dialogs import HelpScreen, Question
from sshrender.views.dashboard.pageimages import PageImages
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.rowlist import Listing, Row
from sshrender.views.dashboard.source import JobView, Owner
from sshrender.views.dashboard.styles import Styles, of_terminal
from sshrender.views.jobmodel import DONE, FAILED, LOG_LENGTH, SUSPECT, JobModel
from sshrender.views.protocol import Entry
from sshrender.views.text import clean

REDRAW = 0.5
"""Seconds: two redraws a second are enough for the eye and little for a slow link."""

HANG_TIMEOUT = 5.0
"""Seconds without an answer from the SAN until the dashboard says so."""

LOG_SHOWN = 500
"""Entries that are looked through for the log: what is older is in the journal."""

_ROOM_FOR_A_PICTURE = 50
_PANES = ("pages", "hosts", "flights", "log")


class Dashboard(PageImages):
    """Shows the job of its owner."""

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
        Binding("3", "pane('flights')", "Drawn now"),
        Binding("4", "pane('log')", "Log"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("n", "trouble(1)", "Next trouble"),
        Binding("N", "trouble(-1)", "Previous trouble", show=False),
        Binding("enter", "look", "Look", show=False),
        Binding("h", "hold", "Hold"),
        Binding("x", "cancel_job", "Cancel", show=False),
        Binding("d", "drain", "Drain", show=False),
        Binding("u", "undrain", "Undrain", show=False),
        Binding("t", "retry", "Try again", show=False),
        Binding("s", "sort", "Sort", show=False),
        Binding("r", "reverse", "Reverse", show=False),
        Binding("c", "ssh", "ssh", show=False),
        Binding("escape", "clear", "Clear", show=False),
        Binding("ctrl+c", "interrupt", "Stop", show=False, priority=True),
    ]

    def __init__(
        self,
        owner: Owner,
        waiting_for: str,
        *,
        looks: Styles | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)  # from the start: what NO_COLOR does is decided here
        self.theme = "ansi-dark"  # the terminal's own colours, light or dark, all sixteen of them
        self.animation_level = "none"
        self._owner = owner
        self._waiting_for = waiting_for
        self._looks = looks or of_terminal()
        self._clock = clock
        self._source: JobView | None = None
        self._fold = JobModel(())
        self._coordinator = ""
        self._skew = 0.0
        self._is_reading = False
        self._asked_at = self._answered_at = 0.0
        self._trouble = ""
        self._wanted = dict.fromkeys(_PANES, "")
        self._sort, self._is_reversed = "state", False
        self._pane = "pages"
        self._subject: tuple[str, str] = ("page", "")
        self._told_log: deque[Row] = deque(maxlen=LOG_LENGTH)
        self._told_of = 0
        self._told: dict[str, object] = {}
        self._defects: list[Exception] = []

    # What is where

    def compose(self) -> ComposeResult:
        """Headline, panes, details, keys."""
        yield Static(id="headline")
        with Container(id="panes"):
            yield PageMap(self._looks, id="pages")
            yield Listing(tables.HOSTS, id="hosts")
            yield Listing(tables.FLIGHTS, id="flights")
            yield Listing(tables.LOG, follows=True, id="log")
        with Horizontal(id="details"):
            with VerticalScroll(id="words", can_focus=False):
                yield Static(id="subject")
            yield Container(id="thumbnail")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to look."""
        for pane, title in zip(_PANES, ("pages", "hosts", "being drawn", "log"), strict=True):
            self.query_one(f"#{pane}").border_title = title
        self._listing("hosts").sorted_by = self._sort
        self.action_pane("pages")
        self.set_interval(REDRAW, self._tick)
        self._tick()

    @property
    def now(self) -> float:
        """This moment by the coordinator's clock, as far as one can tell."""
        return self._clock() + self._skew

    # Twice a second

    def _tick(self) -> None:
        source = self._owner.job()
        if source is not None and source is not self._source:
            self._turn_to(source)
        if self._source is None or self._is_reading:
            self._draw()
        else:
            self._is_reading = True
            self._asked_at = time.monotonic()
            self._in_thread(self._read)
        if self._owner.is_over():
            self.exit()

    def _turn_to(self, source: JobView) -> None:
        self._source = source
        self._fold = JobModel(source.facts.pages)
        self._skew = 0.0
        self._answered_at = 0.0
        self._told_log.clear()
        self._told_of = 0
        self._map.show(source.facts.pages, self._state_of)
        self._subject = ("page", "")

    def _read(self) -> None:
        """In a thread."""
        source = self._source
        assert source is not None
        try:
            entries, holder = source.entries(), source.coordinator()
        except Exception as error:  # noqa: BLE001 - what stands in the folder is not ours
            why = getattr(error, "strerror", None) or error or type(error).__name__
            self.call_from_thread(self._fail_to_read, str(why))
            return
        self.call_from_thread(self._take, source, entries, holder)

    def _fail_to_read(self, reason: str) -> None:
        self._is_reading = False
        self._trouble = f"cannot read the job: {clean(reason)}"
        self._draw()

    def _take(self, source: JobView, entries: list[Entry], holder: str) -> None:
        self._is_reading = False
        if source is not self._source:
            return
        self._trouble = ""
        for entry in entries:
            self._fold.take(entry)
        if entries and self._answered_at and holder:
            self._skew = self._fold.now - self._clock()
        self._answered_at = time.monotonic()
        self._coordinator = holder
        self._draw()

    def _state_of(self, page: int) -> str:
        return self._fold.pages[page].state

    # Drawing: only what has changed since the last time

    def _draw(self) -> None:
        with self.batch_update():
            self._draw_headline()
            if self._source is None:
                return
            if self._fold.changed:
                self._map.update_pages(self._fold.changed)
                self._fold.changed.clear()
            self._draw_lists()
            self._draw_subject()

    def _draw_headline(self) -> None:
        width = max(20, self.size.width)
        if self._source is None:
            words = [Text(f"opening {clean(self._waiting_for)} …", "bold")]
        else:
            words = headline.lines(
                self._source.facts, self._fold, self._coordinator, self.now, width, self._looks
            )
        trouble = self._trouble or self._hanging() or clean(self._fold.paused)
        if trouble:
            words[-1] = Text(trouble, "bold red reverse")
        self._show("#headline", Text("\n").join(words))

    def _hanging(self) -> str:
        if self._is_reading and time.monotonic() - self._asked_at > HANG_TIMEOUT:
            return f"the shared folder has not answered for {time.monotonic() - self._asked_at:.0f} s"
        return ""

    def _draw_lists(self) -> None:
        filters = self._wanted
        rows = tables.hosts(self._fold, self._looks, self._sort, self._is_reversed, filters["hosts"])
        self._listing("hosts").show(rows)
        if self._is_shown("flights"):
            self._listing("flights").show(
                tables.flights(self._fold, self._looks, self.now, filters["flights"])
            )
        if self._is_shown("log") and self._has_changed("log", (self._fold.logged, filters["log"])):
            self._listing("log").show(self._log_rows(filters["log"]))

    def _log_rows(self, wanted: str) -> list[Row]:
        """The latest entries, or whichever of all hold a text. Each is put into words once."""
        fold = self._fold
        new = min(fold.logged - self._told_of, len(fold.log))
        first = len(fold.log) - new
        for number, entry in enumerate(islice(fold.log, first, None), fold.logged - new):
            row = tables.log_row(number, entry)
            if row is not None:
                self._told_log.append(row)
        self._told_of = fold.logged
        if wanted:
            return tables.log(self._told_log, wanted)
        return list(islice(self._told_log, max(0, len(self._told_log) - LOG_SHOWN), None))

    def _is_shown(self, pane: str) -> bool:
        return self.query_one(f"#{pane}").display and self.query_one(f"#{pane}").size.height > 0

    def _draw_subject(self) -> None:
        kind, name = self._subject
        if kind == "host" and name in self._fold.hosts:
            command = self._source.ssh_command(name) if self._source is not None else ""
            words = details.of_host(self._fold.hosts[name], command, self._looks)
        else:
            page = self._map.page
            if page is None:
                return
            words = details.of_page(self._fold.pages[page], self._fold, self.now, self._looks)
        self._show("#subject", words)
        self._draw_thumbnail()

    def _draw_thumbnail(self) -> None:
        file = ""
        page = self._map.page
        has_room = self.query_one("#details").size.height >= 8 and self.size.width >= _ROOM_FOR_A_PICTURE
        if self._subject[0] == "page" and page is not None and has_room:
            file = self._fold.pages[page].file
        self._want_thumbnail(file)

    def _show(self, selector: str, words: Text) -> None:
        """Static would draw itself again even where nothing is new."""
        if self._has_changed(selector, words.markup):
            shown = harmless_text(words)
            self.query_one(selector, Static).update(shown, layout=selector == "#subject")

    def _has_changed(self, what: str, value: object) -> bool:
        if self._told.get(what) == value:
            return False
        self._told[what] = value
        return True

    # Moving about

    def action_pane(self, pane: str) -> None:
        """Go to a pane; where there is room for one only, it takes the others' place."""
        self.screen.set_class(True, "-any")
        for each in _PANES:
            self.query_one(f"#{each}").set_class(each == pane, "-chosen")
        self.query_one(f"#{pane}").focus()
        self.call_after_refresh(self._draw)

    def on_descendant_focus(self) -> None:
        """Tab was typed, or the mouse used."""
        pane = self.focused.id if self.focused is not None else None
        if pane not in _PANES:
            return  # what comes up over the panes has its own
        self._pane = pane
        for each in _PANES:
            self.query_one(f"#{each}").set_class(each == pane, "-chosen")
        if pane == "pages":
            self._subject = ("page", "")
        elif pane == "hosts":
            self._subject = ("host", self._listing("hosts").key or "")
        if self._source is not None:
            self._draw_subject()

    def on_page_map_moved(self, _event: PageMap.Moved) -> None:
        """Another page is under the cursor."""
        self._subject = ("page", "")
        self._draw_subject()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Another row is under the cursor."""
        if event.listing.id == "hosts" and self._pane == "hosts":
            self._subject = ("host", event.key)
        elif event.listing.id == "flights" and self._pane == "flights":
            self._go_to_flight(event.key)
        self._draw_subject()

    def _go_to_flight(self, attempt: str) -> None:
        for host in self._fold.hosts.values():
            if attempt in host.flights:
                self._map.go_to(host.flights[attempt].page)

    def on_listing_titled(self, event: Listing.Titled) -> None:
        """A title was clicked."""
        title = tables.HOSTS[event.column].title
        if event.listing.id == "hosts" and title in tables.SORTS:
            self._is_reversed = not self._is_reversed if title == self._sort else False
            self._sort_by(title)

    def action_sort(self) -> None:
        """Sort the hosts by the next column."""
        self._sort_by(tables.SORTS[(tables.SORTS.index(self._sort) + 1) % len(tables.SORTS)])

    def action_reverse(self) -> None:
        """Sort them the other way round."""
        self._is_reversed = not self._is_reversed
        self._draw()

    def _sort_by(self, title: str) -> None:
        self._sort = title
        self._listing("hosts").sorted_by = title
        self._listing("hosts").refresh()
        self._draw()

    def action_trouble(self, step: int) -> None:
        """To the next page that is not as it should be."""
        slow = {drawing.flight.page for drawing in self._fold.drawings(self.now) if drawing.straggles}

        def is_trouble(page: int) -> bool:
            return self._state_of(page) in (FAILED, SUSPECT) or page in slow

        if self._map.find(is_trouble, step):
            self.action_pane("pages")
        else:
            self.notify("no page has failed, is suspect or straggles")

    def action_search(self) -> None:
        """Pages: go to a number. Elsewhere: show only what holds a text."""
        pane = self._pane
        words = "go to page" if pane == "pages" else f"show only what holds ({pane})"

        def answered(text: str | None) -> None:
            if text is None:
                return
            if pane != "pages":
                self._wanted[pane] = text
                self._told.pop(pane, None)
                self._name_filter(pane)
                self._draw()
            elif not (text.isdecimal() and self._map.go_to(int(text))):
                self.notify(f"the job has no page {text}", severity="warning")

        self.push_screen(Question(words, self._wanted[pane]), answered)

    def _name_filter(self, pane: str) -> None:
        titles = {"hosts": "hosts", "flights": "being drawn", "log": "log"}
        text = self._wanted[pane]
        self.query_one(f"#{pane}").border_title = titles[pane] + (f": {text}" if text else "")

    def action_clear(self) -> None:
        """Show everything again."""
        for pane in _PANES[1:]:
            self._wanted[pane] = ""
            self._told.pop(pane, None)
            self._name_filter(pane)
        self._draw()

    def action_look(self) -> None:
        """The page's picture; the host's part of the log; the page that is being drawn."""
        if self._pane == "hosts":
            self._wanted["log"] = self._listing("hosts").key or ""
            self._name_filter("log")
            self.action_pane("log")
        elif self._pane == "flights":
            self.action_pane("pages")
        elif self._pane == "pages" and self._map.page is not None and self._source is not None:
            self._in_thread(partial(self._enlarge, self._map.page))

    def action_help(self) -> None:
        """The keys and the signs."""
        signs = Text()
        for state in ("waiting", "sent", DONE, SUSPECT, FAILED, "straggler"):
            symbol, style = self._looks.page(state)
            signs.append(f"{symbol} {state}  ", style)
        self.push_screen(HelpScreen(signs))

    # Leaving

    def action_leave(self) -> None:
        """The job goes on."""
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C: what it means is for whoever started the dashboard to say."""
        words = self._owner.interrupt()
        if words:
            self.notify(words, severity="warning", timeout=30)
        else:
            self.exit()

    def _handle_exception(self, error: Exception) -> None:
        """A defect of the dashboard is the program's to report, not a traceback on the terminal."""
        self._defects.append(error)
        self.exit(return_code=1)

    def watch_to_the_end(self) -> None:
        """Run until the user leaves or the job is over. Raises what went wrong inside."""
        for name in ("COLUMNS", "LINES"):  # they would count for more than the terminal itself
            os.environ.pop(name, None)
        terminalgraphics.prepare()
        self.run()
        if self._defects:
            raise self._defects[0]

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every command of ours by name, and Textual's own."""
        for binding in self.BINDINGS:
            assert isinstance(binding, Binding)
            name = binding.description
            yield SystemCommand(name, f"key {binding.key_display or binding.key}", self._runner(binding))
        yield from super().get_system_commands(screen)

    def _runner(self, binding: Binding) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, binding.action)

        return run
