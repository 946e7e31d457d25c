"""The fields of a message, each checked for its form: text, word, digest, number, count, list.

Every reader takes the object and the field's name, and raises ProtocolError. A number beyond its bound
is an error; a text beyond its bound is cut.
"""

from __future__ import annotations

import re
from typing import Any

from sshrender.utf8 import writable

MAX_TEXT, MAX_TEXTS = 1000, 40
"""Limits on a message's texts, in characters and in texts: more than a runner sends
(renderers/diagnostics.py), and little enough that a hostile host cannot fill the journal."""

MAX_WORD = 100
"""Characters of a version or a name."""

MAX_SECONDS = 1e9
"""Thirty years: no page takes so long, and sums of it stay finite."""

MAX_POINTS = 1e7
"""A PDF page has 14,400 units (ISO 32000-1, annex C), each of which UserUnit may enlarge."""

MAX_BYTES = 1 << 60
MAX_THREADS = 1e6
"""Linux has at most 4,194,304 process ids (proc(5), pid_max); a load of more than this is none."""

_ATTEMPT = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)
"""An epoch and a number (core/schedulerstate.py)."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""SHA-256."""


class ProtocolError(Exception):
    """The host's runner said something that is not in the protocol."""


Fields = dict[str, Any]


def text(fields: Fields, name: str, default: str | None = None, longest: int = MAX_TEXT) -> str:
    """A text, cut to its longest length, without halves of surrogate pairs."""
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is not a text")
    return writable(value[:longest])


def word(fields: Fields, name: str, default: str | None = None) -> str:
    """A version or a name."""
    return text(fields, name, default, MAX_WORD)


def attempt(fields: Fields) -> str:
    """The name of an attempt."""
    value = fields.get("attempt")
    if not isinstance(value, str) or not _ATTEMPT.fullmatch(value):
        raise ProtocolError("attempt is not the name of one")
    return value


def digest(fields: Fields, name: str, *, may_be_empty: bool = False) -> str:
    """A SHA-256 in hexadecimal digits."""
    value = fields.get(name, "" if may_be_empty else None)
    if value == "" and may_be_empty:
        return ""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ProtocolError(f"{name} is not a digest")
    return value


def number(fields: Fields, name: str, most: float, default: float | None = None) -> float:
    """A number from zero to ``most``."""
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} is not a number")
    if not 0 <= value <= most:  # false for NaN too
        raise ProtocolError(f"{name} is out of range")
    return float(value)


def count(fields: Fields, name: str, most: int, default: int | None = None) -> int:
    """A whole number from zero to ``most``. A float is none: 1e3 pages is no page's number."""
    value = fields.get(name, default)
    if type(value) is not int:
        raise ProtocolError(f"{name} is not a whole number")
    if not 0 <= value <= most:
        raise ProtocolError(f"{name} is out of range")
    return value


def capped(fields: Fields, name: str, most: int, default: int | None = None) -> int:
    """A whole number of which no more than ``most`` counts."""
    return min(count(fields, name, MAX_BYTES, default), most)


def texts(fields: Fields, name: str, longest: int = MAX_TEXT) -> tuple[str, ...]:
    """A list of texts, cut to MAX_TEXTS of them."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProtocolError(f"{name} is not a list of texts")
    return tuple(writable(item[:longest]) for item in value[:MAX_TEXTS])


def counts(fields: Fields, name: str, most: int) -> tuple[int, ...]:
    """A list of different whole numbers from zero to ``most``."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise ProtocolError(f"{name} is not a list of whole numbers")
    if not all(0 <= item <= most for item in value) or len(set(value)) < len(value):
        raise ProtocolError(f"{name} is out of range")
    return tuple(value)


def points(fields: Fields, name: str) -> tuple[float, float] | None:
    """Width and height of a page, where they are known."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ProtocolError(f"{name} is not a pair")
    pair = {"width": value[0], "height": value[1]}
    return number(pair, "width", MAX_POINTS), number(pair, "height", MAX_POINTS)
