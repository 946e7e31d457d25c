"""Verify formats whose size follows from their header or their run lengths: BMP, PCX, MIFF."""

from __future__ import annotations

import re
import struct

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import BLOCK, Accept, PageFile, Size

HEADER = 4096
_SLACK = 4096
"""Bytes that may follow the pixels."""


def measure_bmp(file: PageFile, accept: Accept) -> Size:
    """BITMAPFILEHEADER and BITMAPINFOHEADER; uncompressed, so the file's size is known."""
    head = file.head(54)
    require(head[:2] == b"BM" and len(head) == 54, "not a BMP")
    # Little-endian; a negative height says that rows go from top to bottom.
    start, header, width, height, planes, bits, compression = struct.unpack("<IIiiHHI", head[10:34])
    (colours,) = struct.unpack("<I", head[46:50])
    require(header == 40 and planes == 1 and compression == 0, "another kind of BMP")
    require(bits in (1, 4, 8, 16, 24, 32) and colours <= 256, "another kind of BMP")
    require(width > 0 and height != 0, "a page image without pixels")
    accept((width, abs(height)))
    palette = 4 * (colours or 1 << bits) if bits <= 8 else 4 * colours
    # Each row is padded to four bytes.
    expected = start + (width * bits + 31) // 32 * 4 * abs(height)
    require(start >= 54 + palette, "the BMP is damaged")
    require(expected <= file.size <= expected + _SLACK, "the BMP is cut off")
    return width, abs(height)


def measure_pcx(file: PageFile, accept: Accept) -> Size:
    """ZSoft PCX: run-length coded; every row of every plane must be there."""
    head = file.head(128)
    require(head[:1] == b"\x0a" and len(head) == 128 and file.size > 128, "not a PCX")
    bits = head[3]
    left, top, right, bottom = struct.unpack("<HHHH", head[4:12])
    planes, per_row = struct.unpack("<BH", head[65:68])
    width, height = right - left + 1, bottom - top + 1
    require(width > 0 and height > 0 and head[2] == 1, "not a PCX")
    require(bits in (1, 2, 4, 8) and 1 <= planes <= 4, "not a PCX")
    require(per_row * 8 >= width * bits, "the PCX is damaged")
    accept((width, height))
    # 769: a marker, and 256 colours of three bytes, behind the pixels.
    palette = 769 if planes == 1 and bits == 8 else 0
    require(file.size > 128 + palette, "the PCX is cut off")
    expected = planes * per_row * height
    found, end = _pcx_bytes(file, file.size - palette, expected)
    require(found >= expected, "the PCX is cut off")
    require(file.size - palette - end <= _SLACK, "the PCX goes on after its pixels")
    return width, height


_RUNS = re.compile(rb"([\xc0-\xff])[\x00-\xff]|[\x00-\xbf]+")
"""A count and its value, or values that stand for themselves. It cannot backtrack."""

_HIGH = bytes(range(0xC0, 0x100))
_COUNTS = bytes(byte & 0x3F for byte in range(256))


def _pcx_bytes(file: PageFile, end: int, expected: int) -> tuple[int, int]:
    """Return how many bytes run-length codes give, up to ``expected``, and the end of the last block.

    In 0xC0..0xFF the low six bits are a count; the byte that follows is the value.
    """
    total, done, rest = 0, 128, b""
    for block in file.blocks(128, end):
        done += len(block)
        coded = rest + block
        # High bytes in a row begin with a count, so an odd number of them ends in one without its value.
        rest = coded[-1:] if (len(coded) - len(coded.rstrip(_HIGH))) % 2 else b""
        leads = b"".join(_RUNS.findall(coded))
        # Bytes that are not a run stand for themselves; each run has two bytes of code.
        total += sum(leads.translate(_COUNTS)) + len(coded) - len(rest) - 2 * len(leads)
        if total >= expected:
            break
    return total, done


def measure_miff(file: PageFile, accept: Accept) -> Size:
    """ImageMagick's MIFF, 24 bits: a text header ended by a colon, then runs: colour, count less one."""
    head, colon, _ = file.head(HEADER).partition(b"\n:\n")
    require(head[:14].lower() == b"id=imagemagick" and bool(colon), "not a MIFF")
    fields: dict[bytes, int] = {}
    for word in head.lower().split():
        name, _, value = word.partition(b"=")
        if name in (b"columns", b"rows"):
            require(value.isdigit() and len(value) <= 10, "not a MIFF")
            fields[name] = int(value)
    if len(fields) != 2:
        raise VerificationFailed("the MIFF has no dimensions")
    size = fields[b"columns"], fields[b"rows"]
    accept(size)
    found = 0
    assert BLOCK % 4 == 0
    for block in file.blocks(len(head) + len(colon)):
        counts = block[3::4]
        # Each run stands for its count and one more.
        found += sum(counts) + len(counts)
    require(size[0] * size[1] <= found, "the MIFF is cut off")
    return size
