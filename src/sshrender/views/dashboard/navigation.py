"""Keys of the dashboard that move in a job: panes, problems, filters, sorting, the log."""

from __future__ import annotations

from functools import partial

from rich.text import Text

from sshrender.job.journal.journalentries import hosts_of, page_of
from sshrender.views.dashboard import keyhints, tables
from sshrender.views.dashboard.dialogs import HelpScreen, Question
from sshrender.views.dashboard.jobscreen import JobScreen
from sshrender.views.dashboard.keyline import KeyLine, PaneTabs, Tab
from sshrender.views.dashboard.logrows import MODES, PROBLEMS_FIRST, LogRows
from sshrender.views.dashboard.pageimages import PageImages
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.rowlist import Listing
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import DONE, FAILED, SUSPECT

PANES = {"pages": "pages", "hosts": "hosts", "attempts": "in work", "log": "log"}
"""Panes by id, with their titles, in the order of their keys."""


class Navigation(PageImages):
    """The part of the dashboard that moves in a job. ``Dashboard`` keeps its attributes up to date."""

    def __init__(self, styles: Styles) -> None:
        super().__init__(ansi_color=True)  # here, because NO_COLOR is read here
        self._styles = styles
        self._pane_filters = dict.fromkeys(PANES, "")
        self._sort, self._is_reversed = "state", False
        self._pane = "pages"
        self._subject: tuple[str, str] = ("page", "")
        self._log_mode = PROBLEMS_FIRST
        self._log_rows = LogRows()

    @property
    def now(self) -> float:
        """The current time by the coordinator's clock."""
        raise NotImplementedError

    def _update(self) -> None:
        raise NotImplementedError

    def _update_details(self) -> None:
        raise NotImplementedError

    def _page_state(self, page: int) -> str:
        return self._model.pages[page].state

    # Panes

    def action_pane(self, pane: str) -> None:
        """Select a pane. A small terminal shows only the selected one."""
        self._mark_chosen(pane)
        self.query_one(f"#{pane}").focus()
        self.call_after_refresh(self._update)

    def action_next_pane(self, step: int = 1) -> None:
        """Select the next pane, even if a small terminal does not show it."""
        panes = list(PANES)
        self.action_pane(panes[(panes.index(self._pane) + step) % len(panes)])

    def _mark_chosen(self, pane: str) -> None:
        """Give the pane the look of the focused one.

        Both panes are painted again with their borders: if rows of them were to be painted at the same
        moment, Textual may paint the rows alone.
        """
        for each in (self.query_one("#panes"), *(self.query_one(f"#{name}") for name in PANES)):
            if each.id == "panes":
                for name in PANES:
                    each.set_class(name == pane, f"-{name}")
            else:
                each.set_class(each.id == pane, "-chosen")
                each.refresh()

    def on_descendant_focus(self) -> None:
        """Follow the focus, which Tab or the mouse has moved."""
        # Read before the test: the focus may be in a dialog or nowhere.
        pane = self.focused.id if self.focused is not None else None
        if pane not in PANES:
            return  # a dialog has the focus
        self._pane = pane
        self._mark_chosen(pane)
        if pane == "pages":
            self._subject = ("page", "")
        elif pane == "hosts":
            # Empty while the list has no row; the details then show the page.
            self._subject = ("host", self._listing("hosts").key or "")
        elif pane == "attempts":
            self._show_attempt(self._listing("attempts").key or "")
        else:
            self._subject = ("entry", self._listing("log").key or "")
        self._update_titles()
        if self._source is not None:
            self._update_details()

    def _update_titles(self) -> None:
        """Show the names of the panes, their filters, and the keys of the focused one."""
        tabs = []
        for number, (pane, title) in enumerate(PANES.items(), 1):
            text = self._pane_filters[pane]
            words = title + (f": {text}" if text else "")
            if pane == "log" and self._log_mode != PROBLEMS_FIRST:
                words += f" ({self._log_mode})"
            tabs.append(Tab(pane, str(number), words))
            self.query_one(f"#{pane}").border_title = f"{number} {words}"
        # A small terminal shows the tabs instead of the titles of the panes.
        self.query_one(PaneTabs).show(tabs, self._pane)
        self._update_keys()

    def _update_keys(self) -> None:
        page = self._map.page
        self.query_one("#keys", KeyLine).show(
            []
            if self._source is None
            else keyhints.hints(
                self._pane,
                is_running=bool(self._coordinator),
                is_held=bool(self._model.held),
                has_failed_page=page is not None and self._page_state(page) == FAILED,
                has_filter=bool(self._pane_filters[self._pane]),
                has_jobs=self._has_jobs(),
            )
        )

    def _has_jobs(self) -> bool:
        raise NotImplementedError

    def action_jobs(self) -> None:
        """Show the list of jobs."""
        raise NotImplementedError

    # Cursors

    def on_page_map_moved(self, _event: PageMap.Moved) -> None:
        """Show the page that is now under the cursor."""
        # The cursor of the map also moves for other reasons, and then the details keep their subject.
        if self._pane in ("pages", "attempts"):
            self._subject = ("page", "")
        self._update_details()
        self._update_keys()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Show the host, page or entry of the row that is now under the cursor."""
        # Lists move their cursors also when rows come and go; only the focused one counts.
        if event.listing.id != self._pane:
            return
        if self._pane == "hosts":
            self._subject = ("host", event.key)
        elif self._pane == "attempts":
            self._show_attempt(event.key)
        elif self._pane == "log":
            self._subject = ("entry", event.key)
        self._update_details()

    def _show_attempt(self, attempt: str) -> None:
        """Show the page of an attempt, or the host of a slot that waits."""
        # A slot that waits has no attempt; its row has the host's name.
        if attempt.startswith(tables.REOPENING):
            self._subject = ("host", attempt.removeprefix(tables.REOPENING))
            return
        self._subject = ("page", "")
        for host in self._model.hosts.values():
            if attempt in host.flights:
                self._map.go_to(host.flights[attempt].page)

    def on_listing_titled(self, event: Listing.Titled) -> None:
        """Sort the hosts by the title that was clicked; a second click reverses."""
        title = tables.HOSTS[event.column].title
        if event.listing.id == "hosts" and title in tables.SORTS:
            # A click on another title starts in the usual order of that column.
            self._is_reversed = not self._is_reversed if title == self._sort else False
            self._sort_by(title)

    # Keys

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
        # Stragglers are problems of this moment and have no state of their own.
        slow = {drawing.flight.page for drawing in self._model.drawings(self.now) if drawing.straggles}

        def is_problem(page: int) -> bool:
            return self._page_state(page) in (FAILED, SUSPECT) or page in slow

        # The search goes around the ends, so each problem is reached.
        if self._map.find(is_problem, step):
            self.action_pane("pages")
        else:
            self.notify("no page has failed, is suspect or takes much longer than usual")

    def action_log_mode(self) -> None:
        """Show the log with problems first, problems alone, or everything in the order of time."""
        if self._pane != "log":
            self.action_pane("log")
        self._log_mode = MODES[(MODES.index(self._log_mode) + 1) % len(MODES)]
        self._update_titles()
        self._update()
        self.notify(f"log: {self._log_mode}", timeout=2)

    def action_search(self) -> None:
        """Go to a page by number, or filter a list by text."""
        pane = self._pane
        words = "go to page:" if pane == "pages" else f"filter {PANES[pane]}:"

        def answered(text: str | None) -> None:
            if text is None:
                return
            # The pages have no filter: a number moves the cursor.
            if pane != "pages":
                self._filter(pane, text)
                self._update()
            elif not (text.isdecimal() and self._map.go_to(int(text))):
                self.notify(f"the job has no page {text}", severity="warning")

        self.push_screen(Question(words, self._pane_filters[pane]), answered)

    def _filter(self, pane: str, text: str) -> None:
        self._pane_filters[pane] = text
        self._update_titles()

    def action_clear(self) -> None:
        """Remove the filters of all lists; without any, go back to the list of jobs, if there is one."""
        # Esc is the way back if there is nothing to clear.
        if not any(self._pane_filters.values()) and self._has_jobs():
            self.action_jobs()
        # All but the first: pages have no filter.
        for pane in list(PANES)[1:]:
            self._filter(pane, "")
        self._update()

    def action_open(self) -> None:
        """Show the page's image, the host's log, the attempt's page, or what an entry is about."""
        if self._pane == "hosts":
            # The name is the filter of the log, as if it had been typed.
            self._filter("log", self._listing("hosts").key or "")
            self.action_pane("log")
        elif self._pane == "attempts":
            self.action_pane("pages")
        elif self._pane == "log":
            self._open_entry()
        elif self._map.page is not None and self._source is not None:
            self._in_thread(partial(self._enlarge, self._map.page))

    def _open_entry(self) -> None:
        """Go to the page or the host that the entry under the cursor is about."""
        entry = self._log_rows.entry(self._listing("log").key)
        if entry is None:
            return
        page, hosts = page_of(entry), hosts_of(entry)
        # Page 0 stands for none.
        if page and self._map.go_to(page):
            self.action_pane("pages")
        elif hosts and self._listing("hosts").go_to(hosts[0]):
            self.action_pane("hosts")
        else:
            self.notify("this entry is about no page and no host")

    def action_help(self) -> None:
        """Show keys, columns and symbols."""
        symbols = Text()
        for state in ("waiting", "sent", DONE, SUSPECT, FAILED, "straggler"):
            symbol, style = self._styles.page(state)
            symbols.append(f"{symbol} {state}  ", style)
        self.push_screen(HelpScreen(symbols, is_of_jobs=isinstance(self.screen, JobScreen)))
