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
