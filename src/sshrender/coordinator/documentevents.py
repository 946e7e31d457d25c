"""What the document turns out to be while it is read: how much there is to draw, what fonts it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sshrender.core import events as ev
from sshrender.document import pagelist
from sshrender.document.boxes import Box

A4 = 595.0 * 842.0
"""Square points."""

MAX_LIST = 2000
"""Characters of a list of pages that is written down: of odd pages only, a list has no ranges."""

FIXED = 0.25
"""The part of an A4 page's time that is not spent on its pixels: 25 to 30 % at 150 and 300 dpi."""


class OpenDocument(Protocol):
    """What is known of a document by now (document/reading.py). Nothing here waits."""

    def boxes_from(self, first: int) -> list[Box | None]:
        """The boxes that are known, from this page on."""

    def missing_fonts(self) -> list[list[str]] | None:
        """For each page the fonts that the document lacks; None until all is known."""


def work(box: Box) -> float:
    """In pages of A4."""
    return FIXED + (1 - FIXED) * box[0] * box[1] / A4


class DocumentEvents:
    """Asked now and then; tells each thing once. ``fonts``: by font, the pages that ask for it."""

    def __init__(self, document: OpenDocument, pages: Sequence[int]) -> None:
        self._document = document
        self._pages = frozenset(pages)
        self._next = 1
        self._are_fonts_told = False
        self.fonts: Mapping[str, str] = {}

    def new(self) -> list[ev.Event]:
        """What has become known since this was last asked."""
        return self._weights() + self._missing_fonts()

    def _weights(self) -> list[ev.Event]:
        boxes = self._document.boxes_from(self._next)
        first, self._next = self._next, self._next + len(boxes)
        works = tuple(
            (page, work(box))
            for page, box in enumerate(boxes, first)
            if box is not None and page in self._pages
        )
        return [ev.PageCostsKnown(works)] if works else []

    def _missing_fonts(self) -> list[ev.Event]:
        missing = None if self._are_fonts_told else self._document.missing_fonts()
        if missing is None:
            return []
        self._are_fonts_told = True
        self.fonts = _by_font(missing, self._pages)
        is_unread = len(missing) < max(self._pages)
        return [ev.FontsKnown(bool(self.fonts) or is_unread)]


def _by_font(missing: Sequence[Sequence[str]], pages: frozenset[int]) -> dict[str, str]:
    """Page lists by font, the font that most pages ask for first."""
    found: dict[str, list[int]] = {}
    for page, names in enumerate(missing, 1):
        if page in pages:
            for name in names:
                found.setdefault(name, []).append(page)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: _shortened(pagelist.canonical(numbers)) for name, numbers in ordered}


def _shortened(pages: str) -> str:
    if len(pages) <= MAX_LIST:
        return pages
    return f"{pages[:MAX_LIST].rpartition(',')[0]},…"
