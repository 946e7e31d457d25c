"""Format text, times and sizes for output. Text from other machines is made harmless here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime

# The escape sequences need no pattern of their own: each begins with a control character.
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)
"""C0 and C1 controls, direction marks, line separators, annotation marks and tag characters.

Each of them can move the cursor, reorder a line or hide text from the reader.
"""


def clean(text: str, limit: int = 300) -> str:
    """Return one line without control characters or direction marks, of at most ``limit`` characters."""
    shown = CONTROL.sub("?", text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def duration(seconds: float) -> str:
    """Return a time as ``8s``, ``3m20s`` or ``1h05m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def clock_time(text: str) -> str:
    """Return the time of day of a journal's time, in the time zone of this machine."""
    try:
        # Times of the journal are ISO 8601 with an offset.
        return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return clean(text, 30)


def pause(since: str, until: str | None) -> str:
    """Return ``since 14:00:03, waits until 14:05:03`` for times as in the journal."""
    words = [f"since {clock_time(since)}"] if since else []
    words += [f"waits until {clock_time(until)}"] if until else []
    return ", ".join(words)


def waits_until(until: str) -> str:
    """Return ``, waits until 14:05:03``; empty if the time, as in the journal, is empty."""
    return f", {pause('', until)}" if until else ""


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the singular or plural: ``1 page``, ``2 pages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def on_pages(what: str, pages: str) -> str:
    """Return ``Helvetica (page 1)`` or ``Helvetica (pages 1-3, 7)`` for a page list."""
    return f"{what} ({'page' if pages.isdecimal() else 'pages'} {pages.replace(',', ', ')})"


def size(count_: int) -> str:
    """Return a size in bytes as ``512 B`` or ``1.3 MiB``."""
    amount = float(count_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def local_time(text: str) -> str:
    """Return a time of the journal in the time zone of this machine; another text as it is."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return clean(text, 30)


def fitted(text: str, columns: int) -> str:
    """Return as much of a line as a terminal of this width shows in one row."""
    width = 0
    for at, char in enumerate(text):
        # Wide characters take two columns, combining ones none (UAX 11).
        width += 2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char)
        if width > columns:
            return text[:at]
    return text


def page_list(pages: Iterable[int]) -> str:
    """Return sorted pages as ``1-10, 15``."""
    # The invariant: the last run is the one that the next page may extend.
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
