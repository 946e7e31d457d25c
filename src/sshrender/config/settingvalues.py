"""Parse and check the values of single settings. Each function raises ValueError with a sentence.

Imports little, as declaration.py does: what only a check needs is imported inside it.
"""

from __future__ import annotations

import shlex
from typing import Any

MAX_PART_PAGES = 10**7
"""Pages of a part below which ``--split`` must stay."""


MAX_DPI = 14400
"""Dots per inch: a device is 200 inches wide at 1,048,576 pixels, the most that a page may have."""


def resolution(value: Any) -> float | str:
    """Return a resolution as a number, or as ``204x98`` if both directions differ."""
    across, down = resolutions(value)
    return across if across == down else f"{across:g}x{down:g}"


_RESOLUTION = f"must be a number, or two such as 204x98, more than 0 and at most {MAX_DPI}"


def resolutions(value: Any) -> tuple[float, float]:
    """Return the horizontal and the vertical resolution in dots per inch."""
    # One direction or two, in either case of the letter.
    first, cross, second = str(value).lower().partition("x")
    try:
        across, down = float(first), float(second if cross else first)
    except ValueError:
        raise ValueError(_RESOLUTION) from None
    # True is 1.0 for float(). NaN is refused, because it compares false.
    if isinstance(value, bool) or not all(0 < each <= MAX_DPI for each in (across, down)):
        raise ValueError(_RESOLUTION)
    return across, down


def page_size(text: str | None) -> str | None:
    """Return a page size whose form is right; how many pixels it has depends on the resolution."""
    from sshrender.config import pagesizes

    if text is not None:
        pagesizes.parse(text)
    return text


def ghostscript_switches(value: Any) -> tuple[str, ...]:
    """Return switches; a text (a variable) holds several with spaces between, quoted as in a shell."""
    from sshrender.renderers import switches

    # A variable holds one text; shlex splits it as a shell would, and raises ValueError for an open
    # quote.
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be texts such as -dNAME=VALUE")
    # All wrong switches at once.
    problems = [problem for word in words if (problem := switches.problem_of(word))]
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(words)


_USUAL_DEVICES = {
    "jpg": "jpeg",
    "pbm": "pbmraw",
    "pgm": "pgmraw",
    "png": "png16m",
    "ppm": "ppmraw",
    "tif": "tiff24nc",
    "tiff": "tiff24nc",
}
"""For the name of a format, the device that is used most for it."""


def known_device(name: str) -> str:
    """Return the name of a raster device that writes one file for each page."""
    from sshrender.renderers.devices import DEVICES, nearest

    if name not in DEVICES:
        usual = _USUAL_DEVICES.get(name.lower())
        near = [usual] if usual is not None else nearest(name)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"must be a raster device that writes one file per page{hint}")
    return name


def part_size(value: Any) -> str:
    """Return ``none``, ``auto`` or a number of pages, as text."""
    text = str(value)
    # isdecimal(): isdigit() is true for digits that int() does not read.
    if text in ("none", "auto") or (text.isdecimal() and 0 < int(text) < MAX_PART_PAGES):
        return text
    raise ValueError("must be none, auto or a number of pages")


def pins(value: Any) -> tuple[str, ...]:
    """Return pins as texts; a text (a variable) holds several with spaces between."""
    from sshrender.config import pins as grammar

    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be texts such as 7=node3")
    # Parsed for its errors only: pins are kept as texts, because jobs store them so.
    for word in words:
        grammar.parse(word)
    return tuple(words)


def command_words(value: Any) -> Any:
    """Return a command's words; a text is split as a shell would split it."""
    return tuple(shlex.split(value)) if isinstance(value, str) else value


def names(value: Any) -> Any:
    """Return names; a text holds several with commas or spaces between."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def mail_addresses(value: str | None) -> str | None:
    """Return the addresses in ASCII, as a message holds them."""
    from sshrender.config.mailaddresses import in_ascii

    found = None if value is None else in_ascii(value)
    if value is not None and found is None:
        raise ValueError("must be an address such as ann@example.org, or several with commas between")
    # An address in ASCII stays as the user typed it.
    return value if value is None or value.isascii() else found


def page_list(text: str | None) -> str | None:
    """Return a page list whose grammar is right; which pages there are is not known here."""
    from sshrender.document import pagelist
    from sshrender.errors import UserError

    if text is not None:
        # The grammar alone: how many pages there are is known when the document has been read.
        try:
            pagelist.check(text)
        except UserError as error:
            raise ValueError(error.what) from None
    return text
