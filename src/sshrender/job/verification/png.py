"""PNG (ISO/IEC 15948): signature, every chunk's length and CRC, IEND last, the image data whole."""

from __future__ import annotations

import struct
import zlib

from sshrender.job.verification.buffer import Buffer, Size
from sshrender.job.verification.errors import require

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def measure(data: Buffer) -> Size:
    """Width and height. Raises VerificationFailed."""
    require(data[:8] == _SIGNATURE, "not a PNG")
    require(data[12:16] == b"IHDR" and len(data) >= 33, "the PNG has no header")
    width, height = struct.unpack(">II", data[16:24])
    kind, at = b"", 8
    has_data = False
    while at < len(data):
        kind, at = _chunk(data, at)
        has_data = has_data or kind == b"IDAT"
    require(kind == b"IEND", "the PNG does not end")
    require(has_data, "the PNG has no picture")
    return width, height


def _chunk(data: Buffer, at: int) -> tuple[bytes, int]:
    """The chunk at an offset: its type and where the next one begins."""
    require(at + 12 <= len(data), "the PNG is cut off")
    (length,) = struct.unpack(">I", data[at : at + 4])
    end = at + 12 + length
    require(end <= len(data), "the PNG is cut off")
    (crc,) = struct.unpack(">I", data[end - 4 : end])
    require(zlib.crc32(data[at + 4 : end - 4]) == crc, "the PNG is damaged")
    return bytes(data[at + 4 : at + 8]), end
