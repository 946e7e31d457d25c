"""Reports facts of the document as soon as they are read: page sizes and missing fonts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sshrender.core import events as ev
from sshrender.document import pagelist
from sshrender.document.boxes import Box

A4 = 595.0 * 842.0
"""Square points."""

MAX_PAGE_LIST = 2000
"""Most characters of a recorded page list: one of odd pages has no ranges, and can be very long."""

FIXED_COST = 0.25
"""The part of an A4 page's time that does not depend on its size: 25 to 30 % at 150 and 300 dpi
(measured)."""


class OpenDocument(Protocol):
    """The facts that are known of a document so far (document/reading.py). No method waits."""

    def boxes_from(self, first: int) -> list[tuple[int, Box | None]]:
        """Return the pages that are known by now, with their boxes, without the ``first`` of them."""

    def missing_fonts(self) -> Mapping[int, list[str]] | None:
        """Return the missing fonts of each page; None until all wanted pages were read."""


def cost(box: Box) -> float:
    """Return the cost of a page: an A4 page costs 1."""
    return FIXED_COST + (1 - FIXED_COST) * box[0] * box[1] / A4


class DocumentEvents:
    """Returns each fact once, as an event. ``fonts``: the pages of each missing font, as page lists."""

    def __init__(self, document: OpenDocument, pages: Sequence[int]) -> None:
        self._document = document
        self._pages = frozenset(pages)
        self._next = 0
        self._are_fonts_reported = False
        self.fonts: Mapping[str, str] = {}

    def new(self) -> list[ev.Event]:
        """Return the facts that have become known since the last call."""
        return self._costs() + self._missing_fonts()

    def _costs(self) -> list[ev.Event]:
        boxes = self._document.boxes_from(self._next)
        # Pages without a known size count as known, too: they stay at cost 1.
        self._next += len(boxes)
        costs = tuple(
            (page, cost(box)) for page, box in boxes if box is not None and page in self._pages
        )
        return [ev.PageCostsKnown(costs)] if costs else []

    def _missing_fonts(self) -> list[ev.Event]:
        missing = None if self._are_fonts_reported else self._document.missing_fonts()
        if missing is None:
            return []
        self._are_fonts_reported = True
        self.fonts = _by_font(missing, self._pages)
        # Pages that qpdf could not read count as pages with missing fonts.
        is_unread = len(missing) < len(self._pages)
        return [ev.FontsKnown(bool(self.fonts) or is_unread)]


def _by_font(missing: Mapping[int, Sequence[str]], pages: frozenset[int]) -> dict[str, str]:
    """Return page lists by font, the font of most pages first."""
    found: dict[str, list[int]] = {}
    for page, names in missing.items():
        if page in pages:
            for name in names:
                found.setdefault(name, []).append(page)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: _shortened(pagelist.canonical(numbers)) for name, numbers in ordered}


def _shortened(pages: str) -> str:
    if len(pages) <= MAX_PAGE_LIST:
        return pages
    # Cut at a comma: a number that is cut in the middle would name another page.
    return f"{pages[:MAX_PAGE_LIST].rpartition(',')[0]},…"
