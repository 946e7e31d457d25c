"""A list of rows with a cursor: hosts, attempts, log. Only changed rows are redrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sshrender.views.safeprint import harmless

_MEASURED_ROWS = 100
"""Rows whose cells decide the column widths: a list may have thousands of rows."""

_LAYOUT_DELAY = 0.03
"""Seconds until a requested layout has probably been done."""

_CURSOR = Style(reverse=True)
_PLAIN = Style()
_TITLE = Style(bold=True, underline=True)
_RULE = Style(dim=True)


_KEPT_END = 9
"""Characters of the end of a cell that is cut in the middle: the hyphen and the digest of a job."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. A list narrower than ``min_list_width`` leaves it out."""

    title: str
    min_list_width: int = 0
    is_right: bool = False
    max_width: int = 200
    keeps_end: bool = False
    """Cells are cut in the middle: their end tells them apart, as the digest in the name of a job."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row. The cursor stays on the row with the same ``key`` when other rows come and go."""

    key: str
    cells: tuple[str, ...]
    styles: tuple[Style | None, ...] = ()


def _fit(cell: str, width: int, column: Column) -> str:
    """Return ``cell`` padded to ``width`` columns, or cut with an ellipsis."""
    length = cell_len(cell)
    end = cell[-_KEPT_END:] if column.keeps_end else ""
    if length > width > cell_len(end) + 1:
        return set_cell_size(cell, width - 1 - cell_len(end)) + "…" + end
    if length > width:
        # One column for the ellipsis, and none for an end that is as wide as the cell.
        return set_cell_size(cell, width - 1) + "…"
    pad = " " * (width - length)
    return pad + cell if column.is_right else cell + pad


class Listing(ScrollView, can_focus=True):
    """A list of rows. The last column gets the remaining width, and its cells are cut there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "screenful(-1)", "Page up", show=False),
        Binding("pagedown", "screenful(1)", "Page down", show=False),
        Binding("home", "edge(0)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
    ]

    class Moved(Message):
        """The cursor has moved to another row."""

        def __init__(self, listing: Listing, key: str) -> None:
            super().__init__()
            self.listing = listing
            self.key = key

        @property
        def control(self) -> Listing:
            """The list that sent this."""
            return self.listing

    class Titled(Message):
        """The title of a column was clicked."""

        def __init__(self, listing: Listing, column: int) -> None:
            super().__init__()
            self.listing = listing
            self.column = column

        @property
        def control(self) -> Listing:
            """The list that sent this."""
            return self.listing

    def __init__(self, columns: Sequence[Column], *, follows: bool = False, id: str) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._columns = columns
        self._rows: list[Row] = []
        self._pinned: list[Row] = []
        self._at = 0
        self._follows = follows
        self._widths: list[int] = []
        self._measured_for = 0
        # Widths depend on the width of the list; a scroll bar changes that.
        self.sorted_by = ""
        self.sort_mark = ""

    @property
    def key(self) -> str | None:
        """The key of the row under the cursor."""
        return self._rows[self._at].key if self._rows else None

    @property
    def _width(self) -> int:
        """The columns beside the scroll bar, which ``size`` includes."""
        return self.scrollable_content_region.width

    @property
    def _top(self) -> int:
        """The lines above the rows: the titles, and the pinned rows with a rule below them."""
        return 1 + len(self._pinned) + bool(self._pinned)

    def show(self, rows: list[Row], pinned: Sequence[Row] = ()) -> None:
        """Show these rows, in this order. ``pinned``: rows above them that do not scroll."""
        before, key = self._rows, self.key
        # A log whose cursor is at its end follows new rows; one that was scrolled up stays.
        was_last = self._at >= len(before) - 1
        are_pinned_new = list(pinned) != self._pinned
        self._rows, self._pinned = rows, list(pinned)
        if self._follows and was_last:
            self._at = max(0, len(rows) - 1)
        else:
            places = {row.key: at for at, row in enumerate(rows)}
            # By key; if the row has gone, the same place.
            self._at = places.get(key or "", min(self._at, max(0, len(rows) - 1)))
        widths = self._measure()
        # A layout is only needed if the size or the number of rows has changed.
        if widths != self._widths or len(rows) != len(before) or are_pinned_new:
            self._widths = widths
            self.virtual_size = Size(self._width, len(rows) + self._top)
            if self._follows and was_last:
                self.call_after_refresh(self._scroll_to_cursor)  # after the layout of the new row
            self.refresh()
        else:
            self._refresh_changed(before)
        # The cursor may be on another row now, although it did not move.
        if self.key is not None and self.key != key:
            self.post_message(self.Moved(self, self.key))

    def go_to(self, key: str) -> bool:
        """Move the cursor to the row with this key. Return False if there is none."""
        at = next((at for at, row in enumerate(self._rows) if row.key == key), None)
        if at is not None:
            self._move_to(at)
        return at is not None

    def _refresh_changed(self, before: list[Row]) -> None:
        top, height = self.scroll_offset.y, self.size.height - self._top
        for y in range(min(height, len(self._rows) - top)):
            # Rows are compared by value, so an unchanged row is not repainted.
            if self._rows[top + y] != before[top + y]:
                self.refresh(Region(0, y + self._top, self._width, 1))

    def _measure(self) -> list[int]:
        """Return a width for each column; 0 leaves the column out."""
        room = self._measured_for = self._width
        widths = []
        for number, column in enumerate(self._columns):
            if column.min_list_width > self._width or room <= 0:
                # A column without room is left out, and so are all after it but the last.
                widths.append(0)
            elif number == len(self._columns) - 1:
                widths.append(room)
            else:
                # The first rows decide: measuring thousands each time would be slow.
                measured = (*self._pinned, *self._rows[:_MEASURED_ROWS])
                cells = [cell_len(row.cells[number]) for row in measured]
                width = min(max(len(self._title(column)), *cells, 1), column.max_width, room)
                widths.append(width)
                room -= width + 1
        return widths

    def _title(self, column: Column) -> str:
        is_sorted = column.title != "" and column.title == self.sorted_by
        return column.title + self.sort_mark if is_sorted else column.title

    def on_resize(self, _event: Resize) -> None:
        """Choose columns and widths for the new size."""
        self._widths = self._measure()
        self.virtual_size = Size(self._width, len(self._rows) + self._top)
        self.call_after_refresh(self._scroll_to_cursor)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line: the titles and pinned rows, which stay in place, or a row."""
        if y == 0:
            # Line 0 is the title and does not scroll.
            return self._strip([self._title(column) for column in self._columns], (), _TITLE)
        if y <= len(self._pinned):
            row = self._pinned[y - 1]
            return self._strip(row.cells, row.styles, _PLAIN)
        if y < self._top:
            return Strip([Segment("─" * self._width, _RULE)])
        # Pinned rows and the rule do not scroll either.
        at = y - self._top + self.scroll_offset.y
        if at >= len(self._rows):
            return Strip.blank(self._width, _PLAIN)
        row = self._rows[at]
        is_selected = at == self._at and self.has_focus
        return self._strip(row.cells, row.styles, _CURSOR if is_selected else _PLAIN)

    def _strip(self, cells: Sequence[str], styles: Sequence[Style | None], common: Style) -> Strip:
        if self._measured_for != self._width:  # a scroll bar has come or gone
            self._widths = self._measure()
        segments = []
        # strict=False: a row may have fewer cells than the list has columns.
        for number, (cell, width) in enumerate(zip(cells, self._widths, strict=False)):
            if not width:
                continue
            own = styles[number] if number < len(styles) else None
            # The cursor is one colour: on the background of another one, words are hard to read.
            style = own + common if own is not None and common is not _CURSOR else common
            words = _fit(harmless(cell), width, self._columns[number])
            segments += [Segment(words, style), Segment(" ", common)]
        return Strip(segments).adjust_cell_length(self._width, _PLAIN)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()

    def _scroll_to_cursor(self, tries: int = 10) -> None:
        """Scroll until the cursor is visible.

        Scrolling reaches no further than the last layout, so it may have to be tried again.
        """
        top, height = self.scroll_offset.y, self.size.height - self._top
        if self._at < top:
            # Upwards everything has a layout already.
            self.scroll_to(y=self._at, animate=False)
        elif height > 0 and self._at >= top + height:
            target = self._at - height + 1
            self.scroll_to(y=target, animate=False, immediate=True)
            if self.scroll_offset.y < target and tries:
                self.set_timer(_LAYOUT_DELAY, partial(self._scroll_to_cursor, tries - 1))

    def _move_to(self, at: int) -> None:
        if self._rows:
            self._at = max(0, min(at, len(self._rows) - 1))
            self._scroll_to_cursor()
            self.refresh()
            self.post_message(self.Moved(self, self._rows[self._at].key))

    def action_move(self, step: int) -> None:
        """Move by rows."""
        self._move_to(self._at + step)

    def action_screenful(self, step: int) -> None:
        """Move by a screenful of rows."""
        self._move_to(self._at + step * max(1, self.size.height - self._top - 1))

    def action_edge(self, last: int) -> None:
        """Move to the first row or the last."""
        self._move_to(len(self._rows) - 1 if last else 0)

    def on_click(self, event: Click) -> None:
        """Move to the row under the mouse, or report the title under it."""
        if event.y > 0:
            at = event.y - self._top + self.scroll_offset.y
            # A click on a pinned row or the rule moves nothing.
            if event.y >= self._top and at < len(self._rows):
                self._move_to(at)
            return
        left = 0
        for number, width in enumerate(self._widths):
            # The space behind a column belongs to it.
            if width and left <= event.x <= left + width:
                self.post_message(self.Titled(self, number))
                return
            left += width + 1 if width else 0
