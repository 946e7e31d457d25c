"""Read the sizes of pages in points from the page tree: page images are verified against them.

A page for which the tree has no sound size has none here, and is held to the size that Ghostscript
reports. Only the pages that are asked for are read: nodes without any of them are skipped by their
number of pages.

A file of a few kilobytes can hold a tree of 10 ** 14 leaves, by nodes that share their kids. The walk
therefore ends after the pages that the document claims to have, enters no node twice, and visits a
bounded number of kids, as a tree may also have no leaf at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sshrender.document.opening import OpenDocument

Box = tuple[float, float]
# Values that a page inherits from the nodes above it (ISO 32000-1, 7.7.3.4); /Resources for the fonts.
_INHERITED = ("/MediaBox", "/CropBox", "/Rotate", "/Resources")
_NAMES = {"crop": "/CropBox", "bleed": "/BleedBox", "trim": "/TrimBox", "art": "/ArtBox"}

MAX_DEPTH = 64

MAX_SIDE = 1e9
"""Points. ISO 32000-1, annex C: 14,400 units of at most 75,000 points."""

_KIDS_A_PAGE, _MORE_KIDS = 4, 1000
"""A tree whose nodes all have two kids has twice as many kids as pages."""


def walk(
    document: OpenDocument, claimed: int, wanted: Sequence[range], box: str = "media"
) -> Iterator[Box | None]:
    """Yield the (width, height) of each wanted page in order; None if the document does not say it.

    ``box``: which of the page's boxes counts; empty: none does. Ends as ``leaves`` does.
    """
    for node, values in leaves(document, claimed, wanted):
        yield _box(node, values, box)


def leaves(
    document: OpenDocument, claimed: int, wanted: Sequence[range]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each wanted page, with what it has or inherits of _INHERITED. ``wanted``: in order.

    Ends early, with a complaint, if the page tree is broken; raises what pikepdf raises.
    """
    walker = _Walk(document, claimed)
    for numbers in wanted:
        for number in numbers:
            found = walker.page(number)
            if found is None:
                document.warn()
                return
            yield found


@dataclass(slots=True)
class _Node:
    """One node on the path from the root: its kids, the next of them, and what they inherit.

    ``size``: how many kids. ``first``: the number of its first page. ``pages``: what it claims; as many
    as kids, and each of them is a page.
    """

    kids: Any
    size: int
    values: dict[str, Any]
    first: int
    pages: int | None
    next: int = 0

    @property
    def is_flat(self) -> bool:
        """Whether all its kids are pages."""
        return self.pages == self.size


class _Walk:
    """Finds pages in rising order."""

    def __init__(self, document: OpenDocument, claimed: int) -> None:
        self._document = document
        self._claimed = claimed
        self._entered: set[tuple[int, int]] = set()
        self._kids_left = _KIDS_A_PAGE * claimed + _MORE_KIDS
        # None: the walk has not begun. Empty: it has ended, and finds no page any more.
        self._path: list[_Node] | None = None
        self._at = 1
        """The number of the next page that the walk meets."""

    def page(self, number: int) -> tuple[Any, dict[str, Any]] | None:
        """Return a page behind the last one that was found; None if the tree does not have it."""
        if number > self._claimed:
            return None
        if self._path is None:
            root: Any = self._document.pdf.Root["/Pages"]
            self._path = []
            # The root may be a page itself, without kids.
            if "/Kids" not in root:
                return (root, _inherit(root, {})) if number == 1 else None
            self._enter(root, {})
        while self._path:
            if (found := self._step(self._path[-1], number)) is not None:
                return found
        return None

    def _step(self, node: _Node, number: int) -> tuple[Any, dict[str, Any]] | None:
        """Go one kid further; return the page if that is the one."""
        if node.is_flat:
            # All kids are pages: the wanted one is found by its number.
            node.next = max(node.next, number - node.first)
            self._at = node.first + min(node.next, node.size)
        # Each kid that is read counts, entered or not: that bounds the walk through shared nodes.
        if node.next >= node.size or self._kids_left <= 0:
            self._leave(node)
            return None
        kid = node.kids[node.next]
        node.next += 1
        self._kids_left -= 1
        if "/Kids" not in kid:
            self._at += 1
            return (kid, _inherit(kid, node.values)) if self._at > number else None
        # It claimed to have pages only: numbers that were skipped by that are wrong.
        if node.is_flat:
            self._give_up()
        # The whole subtree lies before the wanted page: it is skipped by its own claim.
        elif (pages := _pages(kid)) is not None and self._at + pages <= number:
            self._at += pages
        else:
            self._enter(kid, node.values)
        return None

    def _enter(self, node: Any, above: dict[str, Any]) -> None:
        """Go down to a node. One that is met twice, or deeper than any real one, ends the walk."""
        assert self._path is not None
        identity = node.objgen
        if identity in self._entered or len(self._path) >= MAX_DEPTH:
            self._give_up()
            return
        # Nodes that are no objects of their own have no identity; MAX_DEPTH and the kids bound those.
        if identity != (0, 0):
            self._entered.add(identity)
        kids = node["/Kids"]
        self._path.append(_Node(kids, len(kids), _inherit(node, above), self._at, _pages(node)))

    def _leave(self, node: _Node) -> None:
        assert self._path is not None
        if self._kids_left <= 0:
            self._give_up()
            return
        self._path.pop()
        # It has another number of pages than it claimed: Ghostscript may count differently.
        if self._at - node.first != node.pages:
            self._document.warn()

    def _give_up(self) -> None:
        """End the walk if the tree does not have what it claims."""
        self._path = []


def _pages(node: Any) -> int | None:
    count = node.get("/Count")
    # type, as pikepdf returns Decimal for a number with a point.
    return count if type(count) is int and count >= 0 else None


def _inherit(node: Any, above: dict[str, Any]) -> dict[str, Any]:
    return {**above, **{key: node[key] for key in _INHERITED if key in node}}


def _box(node: Any, values: dict[str, Any], wanted: str) -> Box | None:
    try:
        x0, y0, x1, y1 = _rectangle(node, values, wanted)
        rotate = float(values.get("/Rotate", 0))
        scale = float(node.get("/UserUnit", 1))
    except Exception:  # noqa: BLE001 - pikepdf raises anything on broken input
        return None
    width, height = abs(x1 - x0) * scale, abs(y1 - y0) * scale
    if not all(map(math.isfinite, (width, height, rotate))) or rotate % 90 or scale <= 0:
        return None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    # A quarter turn exchanges the sides.
    return (height, width) if rotate % 180 else (width, height)


def _rectangle(node: Any, values: dict[str, Any], wanted: str) -> tuple[float, float, float, float]:
    """Return the corners of the wanted box: as Ghostscript does, clipped to the MediaBox.

    A page without that box has the MediaBox (pdf_main.ps, newpdf_get_any_box). Raises KeyError or
    ValueError if a box is not sound, so that Ghostscript may understand another one.
    """
    if not wanted:
        raise KeyError("no box gives pages their size")
    media = _numbers(values["/MediaBox"])
    name = _NAMES.get(wanted)
    if name is None:
        return media
    # Only /CropBox is inherited; the other boxes belong to the page (ISO 32000-1, table 30).
    own = values.get(name) if name in _INHERITED else node.get(name)
    if own is None:
        return media
    inner = _numbers(own)
    for x0, y0, x1, y1 in (media, inner):
        if not (x0 < x1 and y0 < y1):
            raise ValueError("a box with its corners the other way round")
    # Clipped: the greater lower corner, the smaller upper one.
    x0, y0, x1, y1 = (
        (max if at < 2 else min)(one, other)
        for at, (one, other) in enumerate(zip(media, inner, strict=True))
    )
    if not (x0 < x1 and y0 < y1):
        raise ValueError("the box is outside of the page")
    return x0, y0, x1, y1


def _numbers(box: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(number) for number in box)
    return x0, y0, x1, y1
