"""Checks the fields of a message by type, range and length: text, word, digest, number, count, list.

Each function takes the object and the field's name and raises ProtocolError. A number outside its range
is an error; a text beyond its length is cut.
"""

from __future__ import annotations

import re
from typing import Any

from sshrender.utf8 import writable

MAX_TEXT, MAX_TEXTS = 1000, 40
"""Characters of a text, and texts in a list: more than a runner sends (renderers/diagnostics.py), and
few enough that a hostile host cannot fill the journal."""

MAX_WORD = 100
"""Characters of a version or a name."""

MAX_SECONDS = 1e9
"""Thirty years: no page takes that long, and sums of such numbers stay finite."""

MAX_POINTS = 1e7
"""A PDF page has 14,400 units (ISO 32000-1, annex C), each of which UserUnit may enlarge."""

# An exabyte: more than any host has, and sums of such numbers stay below 2^63.
MAX_BYTES = 1 << 60
MAX_THREADS = 1e6
"""Linux has at most 4,194,304 process ids (proc(5), pid_max); a load of a million threads is not
credible."""

_ATTEMPT = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)
"""An epoch and a number (core/schedulerstate.py)."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""SHA-256."""


class ProtocolError(Exception):
    """The host sent something that is not in the protocol."""


class NotJson(ProtocolError):
    """The line of a message is not JSON: its end may be missing."""


Fields = dict[str, Any]


def text(fields: Fields, name: str, default: str | None = None, longest: int = MAX_TEXT) -> str:
    """Return a text, cut to ``longest`` characters, without halves of surrogate pairs."""
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is not a text")
    # JSON may hold half of a surrogate pair. Such a text cannot be encoded as UTF-8 into the journal.
    return writable(value[:longest])


def word(fields: Fields, name: str, default: str | None = None) -> str:
    """Return a version or a name."""
    return text(fields, name, default, MAX_WORD)


def attempt(fields: Fields) -> str:
    """Return the name of an attempt."""
    value = fields.get("attempt")
    if not isinstance(value, str) or not _ATTEMPT.fullmatch(value):
        raise ProtocolError("attempt is not the name of an attempt")
    return value


def digest(fields: Fields, name: str, *, may_be_empty: bool = False) -> str:
    """Return a SHA-256 in hexadecimal digits."""
    # fullmatch and not match with ``$``, which would accept a newline at the end.
    value = fields.get(name, "" if may_be_empty else None)
    if value == "" and may_be_empty:
        return ""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ProtocolError(f"{name} is not a digest")
    return value


def number(fields: Fields, name: str, most: float, default: float | None = None) -> float:
    """Return a number from zero to ``most``."""
    value = fields.get(name, default)
    # bool is a subclass of int: true would pass as 1.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} is not a number")
    if not 0 <= value <= most:  # also refuses NaN, which compares false
        raise ProtocolError(f"{name} is out of range")
    return float(value)


def count(fields: Fields, name: str, most: int, default: int | None = None) -> int:
    """Return a whole number from zero to ``most``. A float is refused: 1e3 is not a page number."""
    value = fields.get(name, default)
    # type() and not isinstance(): True would pass as a page number.
    if type(value) is not int:
        raise ProtocolError(f"{name} is not a whole number")
    if not 0 <= value <= most:
        raise ProtocolError(f"{name} is out of range")
    return value


def capped(fields: Fields, name: str, most: int, default: int | None = None) -> int:
    """Return a whole number, reduced to ``most`` if it is larger."""
    return min(count(fields, name, MAX_BYTES, default), most)


def texts(fields: Fields, name: str, longest: int = MAX_TEXT) -> tuple[str, ...]:
    """Return the first MAX_TEXTS texts of a list."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        # Cut, not refused: a page that is badly broken has many diagnostics, and long ones.
        raise ProtocolError(f"{name} is not a list of texts")
    return tuple(writable(item[:longest]) for item in value[:MAX_TEXTS])


def counts(fields: Fields, name: str, most: int) -> tuple[int, ...]:
    """Return a list of different whole numbers from zero to ``most``."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise ProtocolError(f"{name} is not a list of whole numbers")
    # A number that occurs twice is a contradiction, such as one recipe missing for two reasons.
    if not all(0 <= item <= most for item in value) or len(set(value)) < len(value):
        raise ProtocolError(f"{name} is out of range")
    return tuple(value)


def points(fields: Fields, name: str) -> tuple[float, float] | None:
    """Return width and height of a page; None if they are not known."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ProtocolError(f"{name} is not a pair")
    # A pair has no names on the wire; these serve the error message.
    pair = {"width": value[0], "height": value[1]}
    return number(pair, "width", MAX_POINTS), number(pair, "height", MAX_POINTS)
