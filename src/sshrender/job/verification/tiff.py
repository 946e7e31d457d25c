"""Verify TIFF 6.0 and BigTIFF: one directory, the tags that matter, and every strip or tile whole.

The values of tags that do not concern the pixels are not even read. What is compressed without loss by
run lengths, LZW or deflate is decoded and counted; of fax codes only their presence is checked.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sshrender.job.verification import tiffcodes
from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES = 256, 257, 258, 259, 277
_STRIP_OFFSETS, _ROWS, _STRIP_COUNTS, _PLANAR = 273, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SINGLE = (_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT)

MAX_TAGS = 256
MAX_SAMPLES = 32
MAX_PIECES = 1 << 20
"""Strips or tiles: one a row of the tallest page that a renderer can make."""


class _Layout(NamedTuple):
    """The number format of this file: byte order, width of offsets, position of the first directory."""

    order: str
    offsets: str
    counts: str
    first: int

    @property
    def entry_bytes(self) -> int:
        return 20 if self.offsets == "Q" else 12


class _Entry(NamedTuple):
    """A tag's type and number of values, and where they are."""

    kind: int
    number: int
    place: int


class _Pieces(NamedTuple):
    """The division of the pixels: strips or tiles, and the bytes that each decodes to."""

    expected: list[int]
    offsets: list[int]
    counts: list[int]


def measure(file: PageFile, accept: Accept) -> Size:
    """Return width and height of the one image in the file. Raises VerificationFailed."""
    layout = _layout(file)
    entries = _directory(file, layout)
    # Tags with one number; all others are lists or do not matter.
    single = {tag: _values(file, layout, entries[tag], 1)[0] for tag in _SINGLE if tag in entries}
    require(_WIDTH in single and _HEIGHT in single, "the TIFF has no dimensions")
    size = single[_WIDTH], single[_HEIGHT]
    require(min(size) > 0, "a page image without pixels")
    accept(size)
    pieces = _pieces(file, layout, entries, single)
    _check_places(file, pieces)
    compression = single.get(_COMPRESSION, 1)
    # strict=True: _pieces() has compared the numbers.
    for expected, offset, count in zip(*pieces, strict=True):
        tiffcodes.check(file, compression, offset, count, expected)
    return size


def _layout(file: PageFile) -> _Layout:
    orders = {b"II": "<", b"MM": ">"}
    head = file.head(16)
    require(head[:2] in orders and len(head) == 16, "not a TIFF")
    order = orders[head[:2]]
    (magic,) = struct.unpack(order + "H", head[2:4])
    require(magic in (42, 43), "not a TIFF")
    # 43 is BigTIFF: offsets of 64 bits. Bytes 4 to 8 of its header are constants.
    if magic == 43:
        return _Layout(order, "Q", "Q", struct.unpack(order + "Q", head[8:16])[0])
    return _Layout(order, "I", "H", struct.unpack(order + "I", head[4:8])[0])


def _directory(file: PageFile, layout: _Layout) -> dict[int, _Entry]:
    (count,) = _unpack(file, layout, layout.counts, layout.first)
    require(0 < count <= MAX_TAGS, "the TIFF has too many tags")
    at = layout.first + struct.calcsize(layout.order + layout.counts)
    entries = {}
    for _ in range(count):
        tag, kind, values = _unpack(file, layout, "HH" + layout.offsets, at)
        require(tag not in entries, "the TIFF has a tag twice")
        entries[tag] = _Entry(kind, values, at + 4 + struct.calcsize(layout.order + layout.offsets))
        at += layout.entry_bytes
    # The offset of the next directory, which is 0 in a file of one page.
    (following,) = _unpack(file, layout, layout.offsets, at)
    require(following == 0, "the TIFF holds more than one page")
    return entries


def _values(file: PageFile, layout: _Layout, entry: _Entry, most: int) -> list[int]:
    """Return a tag's whole numbers, at most ``most`` of them."""
    require(entry.kind in _TYPES and 0 < entry.number <= most, "the TIFF is damaged")
    form = f"{entry.number}{_TYPES[entry.kind]}"
    place = entry.place
    # Values that fit into the field of the offset stand there themselves.
    if struct.calcsize(layout.order + form) > struct.calcsize(layout.order + layout.offsets):
        (place,) = _unpack(file, layout, layout.offsets, place)
    return list(_unpack(file, layout, form, place))


def _pieces(
    file: PageFile, layout: _Layout, entries: dict[int, _Entry], single: dict[int, int]
) -> _Pieces:
    samples = single.get(_SAMPLES, 1)
    require(0 < samples <= MAX_SAMPLES, "the TIFF has too many samples a pixel")
    bits = _values(file, layout, entries[_BITS], MAX_SAMPLES) if _BITS in entries else [1]
    require(max(bits) <= 64 and len(bits) in (1, samples), "the TIFF is damaged")
    # BitsPerSample may have one value for all samples, though the standard asks for each.
    depth = sum(bits) if len(bits) == samples else bits[0] * samples
    planes = samples if single.get(_PLANAR, 1) == 2 else 1
    if planes > 1:
        require(len(set(bits)) == 1, "the TIFF is damaged")
        depth = bits[0]
    is_tiled = _TILE_OFFSETS in entries
    # Planar: each plane has its own strips or tiles.
    each = _tiles(single, depth) if is_tiled else _strips(single, depth)
    require(0 < len(each) * planes <= MAX_PIECES, "the TIFF has too many pieces")
    most = len(each) * planes
    wanted = (_TILE_OFFSETS, _TILE_COUNTS) if is_tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
    require(all(tag in entries for tag in wanted), "the TIFF has no image data")
    offsets, counts = (_values(file, layout, entries[tag], most) for tag in wanted)
    require(len(offsets) == len(counts) == most, "the TIFF has another number of pieces")
    return _Pieces(list(each) * planes, offsets, counts)


def _strips(single: dict[int, int], depth: int) -> list[int]:
    height = single[_HEIGHT]
    rows = min(single.get(_ROWS, height), height)
    require(rows > 0 and -(-height // rows) <= MAX_PIECES, "the TIFF has too many pieces")
    row = (single[_WIDTH] * depth + 7) // 8
    return [min(rows, height - top) * row for top in range(0, height, rows)]


def _tiles(single: dict[int, int], depth: int) -> list[int]:
    width, height = single.get(_TILE_WIDTH, 0), single.get(_TILE_HEIGHT, 0)
    require(width > 0 and height > 0, "the TIFF is damaged")
    number = -(-single[_WIDTH] // width) * -(-single[_HEIGHT] // height)
    require(number <= MAX_PIECES, "the TIFF has too many pieces")
    # Tiles at the edge are padded to full size.
    return [(width * depth + 7) // 8 * height] * number


def _check_places(file: PageFile, pieces: _Pieces) -> None:
    """Check that every piece is in the file and none overlaps: so a small file has few pixels."""
    end = 0
    # Sorted by offset, each must begin behind the end of the one before.
    for offset, count in sorted(zip(pieces.offsets, pieces.counts, strict=True)):
        require(count > 0 and offset >= max(end, 8), "the TIFF is damaged")
        end = offset + count
    require(end <= file.size, "the TIFF is cut off")


def _unpack(file: PageFile, layout: _Layout, form: str, at: int) -> tuple[int, ...]:
    full = layout.order + form
    try:
        return struct.unpack(full, file.read(at, struct.calcsize(full)))
    except (OverflowError, struct.error):
        raise VerificationFailed("the TIFF is damaged") from None
