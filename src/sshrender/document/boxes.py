"""Read each page's size in points from the page tree: a page image's dimensions are verified against it.

A page for which the tree has no sound size has none here, and is held to the size that Ghostscript
reports.

A file of a few kilobytes can hold a tree of 10 ** 14 leaves, by nodes that share their kids. The walk
therefore ends after one page more than the document claims to have, enters no node twice, and visits a
bounded number of kids, as a tree may also have no leaf at all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pypdf import PdfReader

Box = tuple[float, float]
_logger = logging.getLogger("pypdf")  # where document/pdfwarnings.py listens
_INHERITED = ("/MediaBox", "/CropBox", "/Rotate", "/Resources")
_NAMES = {"crop": "/CropBox", "bleed": "/BleedBox", "trim": "/TrimBox", "art": "/ArtBox"}
_FORGET_AFTER = 1000
"""Pages after which pypdf forgets what it has read: it would keep all of a large document."""

MAX_DEPTH = 64

MAX_SIDE = 1e9
"""Points. ISO 32000-1, annex C: 14,400 units of at most 75,000 points."""

_KIDS_A_PAGE, _MORE_KIDS = 4, 1000
"""A tree whose nodes all have two kids has twice as many kids as pages."""


def walk(reader: PdfReader, claimed: int, box: str = "media") -> Iterator[Box | None]:
    """Yield every page's (width, height) in order; None where the document does not say it.

    ``box``: which of the page's boxes counts; empty: none does. Ends as ``leaves`` does.
    """
    for node, values in leaves(reader, claimed):
        yield _box(node, values, box)


def leaves(reader: PdfReader, claimed: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield every page in order, with what it has or inherits of _INHERITED.

    Ends with a warning after ``claimed`` pages when there are more, and early where the page tree is
    broken, with whatever pypdf raises.
    """
    for number, leaf in enumerate(_Walk(claimed).leaves(reader), 1):
        if number > claimed:
            _logger.warning("the page tree has more pages than it claims")
            return
        yield leaf
        if number % _FORGET_AFTER == 0:
            reader.resolved_objects.clear()


class _Node(NamedTuple):
    """One node on the path from the root: its kids that are left, and what they inherit."""

    kids: Iterator[Any]
    values: dict[str, Any]


class _Walk:
    def __init__(self, claimed: int) -> None:
        self._entered: set[int] = set()
        self._kids_left = _KIDS_A_PAGE * claimed + _MORE_KIDS

    def leaves(self, reader: PdfReader) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the leaves in order. A node met twice, or deeper than any real one, ends its branch."""
        catalog: Any = reader.trailer["/Root"]
        root = catalog["/Pages"]
        values = _inherit(root, {})
        if "/Kids" not in root:
            yield root, values
            return
        self._entered.add(getattr(catalog.raw_get("/Pages"), "idnum", 0))
        path = [_Node(iter(root["/Kids"]), values)]
        while path:
            kid = next(path[-1].kids, None)
            if kid is None:
                path.pop()
                continue
            node, values = kid.get_object(), path[-1].values
            if not self._may_look():
                return
            values = _inherit(node, values)
            if "/Kids" not in node:
                yield node, values
            elif self._may_enter(kid, len(path)):
                path.append(_Node(iter(node["/Kids"]), values))

    def _may_look(self) -> bool:
        self._kids_left -= 1
        if self._kids_left < 0:
            _logger.warning("the page tree has more nodes than its pages need")
        return self._kids_left >= 0

    def _may_enter(self, kid: Any, depth: int) -> bool:
        number = getattr(kid, "idnum", 0)
        if number in self._entered or depth >= MAX_DEPTH:
            _logger.warning("a node of the page tree has no pages")
            return False
        if number:
            self._entered.add(number)
        return True


def _inherit(node: Any, above: dict[str, Any]) -> dict[str, Any]:
    return {**above, **{key: node.raw_get(key) for key in _INHERITED if key in node}}


def _box(node: Any, values: dict[str, Any], wanted: str) -> Box | None:
    try:
        x0, y0, x1, y1 = _rectangle(node, values, wanted)
        rotate = float(values["/Rotate"].get_object()) if "/Rotate" in values else 0.0
        scale = float(node.get("/UserUnit", 1))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    width, height = abs(x1 - x0) * scale, abs(y1 - y0) * scale
    if not all(map(math.isfinite, (width, height, rotate))) or rotate % 90 or scale <= 0:
        return None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    return (height, width) if rotate % 180 else (width, height)


def _rectangle(node: Any, values: dict[str, Any], wanted: str) -> tuple[float, float, float, float]:
    """Return the corners of the wanted box: as Ghostscript does, clipped to the MediaBox.

    A page without that box has the MediaBox (pdf_main.ps, newpdf_get_any_box). Raises KeyError or
    ValueError where a box is not sound, so that Ghostscript may understand another one.
    """
    if not wanted:
        raise KeyError("no box gives pages their size")
    media = _numbers(values["/MediaBox"])
    name = _NAMES.get(wanted)
    own = values.get(name) if name in _INHERITED else node.get(name)
    if name is None or own is None:
        return media
    inner = _numbers(own)
    for x0, y0, x1, y1 in (media, inner):
        if not (x0 < x1 and y0 < y1):
            raise ValueError("a box with its corners the other way round")
    x0, y0, x1, y1 = (
        (max if at < 2 else min)(one, other)
        for at, (one, other) in enumerate(zip(media, inner, strict=True))
    )
    if not (x0 < x1 and y0 < y1):
        raise ValueError("the box is outside of the page")
    return x0, y0, x1, y1


def _numbers(box: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(number) for number in box.get_object())
    return x0, y0, x1, y1
