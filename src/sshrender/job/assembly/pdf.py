"""Write a PDF whose pages are images.

What a page's file holds compressed is copied as it is, if a PDF can hold it so: JPEG, and the pixels of
a PNG without transparency (ISO 32000-1, 7.4.4, predictors).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from PIL import Image

from sshrender.job.assembly.pagereader import AssemblyFailed, Sheet

_SPACES = {1: "/DeviceGray", 3: "/DeviceRGB", 4: "/DeviceCMYK"}
_MAX_BYTES = 10**10
"""Bytes: offsets in a cross-reference table have ten digits (7.5.4)."""

_BAND = 256
"""Rows that are read and compressed at a time."""

_KIDS = 200
"""Pages of a node in the tree: viewers find the page of a large document sooner."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """Entries of an image dictionary, without its size. ``pieces``: its data, as (offset, length)."""

    entries: str
    pieces: list[tuple[int, int]]

    @property
    def length(self) -> int:
        """Bytes of data."""
        return sum(length for _, length in self.pieces)


class _Objects:
    """Writes objects one after the other and remembers where each begins."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._offsets: dict[int, int] = {}
        self._next = 1
        # The second line has bytes above 127, so that programs treat the file as binary (ISO 32000-1,
        # 7.5.2).
        file.write(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")

    def reserve(self) -> int:
        """Return a number for an object that is written later."""
        number, self._next = self._next, self._next + 1
        return number

    def write(self, number: int, body: str) -> None:
        """Write an object without a stream."""
        self._begin(number)
        self._file.write(f"{body}\nendobj\n".encode("latin-1"))

    def begin_stream(self, number: int, entries: str, length: int | str) -> None:
        """Begin an object whose stream is written next."""
        self._begin(number)
        self._file.write(f"<< {entries} /Length {length} >>\nstream\n".encode("latin-1"))

    def end_stream(self) -> None:
        """End it once all data were written."""
        self._file.write(b"\nendstream\nendobj\n")

    def finish(self, root: int, identity: str) -> None:
        """Write the cross-reference table and the trailer."""
        begin = self._file.tell()
        if begin >= _MAX_BYTES:
            raise AssemblyFailed("a PDF cannot be larger than 10 GB; --assemble zip can")
        # Entry 0 is the head of the list of free objects (7.5.4).
        self._file.write(f"xref\n0 {self._next}\n0000000000 65535 f \n".encode())
        for number in range(1, self._next):
            self._file.write(f"{self._offsets[number]:010d} 00000 n \n".encode())
        self._file.write(
            # The same two identifiers: the file was not changed since it was made (14.4).
            f"trailer\n<< /Size {self._next} /Root {root} 0 R /ID [<{identity}> <{identity}>] >>\n"
            f"startxref\n{begin}\n%%EOF\n".encode()
        )

    def _begin(self, number: int) -> None:
        self._offsets[number] = self._file.tell()
        self._file.write(f"{number} 0 obj\n".encode())


def write(file: IO[bytes], sheets: Sequence[Sheet]) -> None:
    """Write page after page, losslessly. Raises AssemblyFailed or OSError."""
    objects = _Objects(file)
    catalog, tree = objects.reserve(), objects.reserve()
    # A tree of two levels: the catalog's node, and nodes of _KIDS pages.
    nodes = []
    for first in range(0, len(sheets), _KIDS):
        members = sheets[first : first + _KIDS]
        node = objects.reserve()
        kids = [_page(file, objects, sheet, node) for sheet in members]
        listed = " ".join(f"{kid} 0 R" for kid in kids)
        objects.write(node, f"<< /Type /Pages /Parent {tree} 0 R /Kids [{listed}] /Count {len(kids)} >>")
        nodes.append(node)
    listed = " ".join(f"{node} 0 R" for node in nodes)
    objects.write(tree, f"<< /Type /Pages /Kids [{listed}] /Count {len(sheets)} >>")
    objects.write(catalog, f"<< /Type /Catalog /Pages {tree} 0 R >>")
    names = "".join(f"{sheet.path.name} {sheet.width} {sheet.height}\n" for sheet in sheets)
    objects.finish(catalog, hashlib.sha256(names.encode()).hexdigest()[:32])


def _page(file: IO[bytes], objects: _Objects, sheet: Sheet, parent: int) -> int:
    """Write the page's object, once its image is written."""
    page, content, image = objects.reserve(), objects.reserve(), objects.reserve()
    # 72 points are an inch.
    width, height = sheet.width * 72 / sheet.dpi[0], sheet.height * 72 / sheet.dpi[1]
    # The image first: its length is known only afterwards if it is recoded.
    _image(file, objects, sheet, image)
    # The unit square of an image is scaled to the page (8.9.5).
    drawing = f"q {width:.4f} 0 0 {height:.4f} 0 0 cm /P Do Q"
    objects.begin_stream(content, "", len(drawing))
    file.write(drawing.encode())
    objects.end_stream()
    objects.write(
        page,
        f"<< /Type /Page /Parent {parent} 0 R /MediaBox [0 0 {width:.4f} {height:.4f}]"
        f" /Contents {content} 0 R /Resources << /XObject << /P {image} 0 R >> >> >>",
    )
    return page


def _image(file: IO[bytes], objects: _Objects, sheet: Sheet, number: int) -> None:
    size = f"/Type /XObject /Subtype /Image /Width {sheet.width} /Height {sheet.height}"
    with sheet.file() as page:
        head = page.read(8)
        # By its first bytes, not its name: a recipe chooses the extension.
        found = _png(page) if head == b"\x89PNG\r\n\x1a\n" else _jpeg(page, sheet, head)
        if found is not None:
            objects.begin_stream(number, f"{size} {found.entries}", found.length)
            for offset, length in found.pieces:
                page.seek(offset)
                _copy(page, file, length)
            objects.end_stream()
            return
    _recode(file, objects, sheet, number, size)


def _copy(source: IO[bytes], target: IO[bytes], length: int) -> None:
    while length:
        block = source.read(min(length, 1 << 20))
        if not block:
            raise AssemblyFailed("a page's file was cut short")
        target.write(block)
        length -= len(block)


def _png(page: IO[bytes]) -> _Picture | None:
    """Return its pixels as they are; None if transparency or interlacing would be lost in a PDF."""
    header, palette, pieces = b"", b"", []
    for kind, offset, length in _chunks(page):
        if kind in (b"IHDR", b"PLTE"):
            page.seek(offset)
            data = page.read(length)
            header, palette = (data, palette) if kind == b"IHDR" else (header, data)
        elif kind == b"tRNS":
            return None
        elif kind == b"IDAT":
            pieces.append((offset, length))
    width, _, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    # 4 and 6 have an alpha channel.
    if interlaced or colours not in (0, 2, 3):
        return None
    components = 3 if colours == 2 else 1
    space = _SPACES[components]
    if colours == 3:
        space = f"[/Indexed /DeviceRGB {len(palette) // 3 - 1} <{palette.hex()}>]"
    # 15: each row has its own filter type, as in PNG (7.4.4.4).
    predictor = f"/Predictor 15 /Colors {components} /BitsPerComponent {depth} /Columns {width}"
    return _Picture(
        f"/ColorSpace {space} /BitsPerComponent {depth} /Filter /FlateDecode"
        f" /DecodeParms << {predictor} >>",
        pieces,
    )


def _chunks(page: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's kind, and where its data are."""
    at = 8
    while True:
        page.seek(at)
        head = page.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, at + 8, length
        # Length, type and CRC take twelve bytes.
        at += 12 + length


def _jpeg(_page: IO[bytes], sheet: Sheet, head: bytes) -> _Picture | None:
    if head[:2] != b"\xff\xd8":
        return None
    with sheet.picture() as picture:
        components = len(picture.getbands())
        # Adobe's CMYK is stored upside down, and says so by its marker (Adobe Technical Note 5116).
        decode = " /Decode [1 0 1 0 1 0 1 0]" if components == 4 and "adobe" in picture.info else ""
    entries = f"/ColorSpace {_SPACES[components]} /BitsPerComponent 8 /Filter /DCTDecode{decode}"
    return _Picture(entries, [(0, sheet.bytes)])


_BITS = {
    "1": ("/DeviceGray", 1),
    "L": ("/DeviceGray", 8),
    "RGB": ("/DeviceRGB", 8),
    "CMYK": ("/DeviceCMYK", 8),
}


def _recode(file: IO[bytes], objects: _Objects, sheet: Sheet, number: int, size: str) -> None:
    """Compress the pixels of any other image again. What is transparent becomes white paper."""
    # The stream's length is an object of its own: it is known after the data were written.
    length = objects.reserve()
    with sheet.picture() as picture:
        page = _opaque(picture)
        space, bits = _BITS[page.mode]
        entries = f"{size} /ColorSpace {space} /BitsPerComponent {bits} /Filter /FlateDecode"
        objects.begin_stream(number, entries, f"{length} 0 R")
        begin = file.tell()
        _deflate(file, page)
    written = file.tell() - begin
    objects.end_stream()
    objects.write(length, str(written))


def _opaque(picture: Image.Image) -> Image.Image:
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        paper.alpha_composite(layer)
        return paper.convert("RGB")
    return picture if picture.mode in _BITS else picture.convert("RGB")


def _deflate(file: IO[bytes], page: Image.Image) -> None:
    compressor = zlib.compressobj(6)
    # In bands: all of a large page at once would take gigabytes.
    for top in range(0, page.height, _BAND):
        band = page.crop((0, top, page.width, min(top + _BAND, page.height)))
        file.write(compressor.compress(band.tobytes()))
    file.write(compressor.flush())
