"""The page map: one cell for each page in reading order, with a cursor.

If there is room, cells have page numbers; otherwise each page is one character, in groups of ten, and
each row starts with the number of its first page. Only rows with changed pages are redrawn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sshrender.views.dashboard.styles import Styles

GROUP = 10
_CURSOR = Style(reverse=True, bold=True)
_DIM = Style(dim=True)
_PLAIN = Style()
"""Textual's filters fail on a segment without a style."""


class PageMap(ScrollView, can_focus=True):
    """Shows the states of pages. ``state_of`` returns the state of a page number."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous", show=False),
        Binding("right", "move(1)", "Next", show=False),
        Binding("up", "row(-1)", "Up", show=False),
        Binding("down", "row(1)", "Down", show=False),
        Binding("pageup", "screenful(-1)", "Page up", show=False),
        Binding("pagedown", "screenful(1)", "Page down", show=False),
        Binding("home", "edge(0)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
    ]

    class Moved(Message):
        """The cursor has moved to another page."""

        def __init__(self, page: int) -> None:
            super().__init__()
            self.page = page

    def __init__(self, styles: Styles, *, id: str) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._styles = styles
        self._pages: Sequence[int] = ()
        self._page_state: Callable[[int], str] = lambda _page: "waiting"
        self._at = 0
        self._columns = GROUP
        self._cell = 1
        self._label = 0

    @property
    def page(self) -> int | None:
        """The page under the cursor."""
        return self._pages[self._at] if self._pages else None

    def show(self, pages: Sequence[int], state_of: Callable[[int], str]) -> None:
        """Show the pages of another job."""
        self._pages, self._page_state, self._at = pages, state_of, 0
        self._arrange()

    def update_pages(self, changed: Iterable[int]) -> None:
        """Redraw the rows of pages whose states have changed."""
        # By row and not by page: a row is the smallest part that is repainted.
        rows = {self._index(page) // self._columns for page in changed}
        top, height = self.scroll_offset.y, self.size.height
        for row in rows:
            # Rows outside of the window are painted when they are scrolled into it.
            if top <= row < top + height:
                self.refresh(Region(0, row - top, self.size.width, 1))

    def go_to(self, page: int) -> bool:
        """Move the cursor to a page. Return False if the job has no such page."""
        at = self._index(page)
        # The index of a page that is missing is that of its successor.
        if at >= len(self._pages) or self._pages[at] != page:
            return False
        self._move_to(at)
        return True

    def find(self, matches: Callable[[int], bool], step: int) -> bool:
        """Move the cursor to the next page that matches (``step`` -1: previous), around the ends."""
        count = len(self._pages)
        for away in range(1, count + 1):
            # The remainder of Python is never negative, so this works in both directions.
            at = (self._at + step * away) % count
            if matches(self._pages[at]):
                self._move_to(at)
                return True
        return False

    def next_of(self, matches: Callable[[int], bool], step: int) -> int | None:
        """Return the next page that matches (``step`` -1: previous); None if there is none."""
        places = range(self._at + 1, len(self._pages)) if step > 0 else range(self._at - 1, -1, -1)
        return next((self._pages[at] for at in places if matches(self._pages[at])), None)

    # Layout

    def on_resize(self, _event: Resize) -> None:
        """Divide the pages into rows of the new width."""
        self._arrange()

    def _arrange(self) -> None:
        width = self.size.width
        if not width:
            return  # before the first layout
        digits = len(str(self._pages[-1])) if self._pages else 1
        # The number, its symbol, and a space.
        numbered = digits + 2
        rows = -(-len(self._pages) // max(1, width // numbered))
        # With numbers only if all pages fit without scrolling.
        if self._pages and rows <= max(1, self.size.height):
            self._cell, self._label = numbered, 0
            self._columns = max(1, width // numbered)
        else:
            self._cell, self._label = 1, digits + 1
            room = width - self._label
            # A group of ten takes eleven columns; the last one needs no gap behind it.
            groups = max(1, (room + 1) // (GROUP + 1))
            # A terminal of a few columns gets rows without groups.
            self._columns = groups * GROUP if room >= GROUP else max(1, room)
        self.virtual_size = Size(width, -(-len(self._pages) // self._columns))
        self._scroll_to_cursor()
        self.refresh()

    def _index(self, page: int) -> int:
        # Pages are sorted, because the page list of a job is.
        return bisect_left(self._pages, page)

    def _scroll_to_cursor(self) -> None:
        row, top, height = self._at // self._columns, self.scroll_offset.y, self.size.height
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif height and row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)

    # Output

    def render_line(self, y: int) -> Strip:
        """Return one row of the map."""
        row = y + self.scroll_offset.y
        start = row * self._columns
        # The last row may be shorter than the others.
        pages = self._pages[start : start + self._columns]
        if not pages:
            return Strip.blank(self.size.width, _PLAIN)
        segments = [Segment(f"{pages[0]:>{self._label - 1}} ", _DIM)] if self._label else []
        for place, page in enumerate(pages):
            # A gap before each group of ten but the first.
            if self._cell == 1 and place and place % GROUP == 0:
                segments.append(Segment(" ", _PLAIN))
            segments += self._cell_of(start + place, page)
        return Strip(segments).adjust_cell_length(self.size.width, _PLAIN)

    def _cell_of(self, at: int, page: int) -> list[Segment]:
        symbol, style = self._styles.page(self._page_state(page))
        # With the focus the cursor is a block, without it an underline: both panes have one.
        if at == self._at and self.has_focus:
            style += _CURSOR
        elif at == self._at:
            style += Style(underline=True, bold=True)
        if self._cell == 1:
            return [Segment(symbol, style)]
        return [Segment(f"{page:>{self._cell - 2}}{symbol}", style), Segment(" ", _PLAIN)]

    def on_focus(self) -> None:
        """Redraw the cursor in its other style."""
        self.refresh()

    def on_blur(self) -> None:
        """Redraw the cursor in its other style."""
        self.refresh()

    # Cursor

    def _move_to(self, at: int) -> None:
        if not self._pages:
            return
        self._at = max(0, min(at, len(self._pages) - 1))
        self._scroll_to_cursor()
        self.refresh()
        self.post_message(self.Moved(self._pages[self._at]))

    def action_move(self, step: int) -> None:
        """Move by pages."""
        self._move_to(self._at + step)

    def action_row(self, step: int) -> None:
        """Move by rows."""
        # A step that leaves the map is not made, so that the column is kept.
        if 0 <= self._at + step * self._columns < len(self._pages):
            self._move_to(self._at + step * self._columns)

    def action_screenful(self, step: int) -> None:
        """Move by a screenful of rows."""
        self._move_to(self._at + step * self._columns * max(1, self.size.height - 1))

    def action_edge(self, last: int) -> None:
        """Move to the first page or the last."""
        self._move_to(len(self._pages) - 1 if last else 0)

    def on_click(self, event: Click) -> None:
        """Move to the page under the mouse."""
        column = event.x - self._label
        if self._cell == 1:
            # Gaps between groups are columns of the window, not of the map.
            column -= column // (GROUP + 1)
        else:
            column //= self._cell
        if 0 <= column < self._columns:
            self._move_to((event.y + self.scroll_offset.y) * self._columns + column)
