"""Parse a page size, as in ``--size A4``, ``210x297mm`` or ``1240x1754px``, and convert it to pixels."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

_ISO = {"A": (841, 1189), "B": (1000, 1414), "C": (917, 1297)}
"""Millimetres of A0, B0 and C0 (ISO 216, ISO 269); each further number halves the longer side."""

_INCHES = {
    "letter": (8.5, 11),
    "legal": (8.5, 14),
    # Ledger is tabloid in landscape.
    "tabloid": (11, 17),
    "ledger": (17, 11),
    "executive": (7.25, 10.5),
}
_UNITS = {"mm": 25.4, "cm": 2.54, "in": 1, "pt": 72}
"""Each unit's number in an inch."""

_FORM = re.compile(r"(\d{1,6}(?:\.\d{1,4})?)x(\d{1,6}(?:\.\d{1,4})?)(mm|cm|in|pt|px)")

MAX_PIXELS = 65_000
"""Pixels of a side: libjpeg makes no larger images (JPEG_MAX_DIMENSION, 65,500)."""


class PageSize(NamedTuple):
    """Width and height in ``unit``: px, or one of length."""

    width: float
    height: float
    unit: str


def parse(text: str) -> PageSize:
    """Return the size. Raises ValueError for another form or an unknown name."""
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        # Not in lower case: names of the ISO series are compared in their own way.
        return _named(text.strip())
    found = PageSize(float(match.group(1)), float(match.group(2)), match.group(3))
    if min(found.width, found.height) <= 0:
        raise ValueError("width and height must be more than 0")
    if found.unit == "px" and not (found.width.is_integer() and found.height.is_integer()):
        raise ValueError("pixels are whole numbers")
    return found


def pixels(text: str, dpi: tuple[float, float]) -> tuple[int, int]:
    """Return width and height in pixels at this resolution, to the nearest. Raises ValueError."""
    size = parse(text)
    if size.unit == "px":
        found = (int(size.width), int(size.height))
    else:
        across, down = (each / _UNITS[size.unit] for each in (size.width, size.height))
        # To the nearest pixel.
        found = (round(across * dpi[0]), round(down * dpi[1]))
    if not all(1 <= side <= MAX_PIXELS for side in found):
        raise ValueError(f"that is {found[0]} x {found[1]} pixels; 1 to {MAX_PIXELS} each are possible")
    return found


def _named(name: str) -> PageSize:
    series = re.fullmatch(r"([ABCabc])(10|\d)", name)
    if series is not None:
        width, height = _ISO[series.group(1).upper()]
        for _ in range(int(series.group(2))):
            # ISO 216 rounds down to whole millimetres.
            width, height = height // 2, width
        return PageSize(width, height, "mm")
    if name.lower() in _INCHES:
        return PageSize(*_INCHES[name.lower()], "in")
    known = [f"{letter}{number}" for letter in _ISO for number in range(11)] + list(_INCHES)
    # Once in capitals, for A4, and once in small letters, for letter.
    near = difflib.get_close_matches(name.upper(), known, n=1) or difflib.get_close_matches(
        name.lower(), known, n=1
    )
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"must be a name such as A4 or letter, 210x297mm or 1240x1754px{hint}")
