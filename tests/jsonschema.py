"""Checks a value against the part of JSON Schema that results.schema.json uses, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KEYWORDS = {"$schema", "$defs", "$ref", "title", "description", "type", "enum", "const", "minimum"} | {
    *("properties", "required", "items", "additionalProperties", "anyOf", "allOf")
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> list[str]:
    """Return what is wrong with the value; empty if it is valid."""
    assert set(schema) <= KEYWORDS, f"unknown keywords: {set(schema) - KEYWORDS}"
    return list(_faults(value, schema, root, where or "$"))


def _faults(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[str]:
    types = schema.get("type", list(_TYPES))
    if not any(_is(value, each) for each in ([types] if isinstance(types, str) else types)):
        yield f"{where}: {value!r} is not {types}"
        return
    yield from _of_value(value, schema, where)
    all_of = list(schema.get("allOf", ()))
    if "$ref" in schema:
        all_of.append(root["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for each in all_of:
        yield from faults(value, each, root, where)
    if "anyOf" in schema:
        tried = [faults(value, each, root, where) for each in schema["anyOf"]]
        if all(tried):
            yield f"{where}: no form fits: {min(tried, key=len)}"
    if isinstance(value, dict):
        yield from _of_object(value, schema, root, where)
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            yield from faults(each, schema["items"], root, f"{where}[{number}]")


def _of_value(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        yield f"{where}: {value!r} is too small"


def _of_object(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], where: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}: {name} is missing"
    known = schema.get("properties", {})
    for name, each in value.items():
        if name in known:
            yield from faults(each, known[name], root, f"{where}.{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from faults(each, schema["additionalProperties"], root, f"{where}.{name}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
