"""Verify PNG (ISO/IEC 15948): every chunk's CRC, the image data inflated and counted, the end.

Nothing may follow IEND. Ancillary chunks that Pillow reads have to be sound as well: what was verified
can be assembled.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from sshrender.job.verification import inflate, isalinflate
from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_FIXED = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}
"""Chunks of one length only (11.3)."""

_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_ONCE = (b"PLTE", b"tRNS", b"iCCP", *_FIXED)
# Adam7: seven passes over the same image, from coarse to fine.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Passes of an interlaced image: first column, first row, and the steps (8.2)."""

MAX_CHUNKS = 1 << 20
MAX_INFLATED = 1 << 20
"""Bytes that a profile or text may have: Pillow refuses more (PngImagePlugin.MAX_TEXT_CHUNK)."""

_OUTPUT = 64 << 10
"""Bytes inflated at a time. More is slower: malloc maps and unmaps larger pieces (mallopt(3))."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colours: int
    is_interlaced: bool

    def rows(self) -> Iterator[tuple[int, int]]:
        """Return runs of rows of equal length: (number of rows, bytes of each with its filter type)."""
        bits = self.depth * _CHANNELS[self.colours]
        for left, top, across, down in _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),):
            # Rounded up: the last column or row of a pass need not be complete.
            width, height = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if width > 0 and height > 0:
                # A filter type is before each row. Passes without pixels have no rows at all (8.2).
                yield height, 1 + (width * bits + 7) // 8


def measure(file: PageFile, accept: Accept) -> Size:
    """Return width and height. Raises VerificationFailed."""
    try:
        return _measure(file, accept, has_isal=True)
    except isalinflate.Refused:
        # That is not damage yet: zlib decides, and says what is wrong.
        return _measure(file, accept, has_isal=False)


def _measure(file: PageFile, accept: Accept, *, has_isal: bool) -> Size:
    """Return width and height. Raises VerificationFailed; Refused only with ``has_isal``."""
    require(file.head(8) == _SIGNATURE, "not a PNG")
    header = _header(file)
    size = header.width, header.height
    accept(size)
    data = _ImageData(header, has_isal=has_isal)
    seen: set[bytes] = set()
    palette, at, previous = 0, 33, b"IHDR"
    for _ in range(MAX_CHUNKS):
        # The image data are inflated while their CRC is computed: they are read once.
        kind, start, end = _chunk(file, at, data)
        # Bit 5 of the first letter: lower case is ancillary (5.4). An unknown critical chunk forbids
        # to show the image.
        require(kind in _CRITICAL or kind[0] & 0x20 != 0, "the PNG has an unknown critical chunk")
        require(kind != b"IHDR" and kind not in _ANIMATION, f"the PNG has a chunk {kind!r:.20}")
        require(kind not in seen or kind not in _ONCE, "the PNG has a chunk twice")
        if kind == b"IDAT":
            # Palette first (11.2.3).
            require(header.colours != 3 or palette > 0, "the PNG has no palette")
            require(previous == b"IDAT" or b"IDAT" not in seen, "the PNG's data are not consecutive")
        elif kind == b"PLTE":
            palette = _palette(end - start, header, b"IDAT" in seen)
        elif kind == b"IEND":
            # IEND has no content, only its CRC follows.
            require(end == start and end + 4 == file.size, "the PNG goes on after its end")
            data.finish()
            return size
        else:
            _ancillary(file, kind, start, end, header, palette)
        seen.add(kind)
        previous, at = kind, end + 4
    raise VerificationFailed("the PNG has too many chunks")


def _header(file: PageFile) -> _Header:
    require(file.size >= 33, "the PNG has no header")
    length, kind = struct.unpack(">I4s", file.read(8, 8))
    require(kind == b"IHDR" and length == 13, "the PNG has no header")
    body, (crc,) = file.read(12, 17), struct.unpack(">I", file.read(29, 4))
    require(zlib.crc32(body) == crc, "the PNG is damaged")
    width, height, depth, colours, method, filters, interlaced = struct.unpack(">IIBBBBB", body[4:])
    require(0 < width < 1 << 31 and 0 < height < 1 << 31, "a page image without pixels")
    require(depth in _DEPTHS.get(colours, ()), "the PNG's header is damaged")
    require(method == filters == 0 and interlaced in (0, 1), "the PNG's header is damaged")
    return _Header(width, height, depth, colours, interlaced == 1)


def _chunk(file: PageFile, at: int, data: _ImageData) -> tuple[bytes, int, int]:
    """Return the chunk at an offset: its type and where its content begins and ends. Checks the CRC."""
    require(at + 12 <= file.size, "the PNG is cut off")
    length, kind = struct.unpack(">I4s", file.read(at, 8))
    start, end = at + 8, at + 8 + length
    require(end + 4 <= file.size, "the PNG is cut off")
    # The CRC covers type and content, not the length (5.3).
    crc = zlib.crc32(kind)
    for block in file.blocks(start, end):
        crc = zlib.crc32(block, crc)
        if kind == b"IDAT":
            data.feed(block)
    require(struct.unpack(">I", file.read(end, 4))[0] == crc, "the PNG is damaged")
    return kind, start, end


def _palette(length: int, header: _Header, is_late: bool) -> int:
    """Return the number of its entries."""
    most = 1 << header.depth if header.colours == 3 else 256
    # Greyscale images have none; a palette after the data would be too late.
    require(header.colours not in (0, 4) and not is_late, "the PNG has a palette out of place")
    require(length % 3 == 0 and 0 < length // 3 <= most, "the PNG's palette is damaged")
    return length // 3


def _ancillary(file: PageFile, kind: bytes, start: int, end: int, header: _Header, palette: int) -> None:
    length = end - start
    require(_FIXED.get(kind, length) == length, f"the PNG's chunk {kind!r:.10} is damaged")
    if kind == b"tRNS":
        lengths = {0: range(2, 3), 2: range(6, 7), 3: range(1, palette + 1)}
        require(length in lengths.get(header.colours, ()), "the PNG's transparency is damaged")
    elif kind in (b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf"):
        require(length <= MAX_INFLATED, "the PNG has too large a profile or text")
        if kind in (b"iCCP", b"zTXt"):
            _inflatable(file.read(start, length))


def _inflatable(content: bytes) -> None:
    """Check a name, a null byte, the method 0, and a compressed text or profile (11.3.3.3)."""
    name, _, rest = content.partition(b"\0")
    require(0 < len(name) < 80 and rest[:1] == b"\0", "the PNG's profile or text is damaged")
    inflater = zlib.decompressobj()
    try:
        # decompress() stops at the limit: a longer text has not ended then.
        found = inflater.decompress(rest[1:], MAX_INFLATED)
    except zlib.error:
        raise VerificationFailed("the PNG's profile or text is damaged") from None
    require(inflater.eof and len(found) < MAX_INFLATED, "the PNG's profile or text is damaged")


class _ImageData:
    """Inflates the image data, counts its bytes, and checks each row's filter type (9.2)."""

    def __init__(self, header: _Header, *, has_isal: bool) -> None:
        self._inflater = zlib.decompressobj()
        self._runs = list(header.rows())
        # Each byte that is inflated is taken from this: it ends at 0.
        self._left = sum(rows * length for rows, length in self._runs)
        self._at = 0  # offset in the run of rows that comes first in _runs
        self._whole = inflate.library() if self._left <= inflate.MAX_OUTPUT else None
        self._isal: isalinflate.Inflater | None = None
        self._has_isal = has_isal
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        if self._whole is None:
            self._inflate_kept()

    def feed(self, block: bytes) -> None:
        """Take compressed bytes, in order. Raises VerificationFailed."""
        if self._whole is None:
            self._inflate(block)
            return
        self._kept.append(block)
        self._kept_bytes += len(block)
        # Too much to keep: what is kept so far is inflated in pieces, and the rest after it.
        if self._kept_bytes > inflate.MAX_INPUT:
            self._inflate_kept()

    def finish(self) -> None:
        """Check the end of the data. Raises VerificationFailed."""
        whole = None
        if self._whole is not None:
            try:
                # Joined only at the end: the size of the output is known from the header.
                whole = self._whole(b"".join(self._kept), self._left)
            except MemoryError:  # the user's own limit may be low
                self._inflate_kept()
        if self._whole is not None:
            if whole is None:
                raise VerificationFailed("the PNG's data are damaged, or of another size")
            self._take(whole)
            return
        if self._isal is not None:
            self._take_all(self._isal.finish())
            if self._left:
                raise isalinflate.Refused
            return
        # The rest that zlib holds back after the last input.
        while not self._inflater.eof:
            try:
                pixels = self._inflater.decompress(b"", _OUTPUT)
            except zlib.error:
                raise VerificationFailed("the PNG's data are damaged") from None
            if not pixels:
                break
            self._take(pixels)
        require(self._inflater.eof and self._left == 0, "the PNG has too few pixels")

    def _inflate_kept(self) -> None:
        """Inflate in pieces from now on, by ISA-L or zlib."""
        self._whole = None
        self._isal = isalinflate.load() if self._has_isal else None
        for kept in self._kept:
            self._inflate(kept)
        self._kept.clear()

    def _take_all(self, pieces: Iterator[memoryview]) -> None:
        """Take the output of ISA-L. Raises Refused."""
        try:
            for piece in pieces:
                self._take(piece)
        except VerificationFailed:
            # zlib is to see these pixels as well.
            raise isalinflate.Refused from None

    def _inflate(self, block: bytes) -> None:
        if self._isal is not None:
            self._take_all(self._isal.feed(block))
            return
        require(not self._inflater.eof, "the PNG has data after its pixels")
        while block:
            try:
                pixels = self._inflater.decompress(block, _OUTPUT)
            except zlib.error:
                raise VerificationFailed("the PNG's data are damaged") from None
            self._take(pixels)
            # Input that did not fit into _OUTPUT bytes is given to it again.
            block = self._inflater.unconsumed_tail
        require(not self._inflater.unused_data, "the PNG has data after its pixels")

    def _take(self, pixels: bytes | memoryview) -> None:
        self._left -= len(pixels)
        require(self._left >= 0, "the PNG has too many pixels")
        at = 0
        while at < len(pixels):
            rows, length = self._runs[0]
            piece = pixels[at : at + rows * length - self._at]
            # The first byte of each row in this piece; -at % length is the distance to the next row.
            filters = bytes(piece[-self._at % length :: length])
            require(not filters or max(filters) <= 4, "the PNG's data are damaged")
            at += len(piece)
            self._at += len(piece)
            # The run of rows is complete: the next pass begins.
            if self._at == rows * length:
                self._runs.pop(0)
                self._at = 0
