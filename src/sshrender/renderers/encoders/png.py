"""Makes PNG files (ISO/IEC 15948) of rasters.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import struct
import zlib

from sshrender.renderers.encoders.raster import Raster

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""By channels: grey, RGB, RGB with alpha (11.2.2)."""


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk: its length, type, content and CRC."""
    crc = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", crc)


def beginning(raster: Raster, chunks: bytes) -> bytes:
    """Return what precedes the pixels. ``chunks``: whole chunks that follow the header."""
    header = (raster.width, raster.height, raster.bits, _COLOUR_TYPES[raster.channels], 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *header)) + chunks


def chunks_before_pixels(data: bytes) -> bytes:
    """Return the chunks of a PNG file between its header and its pixels. Raises ValueError.

    With a palette the pixels would have another meaning than a raster's.
    """
    # The colour type must be that of the raster, so there is no palette.
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG file")
    # 8 bytes of the signature, and 25 of the chunk IHDR: its length, type, 13 bytes and CRC.
    at = first = 33
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            return data[first:at]
        # A critical chunk begins with a capital (5.4): PLTE would be one. tRNS makes a colour
        # transparent.
        if not kind[:1].islower() or kind == b"tRNS":
            break
        # Length, type and CRC take 12 bytes.
        at += 12 + length
    raise ValueError("not a PNG file as expected")
