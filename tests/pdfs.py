"""PDFs made for tests: small, whole, and broken in ways that are named."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PdfPage:
    """One page. ``box`` is its MediaBox; ``content``, so many ``times``, its content stream.

    ``extra``: more of its keys.
    """

    box: tuple[float, float, float, float] = (0, 0, 200, 100)
    content: bytes = b""
    extra: str = ""
    times: int = 1


def text_page(number: int, width: float = 200, height: float = 100) -> PdfPage:
    """A page that says its number, unlike every other."""
    drawing = f"BT /F1 24 Tf 20 {height / 2:g} Td (page {number}) Tj ET\n"
    drawing += f"0 0 1 rg {number * 3 % 150} 5 20 10 re f\n"
    return PdfPage((0, 0, width, height), drawing.encode())


def numbered(count: int, width: float = 200, height: float = 100) -> list[PdfPage]:
    """``count`` pages that differ."""
    return [text_page(number, width, height) for number in range(1, count + 1)]


def slow(count: int, strokes: int = 5_000) -> list[PdfPage]:
    """Pages that differ and take a tenth of a second of CPU each, at any resolution.

    For what is done to a job while it runs: the machine's load slows both down alike.
    """
    drawing = b"0 0 m 200 100 l 200 0 l 0 100 l f\n" * strokes + b"1 g 0 0 200 100 re f 0 g\n"
    return [PdfPage(page.box, drawing + page.content) for page in numbered(count)]


def heavy(count: int, size: int) -> list[PdfPage]:
    """Pages that show their number and hold so many bytes of comments, which do not compress."""
    rng = random.Random(count)
    pages = numbered(count)
    return [PdfPage(page.box, b"%" + _noise(rng, size) + b"\n" + page.content) for page in pages]


def _noise(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size).translate(None, b"\r\n")


def endless_page() -> PdfPage:
    """Half a gigabyte of drawing that fits into half a megabyte: no renderer ends it within minutes."""
    return PdfPage(content=b"0 0 m 200 100 l 200 0 l 0 100 l f\n" * 30_000, times=500)


def bad_operator_page() -> PdfPage:
    """Draws, but not without a complaint: an operator that nobody knows, and text outside of text."""
    return PdfPage(content=b"(x) Tj\n0 0 50 50 re f\nnonsense\n")


def build(pages: Sequence[PdfPage], *, kids_per_node: int = 0) -> bytes:
    """A whole PDF 1.4. With ``kids_per_node`` its page tree has two levels."""
    objects: dict[int, bytes] = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    first = 4
    per_node = kids_per_node or max(len(pages), 1)
    nodes = [range(at, min(at + per_node, len(pages))) for at in range(0, len(pages), per_node)]
    node_at = first + 2 * len(pages)
    for number, page in enumerate(pages):
        parent = 2 if kids_per_node == 0 else node_at + number // per_node
        objects |= _page_objects(first + 2 * number, page, parent)
    kids = [first + 2 * number for number in range(len(pages))]
    if kids_per_node:
        for number, members in enumerate(nodes):
            objects[node_at + number] = _node(2, [kids[member] for member in members], len(members))
        kids = [node_at + number for number in range(len(nodes))]
    objects[2] = _node(None, kids, len(pages))
    return assemble(objects)


def write(path: Path, pages: Sequence[PdfPage]) -> Path:
    """``build`` into a file."""
    path.write_bytes(build(pages))
    return path


def protect(source: Path, target: Path, password: str, owner: str | None = None) -> Path:
    """A copy under a user password (AES-256)."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(PdfReader(source))
    writer.encrypt(password, owner, algorithm="AES-256")
    writer.write(target)
    return target


def _page_objects(at: int, page: PdfPage, parent: int) -> dict[int, bytes]:
    box = " ".join(f"{side:g}" for side in page.box)
    fonts = "/Font << /F1 3 0 R >>" if b"/F1" in page.content else ""
    head = (
        f"<< /Type /Page /Parent {parent} 0 R /MediaBox [{box}] /Contents {at + 1} 0 R"
        f" /Resources << {fonts} >> {page.extra} >>"
    )
    data = _deflated(page.content, page.times)
    stream = f"<< /Length {len(data)} /Filter /FlateDecode >>\nstream\n".encode()
    return {at: head.encode(), at + 1: stream + data + b"\nendstream"}


def _deflated(data: bytes, times: int) -> bytes:
    """``data`` so many times over (RFC 1950), compressed once: half a gigabyte takes seconds."""
    once = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = once.compress(data) + once.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    check = 1
    for _ in range(times):
        check = zlib.adler32(data, check)
    return b"\x78\xda" + block * times + b"\x03\x00" + check.to_bytes(4, "big")


def _node(parent: int | None, kids: Sequence[int], count: int) -> bytes:
    up = f" /Parent {parent} 0 R" if parent is not None else ""
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    return f"<< /Type /Pages{up} /Kids [{listed}] /Count {count} >>".encode()


def assemble(objects: dict[int, bytes]) -> bytes:
    """A whole PDF of objects, numbered from 1 on without gaps; 1 is its catalogue."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = {}
    for number in sorted(objects):
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + objects[number] + b"\nendobj\n"
    size = max(objects) + 1
    table = len(out)
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        out += f"{places[number]:010d} 00000 n \n".encode()
    out += f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)
