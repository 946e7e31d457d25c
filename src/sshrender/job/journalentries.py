"""The entries of a journal that this version knows: for each type its fields, and what each may hold.

``checked`` is the one door: what it answers has every field that the replays index, of the type and
within the bounds that they rely on. Anybody who may write a job's folder may write its journal, and
other users' commands read it. The table is the documentation of the format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sshrender.utf8 import writable

SCHEMA = 1

MAX_PAGE = 10_000_000
"""Page numbers and counts of pages, attempts or hosts beyond this are damage."""

MAX_BYTES = 1 << 62
MAX_SECONDS = 1e12
MAX_TEXT = 64 * 1024
"""Characters of one text. The longest that sshrender writes is a path (PATH_MAX is 4096)."""

MAX_ITEMS = 10_000
"""Items of one list or object: a run names each host of its inventory."""

MAX_DEPTH = 4

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = "1970", "9998"
"""Every time zone has these moments as dates that datetime can hold."""


class Damaged(ValueError):
    """Not what sshrender writes."""


Check = Callable[[Any], Any]
"""Answers the value as the replays get it. Raises Damaged."""


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > MAX_TEXT:
        raise Damaged
    return value


def _name_of_file(value: Any) -> str:
    """A file in the job's pages/: never a path that leads out of it."""
    name = _text(value)
    if "/" in name or "\0" in name or name.startswith("."):
        raise Damaged
    return name


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Damaged
    return value


def _whole(highest: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= highest:
            raise Damaged
        return value

    return check


def _number(value: Any) -> float:
    """Finite, and no bool, which Python takes for an int. Whole ones stay int, as written."""
    if type(value) not in (int, float) or not 0 <= value <= MAX_SECONDS:
        raise Damaged
    number: float = value
    return number


def _texts(value: Any) -> list[str]:
    if type(value) is not list or len(value) > MAX_ITEMS:
        raise Damaged
    return [_text(item) for item in value]


def _words(value: Any) -> dict[str, str]:
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    return {_text(key): _text(item) for key, item in value.items()}


_PAGE_LIST = re.compile(r"\d{1,8}(-\d{1,8})?(,\d{1,8}(-\d{1,8})?)*", re.ASCII)


def _fonts(value: Any) -> dict[str, str]:
    """Fonts, each with a canonical page list (document/pagelist.py)."""
    found = _words(value)
    if not all(_PAGE_LIST.fullmatch(pages) for pages in found.values()):
        raise Damaged
    return found


def _loads(value: Any) -> dict[str, list[float]]:
    """Threads per core by host: other people's and our own."""
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    for pair in value.values():
        if type(pair) is not list or len(pair) != 2:
            raise Damaged
    return {_text(key): [_number(load) for load in pair] for key, pair in value.items()}


def _changes(value: Any) -> dict[str, Any]:
    """Attributes to be altered (job/requests.py has checked them when they were asked for)."""
    if type(value) is not dict or len(value) > MAX_ITEMS:
        raise Damaged
    found: dict[str, Any] = _plain(value)
    return found


class Field(NamedTuple):
    """A damaged field is left out; where replays index it (``is_needed``) the entry is damaged."""

    check: Check
    is_needed: bool = True


_COUNT = _whole(MAX_PAGE)
_BYTES = _whole(MAX_BYTES)
_PAGE, _HOST, _ATTEMPT = Field(_COUNT), Field(_text), Field(_text)
_REASON, _KIND = Field(_text), Field(_text)
_OPTIONAL = Field(_text, is_needed=False)
_OF_ATTEMPT = {"page": _PAGE, "host": _HOST, "attempt": _ATTEMPT}

TYPES: Mapping[str, Mapping[str, Field]] = {
    "run_started": {
        "epoch": Field(_BYTES),
        "coordinator": _OPTIONAL,
        "output": _OPTIONAL,
        "pages": Field(_COUNT, is_needed=False),
        "hosts": Field(_texts, is_needed=False),
    },
    "run_ended": {"state": Field(_text), "reason": _REASON},
    "host_greeted": {
        "host": _HOST,
        "cores": Field(_COUNT),
        "slots": Field(_COUNT, is_needed=False),
        "memory": Field(_BYTES, is_needed=False),
        "others": Field(_number, is_needed=False),
        "ghostscript": Field(_text),
        "python": Field(_text),
        "boot_id": _OPTIONAL,
        "canary": _OPTIONAL,
        "fonts": _OPTIONAL,
    },
    "host_state": {"host": _HOST, "state": Field(_text), "reason": _REASON},
    "hosts_sampled": {"loads": Field(_loads)},
    "page_sent": {**_OF_ATTEMPT, "because": _OPTIONAL},
    "page_returned": {**_OF_ATTEMPT, "reason": _REASON},
    "attempt_dropped": {**_OF_ATTEMPT, "reason": _REASON, "is_hedged": Field(_flag)},
    "attempt_failed": {**_OF_ATTEMPT, "kind": _KIND, "reason": _REASON},
    "page_delivered": {
        "page": _PAGE,
        "host": _HOST,
        "attempt": _OPTIONAL,
        "file": Field(_name_of_file),
        "bytes": Field(_BYTES),
        "sha256": Field(_text),
        "width": Field(_COUNT),
        "height": Field(_COUNT),
        "ghostscript": Field(_text),
        "renderer": _OPTIONAL,
        "seconds": Field(_number),
        "cpu": Field(_number, is_needed=False),
        "attempts": Field(_COUNT),
        "said": Field(_texts),
    },
    "page_withdrawn": {"page": _PAGE, "host": _HOST, "reason": _REASON},
    "page_suspected": {"page": _PAGE, "said": Field(_texts)},
    "page_failed": {
        "page": _PAGE,
        "kind": _KIND,
        "reason": _REASON,
        "attempts": Field(_COUNT),
        "hosts": Field(_texts),
    },
    "page_fell_back": {"page": _PAGE, "to": Field(_text), "reason": _REASON},
    "document_noted": {"host": _OPTIONAL, "said": Field(_texts)},
    "fonts_missing": {"fonts": Field(_fonts)},
    "picture_ruled": {
        "agreed": Field(_COUNT),
        "ghostscript": Field(_text),
        "canary": Field(_text),
        "fonts": Field(_text),
    },
    "storage_failed": {"reason": _REASON},
    "storage_recovered": {},
    "split_failed": {"reason": _REASON},
    "folder_not_synced": {"reason": _REASON},
    "thumbnails_lost": {"count": Field(_COUNT), "reason": _REASON},
    "requests_refused": {"count": Field(_COUNT)},
    "requested": {
        "op": Field(_text),
        "by": Field(_text),
        "host": _HOST,
        "page": _PAGE,
        "note": Field(_text),
        "is_late": Field(_flag),
        "changes": Field(_changes, is_needed=False),
    },
}
"""Every type that the coordinator writes. A field that is not listed is kept where nothing reads it."""

_ANYWHERE = {
    "epoch": _BYTES,
    "page": _COUNT,
    "host": _text,
    "hosts": _texts,
    "attempt": _text,
    "reason": _text,
    "said": _texts,
}
"""Fields of a type that is not known here, which replays look at whatever the type."""


def checked(fields: Any) -> dict[str, Any]:
    """An entry of this schema as the replays get it. Raises Damaged."""
    if type(fields) is not dict or fields.get("schema") != SCHEMA or len(fields) > MAX_ITEMS:
        raise Damaged
    kind, moment = _text(fields.get("type")), _moment(fields.get("time"))
    known = TYPES.get(kind)
    found = {"schema": SCHEMA, "time": moment, "type": kind}
    if known is None:
        rest = {key: value for key, value in fields.items() if key not in found}
        return {**found, **{key: item for key, item in rest.items() if _is_sound(key, item)}}
    for name, value in fields.items():
        if name in known:
            _take(found, name, value, known[name])
        elif name not in found and _is_sound(name, value):
            found[name] = value
    if any(field.is_needed and name not in found for name, field in known.items()):
        raise Damaged
    return found


def without_surrogates(fields: Any) -> Any:
    """The same JSON value, with a question mark for what in its texts is no UTF-8. Raises Damaged."""
    return _plain(fields)


def _take(found: dict[str, Any], name: str, value: Any, field: Field) -> None:
    try:
        found[name] = field.check(value)
    except Damaged:
        if field.is_needed:
            raise


def _moment(value: Any) -> str:
    """As job/journal.py writes it, within the years that every time zone can show."""
    text = _text(value)
    if _TIME.fullmatch(text) is None or not _FIRST_YEAR <= text < _LAST_YEAR:
        raise Damaged
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Damaged from None
    return text


def _is_sound(name: str, value: Any) -> bool:
    """Whether a field that no replay of this version reads may be kept."""
    try:
        _ANYWHERE.get(_text(name), _plain)(value)
    except Damaged:
        return False
    return True


def _plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    match value:
        case str():
            return writable(_text(value))
        case bool() | None:
            return value
        case int() if -MAX_BYTES <= value <= MAX_BYTES:
            return value
        case float() if math.isfinite(value):
            return value
        case list() if depth and len(value) <= MAX_ITEMS:
            return [_plain(item, depth - 1) for item in value]
        case dict() if depth and len(value) <= MAX_ITEMS:
            return {_plain(key): _plain(item, depth - 1) for key, item in value.items()}
        case _:
            raise Damaged
