"""TIFF 6.0 and BigTIFF: the first directory's dimensions, and every strip or tile inside the file."""

from __future__ import annotations

import struct
from typing import NamedTuple

from sshrender.job.verification.buffer import Buffer, Size
from sshrender.job.verification.errors import VerificationFailed, require

_WIDTH, _HEIGHT = 256, 257
_STRIP_OFFSETS, _STRIP_COUNTS = 273, 279
_TILE_OFFSETS, _TILE_COUNTS = 324, 325
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


class _Layout(NamedTuple):
    """How this file writes numbers: byte order, offset width, where the first directory is."""

    order: str
    offsets: str
    counts: str
    first: int

    @property
    def entry_bytes(self) -> int:
        return 20 if self.offsets == "Q" else 12


def measure(data: Buffer) -> Size:
    """Width and height of the one picture in the file. Raises VerificationFailed."""
    layout = _layout(data)
    try:
        tags, following = _directory(data, layout)
    except struct.error:
        raise VerificationFailed("the TIFF is cut off") from None
    require(following == 0, "the TIFF holds more than one page")
    require(_WIDTH in tags and _HEIGHT in tags, "the TIFF has no dimensions")
    offsets = tags.get(_STRIP_OFFSETS) or tags.get(_TILE_OFFSETS)
    counts = tags.get(_STRIP_COUNTS) or tags.get(_TILE_COUNTS)
    require(bool(offsets and counts), "the TIFF has no picture")
    assert offsets is not None
    assert counts is not None
    require(len(offsets) == len(counts), "the TIFF is damaged")
    for offset, count in zip(offsets, counts, strict=True):
        require(count > 0 and offset + count <= len(data), "the TIFF is cut off")
    return tags[_WIDTH][0], tags[_HEIGHT][0]


def _layout(data: Buffer) -> _Layout:
    orders = {b"II": "<", b"MM": ">"}
    require(data[:2] in orders and len(data) >= 16, "not a TIFF")
    order = orders[bytes(data[:2])]
    (magic,) = struct.unpack(order + "H", data[2:4])
    require(magic in (42, 43), "not a TIFF")
    if magic == 43:
        return _Layout(order, "Q", "Q", struct.unpack(order + "Q", data[8:16])[0])
    return _Layout(order, "I", "H", struct.unpack(order + "I", data[4:8])[0])


def _directory(data: Buffer, layout: _Layout) -> tuple[dict[int, tuple[int, ...]], int]:
    require(0 < layout.first < len(data), "the TIFF is cut off")
    (count,) = _unpack(data, layout, layout.counts, layout.first)
    at = layout.first + struct.calcsize(layout.counts)
    tags = {}
    for _ in range(count):
        tag, values = _entry(data, layout, at)
        tags[tag] = values
        at += layout.entry_bytes
    (following,) = _unpack(data, layout, layout.offsets, at)
    return tags, following


def _entry(data: Buffer, layout: _Layout, at: int) -> tuple[int, tuple[int, ...]]:
    """One tag and its whole-number values; no values for the types that no proof needs."""
    tag, kind, count = _unpack(data, layout, "HH" + layout.offsets, at)
    if kind not in _TYPES:
        return tag, ()
    form = f"{count}{_TYPES[kind]}"
    size = struct.calcsize("=" + form)
    require(size <= len(data), "the TIFF is damaged")
    inline = at + 4 + struct.calcsize(layout.offsets)
    place = inline if size <= struct.calcsize(layout.offsets) else None
    if place is None:
        (place,) = _unpack(data, layout, layout.offsets, inline)
    return tag, _unpack(data, layout, form, place)


def _unpack(data: Buffer, layout: _Layout, form: str, at: int) -> tuple[int, ...]:
    full = layout.order + form
    return struct.unpack(full, data[at : at + struct.calcsize(full)])
