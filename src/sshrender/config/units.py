"""Parse and show times and sizes: ``90``, ``10m``, ``1h30m``; ``512M``, ``2G``.

No pydantic here: ``--help`` imports this module.
"""

from __future__ import annotations

import re
from pathlib import PurePath

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Several terms, as in 1h30m; the terms are added up.
_TIME = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_TERM = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_CLOCK = re.compile(r"(?:([0-9]{1,4})-)?([0-9]{1,6}):([0-5]?[0-9]):([0-5]?[0-9])")
"""``2:00:00`` and ``1-12:00:00``, as sbatch(1) and qsub(1B) read them."""

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_duration(value: object) -> float:
    """Return seconds; a bare number counts as seconds. Raises ValueError."""
    text = str(value).strip().lower()
    try:
        # A bare number is tried first: float() also reads 1e3.
        seconds = float(text)
    except ValueError:
        if _TIME.fullmatch(text) is None:
            raise ValueError("a time is written as 90, 45s, 10m or 1h30m") from None
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(text))
    # Refuses NaN and infinity, too.
    if not 0 <= seconds < 1e9:
        raise ValueError("a time must be at least 0 and less than 30 years")
    return seconds


def parse_walltime(value: object) -> float:
    """Return seconds of a time as batch systems write it, or as ``parse_duration`` reads it.

    Two parts are refused: ``2:00`` is two minutes there, and two hours for many readers.
    """
    found = _CLOCK.fullmatch(str(value).strip())
    if found is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return float(((24 * days + hours) * 60 + minutes) * 60 + seconds)
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; here also as 2:00:00") from None


def parse_size(value: object) -> int:
    """Return bytes; K, M, G and T are powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size is written as 512M or 2G")
    # As a float: the size may have a fraction, as 1.5G.
    size = float(match[1]) * 1024.0 ** _POWERS[match[2].upper()]
    # Written so that infinity, which hundreds of digits give, is refused.
    if not size < 2**62:
        raise ValueError("a size must be less than 4 million terabytes")
    return int(size)


def show_duration(seconds: float) -> str:
    """Return a time as ``parse_duration`` reads it, in the largest unit that needs no fraction."""
    # The largest unit first. 0 has no unit that fits and ends below.
    for unit, factor in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        if seconds and seconds % factor == 0:
            return f"{seconds / factor:g}{unit}"
    return f"{seconds:g}s"


def show_size(size: int) -> str:
    """Return a size as ``parse_size`` reads it, in the largest unit that needs no fraction."""
    for unit, power in sorted(_POWERS.items(), key=lambda item: -item[1]):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


def refuse_nul(value: object) -> object:
    """Return the value. Raises ValueError for a NUL byte, which no file name or argument can hold."""
    # A path is tested as well: values may be of either type by then.
    if isinstance(value, str | PurePath) and "\0" in str(value):
        raise ValueError("it contains a NUL byte")
    return value


def refuse_empty(value: object) -> object:
    """Return the value. Raises ValueError for an empty text, which is the current folder as a path."""
    if value == "":
        raise ValueError("must not be empty")
    return value


def check_word(value: str) -> str:
    """Return a name that ssh takes as one word. Raises ValueError for any other."""
    if value.startswith("-") or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("a name must not have spaces, control characters or a leading dash")
    return value
