"""Read the entries of a journal from lines, and write them as lines.

``parse_line`` is the only way in. It never raises, whatever a line holds. What it returns has only
values of the types, ranges and lengths that the annotations of the entries state (journalentries.py).
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from sshrender.job.journal.journalchecks import (
    MAX_ITEMS,
    Check,
    Damaged,
    check_bytes,
    check_count,
    check_plain,
    check_text,
    check_texts,
    check_time,
)
from sshrender.job.journal.journalentries import TYPES, JournalEntry, UnknownEntry

SCHEMA = 2
"""Version of the format. Version 1 had other names for entries and fields, and is refused."""

E = TypeVar("E", bound=JournalEntry)

_IN_UNKNOWN: Mapping[str, Check] = {
    "page": check_count,
    "host": check_text,
    "hosts": check_texts,
    "attempt": check_text,
    "reason": check_text,
    "diagnostics": check_texts,
}
"""Fields that are checked also in entries of unknown types: ``why`` selects entries by them."""


class _Field(NamedTuple):
    check: Check
    is_required: bool


_FIELDS: dict[type[JournalEntry], Mapping[str, _Field]] = {}
"""The results of ``fields_of``: evaluating annotations takes longer than parsing a line."""


def fields_of(kind: type[JournalEntry]) -> Mapping[str, _Field]:
    """Return each field of a type of entries with its check, but ``time``, which all types have."""
    if kind not in _FIELDS:
        hints = typing.get_type_hints(kind, include_extras=True)
        _FIELDS[kind] = {
            each.name: _Field(hints[each.name].__metadata__[0], _is_required(kind, each))
            for each in dataclasses.fields(kind)
            # ``time`` is checked in parse(), for all types alike.
            if each.name != "time"
        }
    return _FIELDS[kind]


def _is_required(kind: type[JournalEntry], each: dataclasses.Field[Any]) -> bool:
    has_default = (
        each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
    )
    return not has_default or each.name in kind.required


def parse_line(line: bytes) -> JournalEntry | None:
    """Return the entry of a line: an UnknownEntry for an unknown type, None for a damaged line."""
    try:
        return parse(_decode(line))
    # RecursionError: a line of thousands of brackets.
    except (ValueError, RecursionError):
        return None


def schema_of(line: bytes) -> int | None:
    """Return the schema that a line states; None for a line that is not an object with one."""
    try:
        fields = _decode(line)
    except (ValueError, RecursionError):
        return None
    schema = fields.get("schema") if type(fields) is dict else None
    return schema if type(schema) is int else None


def _decode(line: bytes) -> Any:
    """Parse a line of JSON. Raises ValueError or RecursionError."""
    # Decoded here, because json.loads would guess at UTF-16 and let surrogates pass in bytes.
    fields = json.loads(line.decode())
    # An escaped lone surrogate is valid JSON, but no text that a stream or a file could hold.
    return check_plain(fields) if b"\\ud" in line or b"\\uD" in line else fields


def parse(fields: Any) -> JournalEntry:
    """Return the entry of a decoded line. Raises Damaged."""
    # The schema first: fields of another version may have the same names and other meanings.
    if type(fields) is not dict or fields.get("schema") != SCHEMA or len(fields) > MAX_ITEMS:
        raise Damaged
    name, time = check_text(fields.get("type")), check_time(fields.get("time"))
    kind = TYPES.get(name)
    if kind is None:
        return _unknown(name, time, fields)
    found: dict[str, Any] = {"time": time}
    for key, known in fields_of(kind).items():
        try:
            # KeyError: the field is missing. With a default, a damaged field counts as missing.
            found[key] = known.check(fields[key])
        except (KeyError, Damaged):
            if known.is_required:
                raise Damaged from None
    return kind(**found)


def _unknown(name: str, time: str, fields: dict[str, Any]) -> UnknownEntry:
    found, epoch = {}, None
    for key, value in fields.items():
        try:
            if key == "epoch":
                epoch = check_bytes(value)
            elif key not in ("schema", "time", "type"):
                found[check_text(key)] = _IN_UNKNOWN.get(key, check_plain)(value)
        except Damaged:
            continue
    return UnknownEntry(time=time, epoch=epoch, name=name, fields=found)


# Writing


def timestamp(seconds: float) -> str:
    """Return wall-clock seconds as ``2026-01-31T12:00:00.123Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    # Six characters are the offset, +00:00.
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def stamped(entry: E, seconds: float, epoch: int | None = None) -> E:
    """Return an entry with its time, from wall-clock seconds, and the epoch of its writer."""
    return dataclasses.replace(entry, time=timestamp(seconds), epoch=epoch)


def as_fields(entry: JournalEntry) -> dict[str, Any]:
    """Return an entry as JSON, as it is in the file. An optional field that is empty is left out."""
    if isinstance(entry, UnknownEntry):
        found = {"schema": SCHEMA, "time": entry.time, "type": entry.name}
        found |= {} if entry.epoch is None else {"epoch": entry.epoch}
        return {**found, **entry.fields}
    found = {"schema": SCHEMA, "time": entry.time, "type": entry.type}
    for name, known in fields_of(type(entry)).items():
        value = getattr(entry, name)
        # A default that is not empty is written, too.
        if known.is_required or not (value is None or value in ("", (), {})):
            found[name] = value
    return found


def as_line(entry: JournalEntry) -> bytes:
    """Return an entry as a line of the file. JSON in ASCII: every text can be written."""
    return json.dumps(as_fields(entry)).encode() + b"\n"
