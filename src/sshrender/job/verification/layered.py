"""Verify formats of image editors, as Ghostscript writes them: PSD and XCF."""

from __future__ import annotations

import array
import struct
import sys

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size

MAX_PROPERTIES = 1024

MAX_LEVELS = 64
"""Each is half as large as the one before."""


def measure_psd(file: PageFile, accept: Accept) -> Size:
    """Adobe Photoshop: header, three sections with lengths, then the image data to the end."""
    head = file.head(26)
    require(head[:4] == b"8BPS" and len(head) == 26, "not a PSD")
    channels, height, width, bits = struct.unpack(">HIIH", head[12:24])
    require(0 < channels <= 56 and bits in (1, 8, 16, 32), "not a PSD")  # the format's own limits
    accept((width, height))
    at = 26
    for _ in range(3):
        # Three sections: colour modes, resources, layers; each begins with its length.
        at += 4 + _word(file, at)
    (compression,) = struct.unpack(">H", file.read(at, 2))
    rows = channels * height
    # 0: raw; 1: PackBits, with a table of row lengths before the data.
    if compression == 0:
        expected = at + 2 + rows * ((width * bits + 7) // 8)
    else:
        require(compression == 1, "another kind of PSD")
        expected = at + 2 + 2 * rows + _row_lengths(file, at + 2, rows)
    require(file.size >= expected, "the PSD is cut off")
    return width, height


def _row_lengths(file: PageFile, start: int, rows: int) -> int:
    """Return the sum of a table of 16-bit numbers."""
    require(start + 2 * rows <= file.size, "the PSD is cut off")
    total = 0
    for block in file.blocks(start, start + 2 * rows):
        lengths = array.array("H", block)
        # The format is big-endian.
        if sys.byteorder == "little":
            lengths.byteswap()
        total += sum(lengths)
    return total


def measure_xcf(file: PageFile, accept: Accept) -> Size:
    """GIMP's XCF: one layer, uncompressed tiles of three bytes a pixel.

    The pointers lead from the header to the layer, its hierarchy, its first level and that level's
    first tile; from there to the end of the file every pixel must have its bytes.
    """
    require(file.head(9) == b"gimp xcf " and file.size >= 64, "not an XCF")
    width, height = struct.unpack(">II", file.read(14, 8))
    accept((width, height))
    # Offsets of the format: 26 is the end of the header, where the properties begin.
    layer = _word(file, _after_properties(file, 26))
    name_bytes = _word(file, layer + 12)
    hierarchy = _word(file, _after_properties(file, layer + 16 + name_bytes))
    level = _word(file, hierarchy + 12)
    tile = _word(file, level + 8)
    end = max(tile + width * height * 3, _end_of_levels(file, hierarchy + 12))
    require(file.size >= end, "the XCF is cut off")
    return width, height


def _end_of_levels(file: PageFile, at: int) -> int:
    """Return where the last level ends: a list of pointers, which 0 ends, to sizes and no tiles.

    Ghostscript writes the smaller levels after the pixels, as GIMP expects them, but nothing into them.
    """
    end = 0
    for _ in range(MAX_LEVELS):
        level = _word(file, at)
        if level == 0:
            return end
        at, end = at + 4, max(end, level + 12)
    raise VerificationFailed("the XCF has too many levels")


def _after_properties(file: PageFile, at: int) -> int:
    """Return the offset after a list of XCF properties (type, length, bytes), which type 0 ends."""
    for _ in range(MAX_PROPERTIES):
        kind, length = _word(file, at), _word(file, at + 4)
        at += 8 + length
        if kind == 0:
            return at
    raise VerificationFailed("the XCF has too many properties")


def _word(file: PageFile, at: int) -> int:
    return int(struct.unpack(">I", file.read(at, 4))[0])
