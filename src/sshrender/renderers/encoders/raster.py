"""Reads the header of a raster: raw PPM, PGM or PBM, PAM with 1, 3 or 4 samples of 8 bits, grey BMP.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_BMP_ROWS = 14 + 40 + 4 * 256
"""Start of the rows of a bitmap of 8 bits: after two headers and the palette."""

MAX_HEADER = 2048
"""Bytes that a header may have."""

# Comments may stand between the numbers (pnm(5)); one white space ends the header.
_PNM = re.compile(
    rb"P([456])(?:\s+#[^\n]*)*\s+([0-9]{1,9})(?:\s+#[^\n]*)*\s+([0-9]{1,9})(?:(?<=[0-9])\s+(255))?\s"
)
_PAM_LINE = re.compile(rb"(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+([0-9]{1,9})[ \t]*")
_CHANNELS = {b"4": 1, b"5": 1, b"6": 3}


class Raster(NamedTuple):
    """The form of a raster. ``channels``: samples of a pixel, with ``bits`` each; 1 bit: 1 is black.

    ``offset``: where the rows begin. ``padding``: bytes after each row. ``is_upside_down``: the last row
    comes first.
    """

    width: int
    height: int
    channels: int
    bits: int
    offset: int
    padding: int = 0
    is_upside_down: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return (self.width * self.channels * self.bits + 7) // 8

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.offset + self.height * (self.row_bytes + self.padding)


def parse(head: bytes) -> Raster:
    """Return the form of the raster that begins so. Raises ValueError."""
    if head.startswith(b"P7\n"):
        return _parse_pam(head)
    if head.startswith(b"BM"):
        return _parse_bmp(head)
    match = _PNM.match(head)
    if match is None:
        raise ValueError("not a raster")
    kind, width, height, most = match.groups()
    bits, end = 8, match.end()
    # ``P4`` has two numbers, so the header ends one byte after the height.
    if kind == b"4":
        # A bitmap has no largest value: what looks like one is its first row.
        bits, end = 1, (match.end(3) + 1)
    elif most is None:
        raise ValueError("a raster with other than 8 bits a sample")
    return _checked(Raster(int(width), int(height), _CHANNELS[kind], bits, end))


def _parse_pam(head: bytes) -> Raster:
    end = head.find(b"\nENDHDR\n")
    found = {}
    for line in head[3 : max(end, 0)].split(b"\n"):
        match = _PAM_LINE.fullmatch(line)
        if match is not None:
            found[match.group(1)] = int(match.group(2))
    # Four lines, one of each kind: TUPLTYPE and comments match none of them.
    if end < 0 or len(found) != 4 or found[b"MAXVAL"] != 255 or found[b"DEPTH"] not in (1, 3, 4):
        raise ValueError("not a raster with 1, 3 or 4 samples of 8 bits")
    return _checked(
        Raster(found[b"WIDTH"], found[b"HEIGHT"], found[b"DEPTH"], 8, end + len(b"\nENDHDR\n"))
    )


def _parse_bmp(head: bytes) -> Raster:
    """Parse the header of the device bmpgray: 8 bits, a palette of all greys in their order."""
    if len(head) < _BMP_ROWS:
        raise ValueError("a bitmap without a header")
    offset, header, width, height, planes, bits, method = struct.unpack("<IIiiHHI", head[10:34])
    # Blue, green, red and a reserved byte for each grey.
    greys = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    if (offset, header, planes, bits, method) != (_BMP_ROWS, 40, 1, 8, 0) or head[54:offset] != greys:
        raise ValueError("a bitmap of another form than Ghostscript's greys")
    # Rows are padded to a multiple of four bytes. A negative height, for rows from the top, is refused
    # below.
    return _checked(Raster(width, height, 1, 8, offset, -width % 4, is_upside_down=True))


def _checked(raster: Raster) -> Raster:
    if raster.width < 1 or raster.height < 1:
        raise ValueError("a raster without pixels")
    return raster
