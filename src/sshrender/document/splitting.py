"""Splitting a document into parts of N pages while the first parts already render.

Page n of the document is page ``index`` of part ``part``; its number in the whole never changes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sshrender.files import write_whole

if TYPE_CHECKING:
    from pypdf import PdfReader

SOURCE = "source.pdf"
PARTS = "parts"
"""Names in the job's folder."""

AUTO_BYTES = 256 << 20
AUTO_PART_BYTES = 32 << 20
"""``--split auto``: documents above the first are cut into parts of about the second."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host finds a page: a file below the job's folder, and the page's number in it."""

    file: str
    index: int


def part_size(wanted: str, size: int, pages: int) -> int:
    """``--split`` as pages a part; 0: the document stays whole."""
    if wanted == "none":
        return 0
    if wanted != "auto":
        return int(wanted) if int(wanted) < pages else 0
    if size <= AUTO_BYTES:
        return 0
    return max(1, pages * AUTO_PART_BYTES // size)


def place(page: int, per_part: int) -> Place:
    """Where a page of the whole document is found."""
    if per_part == 0:
        return Place(SOURCE, page)
    part, index = divmod(page - 1, per_part)
    return Place(f"{PARTS}/part-{part + 1:05d}.pdf", index + 1)


def split(
    source: Path, password: str | None, folder: Path, per_part: int, pages: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    """Write the parts that hold any of ``pages``; yields those of each part as it is ready.

    A part that is there already (parts appear whole or not at all) is kept. The parts of a document
    under a user password are encrypted with it. Raises OSError, or whatever pypdf raises on a
    document that it cannot split.
    """
    from pypdf import PdfReader

    reader = PdfReader(source.open("rb"))
    secret = password if reader.is_encrypted and not reader.decrypt("") else None
    if secret is not None:
        reader.decrypt(secret)
    wanted: dict[int, list[int]] = {}
    for page in pages:
        wanted.setdefault((page - 1) // per_part, []).append(page)
    for part, members in wanted.items():
        path = folder / place(part * per_part + 1, per_part).file
        if not path.exists():
            write_whole(path, _part(reader, part * per_part, per_part, secret))
        yield tuple(members)


def _part(reader: PdfReader, first: int, count: int, secret: str | None) -> bytes:
    from pypdf import PdfWriter

    writer = PdfWriter()
    last = min(first + count, len(reader.pages))
    writer.append(reader, pages=(first, last), import_outline=False)
    if secret is not None:
        writer.encrypt(secret, algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()
