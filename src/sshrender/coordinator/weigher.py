"""How much there is to draw on each page, told as the document is read: by its area."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from sshrender.core import events as ev
from sshrender.document.boxes import Box

A4 = 595.0 * 842.0
"""Square points."""

FIXED = 0.25
"""The part of an A4 page's time that is not spent on its pixels: 25 to 30 % at 150 and 300 dpi."""


class Boxes(Protocol):
    """What the document says of its pages (document/reading.py)."""

    def boxes_from(self, first: int) -> list[Box | None]:
        """The boxes that are known by now, from this page on; does not wait."""


def work(box: Box) -> float:
    """In pages of A4."""
    return FIXED + (1 - FIXED) * box[0] * box[1] / A4


class Weigher:
    """Asked now and then; tells each page once."""

    def __init__(self, boxes: Boxes, pages: Container[int]) -> None:
        self._boxes = boxes
        self._pages = pages
        self._next = 1

    def new(self) -> list[ev.Event]:
        """What has become known since this was last asked."""
        boxes = self._boxes.boxes_from(self._next)
        first, self._next = self._next, self._next + len(boxes)
        works = tuple(
            (page, work(box))
            for page, box in enumerate(boxes, first)
            if box is not None and page in self._pages
        )
        return [ev.PagesWeighed(works)] if works else []
