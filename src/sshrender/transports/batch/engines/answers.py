"""Reads the XML and JSON of engines, which hold text of any user. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from sshrender.transports.batch.engines.interface import EngineUnavailable, clean


def xml_of(text: str) -> ET.Element:
    """Return the tree. Raises EngineUnavailable if it is not XML: that is not a state of a job.

    TORQUE prints control characters of a job's variables as they are, which XML forbids.
    """
    if "<!" in text:  # an engine prints no document type, and an entity may expand to gigabytes
        raise EngineUnavailable("its answer is not plain XML")
    try:
        # TORQUE prints nothing at all when the server has no job, which is an answer and no error.
        return ET.fromstring(clean(text) or "<Data/>")
    except ET.ParseError as error:
        raise EngineUnavailable(f"its answer is no XML: {error}") from None


def text_of(element: ET.Element, name: str) -> str:
    """Return the text of a part of an element; empty if it has none."""
    return clean(element.findtext(name) or "")


def json_of(text: str, empty: str) -> Any:
    """Return the value; ``empty`` stands for no text. Raises EngineUnavailable if it is not JSON."""
    try:
        return json.loads(text.strip() or empty)
    except (ValueError, RecursionError):
        raise EngineUnavailable("its answer is no JSON") from None


def field_of(fields: Mapping[str, Any], key: str) -> str:
    """Return the text of a field of an object; empty if it has none."""
    value = fields.get(key)
    return clean(str(value)) if isinstance(value, str | int) else ""


def count_of(fields: Mapping[str, Any], key: str) -> int | None:
    """Return a number of an object, from 0; None if it has none."""
    value = fields.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
