"""Check the values of a journal's fields: type, range and length.

Every user who may write into a job's folder may write its journal, and commands of other users read it.
The annotation of a field of an entry (journalentries.py) names one of these checks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from sshrender.utf8 import writable

MAX_PAGE = 10_000_000
"""Page numbers and counts of pages, attempts or hosts beyond this are damage."""

MAX_BYTES = 1 << 62
MAX_SECONDS = 1e12
MAX_TEXT = 64 * 1024
"""Characters of one text. The longest that sshrender writes is a path (PATH_MAX is 4096)."""

MAX_ITEMS = 10_000
"""Items of one list or object: a run names each host of its inventory."""

MAX_DEPTH = 4
"""Levels of lists and objects in a value that has no check of its own."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = "1970", "9998"
"""Every time zone has these moments as dates that datetime can hold."""


class Damaged(ValueError):
    """A value that sshrender does not write."""


Check = Callable[[Any], Any]
"""Returns the value of a field as readers get it. Raises Damaged."""


def check_text(value: Any) -> str:
    """Return a text of at most MAX_TEXT characters. Raises Damaged."""
    if type(value) is not str or len(value) > MAX_TEXT:
        raise Damaged
    return value


def check_file_name(value: Any) -> str:
    """Return the name of a file in the job's pages/: never a path that leads out of it.

    Raises Damaged.
    """
    name = check_text(value)
    if "/" in name or "\0" in name or name.startswith("."):
        raise Damaged
    return name


def check_flag(value: Any) -> bool:
    """Return a bool. Raises Damaged."""
    if type(value) is not bool:
        raise Damaged
    return value


def _whole(highest: int) -> Check:
    def check(value: Any) -> int:
        # A bool is an int for isinstance, and True is not a page.
        if type(value) is not int or not 0 <= value <= highest:
            raise Damaged
        return value

    return check


check_count = _whole(MAX_PAGE)
check_bytes = _whole(MAX_BYTES)


def check_number(value: Any) -> float:
    """Return a number that is finite and not negative. Raises Damaged."""
    # NaN fails the comparison; infinity is above MAX_SECONDS.
    if type(value) not in (int, float) or not 0 <= value <= MAX_SECONDS:
        raise Damaged
    number: float = value
    return number


def check_texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts. Raises Damaged."""
    if type(value) is not list or len(value) > MAX_ITEMS:
        raise Damaged
    return tuple(check_text(item) for item in value)


_PAGE_LIST = re.compile(r"\d{1,8}(-\d{1,8})?(,\d{1,8}(-\d{1,8})?)*", re.ASCII)


def check_fonts(value: Any) -> dict[str, str]:
    """Return fonts, each with a canonical page list (document/pagelist.py). Raises Damaged."""
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    found = {check_text(key): check_text(item) for key, item in value.items()}
    if not all(_PAGE_LIST.fullmatch(pages) for pages in found.values()):
        raise Damaged
    return found


def check_loads(value: Any) -> dict[str, tuple[float, float]]:
    """Return two loads for each host. Raises Damaged."""
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    found = {}
    for host, pair in value.items():
        if type(pair) is not list or len(pair) != 2:
            raise Damaged
        found[check_text(host)] = check_number(pair[0]), check_number(pair[1])
    return found


def check_changes(value: Any) -> dict[str, Any]:
    """Return attributes to change (requests.py checked them when they came in). Raises Damaged."""
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    found: dict[str, Any] = check_plain(value)
    return found


def check_time(value: Any) -> str:
    """Return a time as ``timestamp`` writes it, within the years that every time zone can show.

    Raises Damaged.
    """
    text = check_text(value)
    # Texts of this form compare like times.
    if _TIME.fullmatch(text) is None or not _FIRST_YEAR <= text < _LAST_YEAR:
        raise Damaged
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Damaged from None
    return text


def check_plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value within bounds, with a question mark for what in its texts is not UTF-8.

    Raises Damaged.
    """
    match value:
        case str():
            return writable(check_text(value))
        # bool before int: True matches int() too.
        case bool() | None:
            return value
        case int() if -MAX_BYTES <= value <= MAX_BYTES:
            return value
        case float() if math.isfinite(value):
            return value
        case list() if depth and len(value) <= MAX_ITEMS:
            return [check_plain(item, depth - 1) for item in value]
        case dict() if depth and len(value) <= MAX_ITEMS:
            return {check_plain(key): check_plain(item, depth - 1) for key, item in value.items()}
        case _:
            raise Damaged


Text = Annotated[str, check_text]
Texts = Annotated[tuple[str, ...], check_texts]
FileName = Annotated[str, check_file_name]
Flag = Annotated[bool, check_flag]
Count = Annotated[int, check_count]
Bytes = Annotated[int, check_bytes]
Number = Annotated[float, check_number]
Fonts = Annotated[Mapping[str, str], check_fonts]
Loads = Annotated[Mapping[str, tuple[float, float]], check_loads]
Changes = Annotated[Mapping[str, Any], check_changes]
