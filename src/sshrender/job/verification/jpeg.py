"""Verify JPEG (ITU-T T.81): segments from SOI to EOI, one frame, tables, and scans of enough data."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import BLOCK, Accept, PageFile, Size

_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, Huffman coded: libjpeg writes them, every viewer reads them."""

_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES, _QUANTIZATION, _SCAN, _END = 0xC4, 0xDB, 0xDA, 0xD9
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Within a scan: not a stuffed byte, a restart marker or a fill byte (B.1.1.2). It cannot backtrack."""

MAX_SEGMENTS = 4096
MAX_SCANS = 64
"""libjpeg writes ten for a progressive image of colour. A viewer decodes the whole image for each."""


class _Frame(NamedTuple):
    width: int
    height: int
    blocks: int


def measure(file: PageFile, accept: Accept) -> Size:
    """Return width and height. Raises VerificationFailed."""
    require(file.head(2) == b"\xff\xd8", "not a JPEG")
    require(file.tail(2) == b"\xff\xd9", "the JPEG does not end")
    frame: _Frame | None = None
    seen: set[int] = set()
    at, coded, scans = 2, 0, 0
    for _ in range(MAX_SEGMENTS):
        require(at + 2 <= file.size, "the JPEG is cut off")
        lead, marker = file.read(at, 2)
        require(lead == 0xFF and marker not in _OTHER_FRAMES, "the JPEG is damaged")
        if marker == _END:
            require(at + 2 == file.size, "the JPEG goes on after its end")
            return _whole(frame, seen, coded)
        require(at + 4 <= file.size, "the JPEG is cut off")
        # The length includes its own two bytes.
        (length,) = struct.unpack(">H", file.read(at + 2, 2))
        require(length >= 2, "the JPEG is damaged")
        content = file.read(at + 4, length - 2)
        at += 2 + length
        seen.add(marker)
        if marker in _FRAMES:
            require(frame is None, "the JPEG has more than one frame")
            frame = _frame(content)
            accept((frame.width, frame.height))
        # Scan data have no length: they end at the next marker.
        elif marker == _SCAN:
            require(frame is not None, "the JPEG has a scan before its frame")
            scans += 1
            require(scans <= MAX_SCANS, "the JPEG has too many scans")
            end = _scan_end(file, at)
            coded += end - at
            at = end
    raise VerificationFailed("the JPEG has too many segments")


def _frame(content: bytes) -> _Frame:
    """Read a frame header (B.2.2)."""
    require(len(content) >= 6, "the JPEG is damaged")
    bits, height, width, components = struct.unpack(">BHHB", content[:6])
    require(bits == 8 and components in (1, 3, 4), "the JPEG has other components than a page")
    require(len(content) == 6 + 3 * components, "the JPEG is damaged")
    # One byte holds both factors: horizontal in the high, vertical in the low four bits.
    sampling = [divmod(byte, 16) for byte in content[7::3]]
    require(all(1 <= h <= 4 and 1 <= v <= 4 for h, v in sampling), "the JPEG is damaged")
    across, down = max(h for h, _ in sampling), max(v for _, v in sampling)
    # Rounded up for each component, as subsampled components have fewer blocks.
    blocks = sum(-(-width * h // (8 * across)) * -(-height * v // (8 * down)) for h, v in sampling)
    return _Frame(width, height, blocks)


def _scan_end(file: PageFile, at: int) -> int:
    """Return where the marker after a scan's data is."""
    while at + 2 <= file.size:
        block = file.read(at, min(BLOCK, file.size - at))
        found = _NEXT_MARKER.search(block)
        if found is not None:
            return at + found.start()
        # One byte less: a marker may be divided between two blocks.
        at += len(block) - 1
    raise VerificationFailed("the JPEG is cut off")


def _whole(frame: _Frame | None, seen: set[int], coded: int) -> Size:
    """Check that the data suffice for the page: each block of 8 x 8 samples takes a bit at least."""
    if frame is None:
        raise VerificationFailed("the JPEG has no frame")
    # DHT and DQT too: without tables nothing can be decoded.
    require({_SCAN, _TABLES, _QUANTIZATION} <= seen, "the JPEG has no image data")
    require(coded * 8 >= frame.blocks, "the JPEG has too little image data")
    return frame.width, frame.height
