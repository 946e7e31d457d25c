"""JPEG (ITU-T T.81): markers from SOI to the scan, dimensions from the frame, EOI at the end."""

from __future__ import annotations

import struct

from sshrender.job.verification.buffer import Buffer, Size
from sshrender.job.verification.errors import VerificationFailed, require

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA


def measure(data: Buffer) -> Size:
    """Width and height. Raises VerificationFailed."""
    require(data[:2] == b"\xff\xd8", "not a JPEG")
    require(data[-2:] == b"\xff\xd9", "the JPEG does not end")
    size: Size | None = None
    at = 2
    while at + 4 <= len(data):
        require(data[at] == 0xFF, "the JPEG is damaged")
        marker = data[at + 1]
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            size = width, height
        if marker == _SCAN and size is not None:
            return size
        at += 2 + length
    raise VerificationFailed("the JPEG has no picture")
