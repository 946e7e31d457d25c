"""Each page's size in points, as the document says: what a picture's dimensions are proved against.

Read page by page from the tree. A page of which nothing sound is said has no size here, and is then
held to what Ghostscript says of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypdf import PdfReader

Box = tuple[float, float]
_logger = logging.getLogger("pypdf")  # where document/complaints.py listens
_INHERITED = ("/MediaBox", "/Rotate", "/Resources")
_FORGET_AFTER = 1000
"""Pages after which pypdf forgets what it has read: it would keep all of a large document."""

MAX_DEPTH = 64


def walk(reader: PdfReader) -> Iterator[Box | None]:
    """Every page's (width, height) in order; None for a page of which the document does not say it.

    Ends early where the page tree is broken, with whatever pypdf raises.
    """
    for node, values in leaves(reader):
        yield _box(values, node.get("/UserUnit", 1))


def leaves(reader: PdfReader) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every page in order, and what it has or inherits of _INHERITED, Ends as walk does."""
    catalog: Any = reader.trailer["/Root"]
    above = getattr(catalog.raw_get("/Pages"), "idnum", 0)
    for number, leaf in enumerate(_walk(catalog["/Pages"], {}, (above,)), 1):
        yield leaf
        if number % _FORGET_AFTER == 0:
            reader.resolved_objects.clear()


def _walk(
    node: Any, inherited: dict[str, Any], above: tuple[int, ...]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Leaves in order. A loop, or a tree deeper than any real one, ends that branch."""
    values = {**inherited, **{key: node.raw_get(key) for key in _INHERITED if key in node}}
    if "/Kids" not in node:
        yield node, values
        return
    for kid in node["/Kids"]:
        number = getattr(kid, "idnum", 0)
        if number in above or len(above) >= MAX_DEPTH:
            _logger.warning("a branch of the page tree leads nowhere")
        else:
            yield from _walk(kid.get_object(), values, (*above, number))


def _box(values: dict[str, Any], unit: Any) -> Box | None:
    try:
        x0, y0, x1, y1 = (float(number) for number in values["/MediaBox"].get_object())
        rotate = float(values["/Rotate"].get_object()) if "/Rotate" in values else 0.0
        scale = float(unit)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    width, height = abs(x1 - x0) * scale, abs(y1 - y0) * scale
    if width <= 0 or height <= 0 or rotate % 90 or scale <= 0:
        return None
    return (height, width) if rotate % 180 else (width, height)
