"""What a test adds to plain Ghostscript to render as ``render`` does, and how both are compared."""

from __future__ import annotations

import struct
from pathlib import Path

from PIL import Image

SMOOTHED = ("-dTextAlphaBits=4", "-dGraphicsAlphaBits=4")
"""``--antialias auto`` on a device with 8 bits a component, up to 200 dpi."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def page_content(path: Path) -> bytes:
    """What a page's file says: of a PNG its pixels and all other chunks, else its bytes.

    Two encoders write the same pixels in other bytes.
    """
    data = path.read_bytes()
    if not data.startswith(_SIGNATURE):
        return data
    with Image.open(path) as image:
        image.load()
        return b"%s %dx%d " % (image.mode.encode(), *image.size) + image.tobytes() + _other_chunks(data)


def _other_chunks(data: bytes) -> bytes:
    """Header and further chunks of a PNG file, in order, without those of its pixels."""
    found, at = [], len(_SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind != b"IDAT":
            found.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(found)
