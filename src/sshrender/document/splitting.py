"""Split a document into parts of N pages while the first parts already render.

Page n of the document is page ``index`` of part ``part``; its number in the whole never changes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sshrender.document.facts import open_document
from sshrender.document.pdfwarnings import PdfWarnings
from sshrender.storage.files import open_folder, write_whole

if TYPE_CHECKING:
    from pypdf import PdfReader, PdfWriter

SOURCE = "source.pdf"
PARTS = "parts"
"""Names in the job's folder."""

AUTO_BYTES = 256 << 20
AUTO_PART_BYTES = 32 << 20
"""``--split auto``: documents above the first are cut into parts of about the second."""


MAX_GROWTH, MORE_BYTES = 8, 256 << 20
"""All parts may take so many times the document's size, and so many bytes more: each part has a copy of
what its pages share, and a hostile page shares everything."""


class PartsTooLarge(Exception):
    """The parts would take more space than splitting is worth."""


class NotSound(Exception):
    """pypdf had to repair the document: its parts may hold other pages than Ghostscript sees."""


@dataclass(frozen=True, slots=True)
class PartsFolder:
    """Finds a page for a host: a file below the job's folder, and the page's number in it."""

    file: str
    index: int


def part_size(wanted: str, size: int, pages: int) -> int:
    """Return ``--split`` as pages in a part; 0: the document stays whole."""
    if wanted == "none":
        return 0
    if wanted != "auto":
        return int(wanted) if int(wanted) < pages else 0
    if size <= AUTO_BYTES:
        return 0
    return max(1, pages * AUTO_PART_BYTES // size)


UNREADABLE = 5
"""The revision of encryption that Ghostscript 10.00 dies of (AES-256 as Acrobat 9 writes it). The parts
of such a document are encrypted by revision 6, which it reads."""


def part_size_for(revision: int, wanted: str, size: int, pages: int) -> int:
    """Return part_size, but never 0 for a document that Ghostscript can read only in parts."""
    if revision != UNREADABLE:
        return part_size(wanted, size, pages)
    return part_size("auto" if wanted == "none" else wanted, size, pages) or pages


def place(page: int, per_part: int) -> PartsFolder:
    """Return where a page of the whole document is found."""
    if per_part == 0:
        return PartsFolder(SOURCE, page)
    part, index = divmod(page - 1, per_part)
    return PartsFolder(f"{PARTS}/part-{part + 1:05d}.pdf", index + 1)


class Splitter:
    """Writes parts of one document. Parts of one under a user password are encrypted with it."""

    def __init__(self, source: Path, password: str | None, folder: Path, per_part: int) -> None:
        """Open the document. Raises OSError, or whatever pypdf raises on one that it cannot read."""
        from pypdf import PdfReader

        self._file = file = open_document(source)
        try:
            self._room = MAX_GROWTH * os.fstat(file.fileno()).st_size + MORE_BYTES
            self._reader = PdfReader(file)
            self._secret = None
            # An owner's password alone: the document opens with an empty one.
            if self._reader.is_encrypted and not self._reader.decrypt(""):
                self._secret = password
                self._reader.decrypt(password or "")
        except BaseException:
            file.close()
            raise
        self._folder = folder
        self.per_part = per_part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def require_sound(self, total: int, heard: PdfWarnings) -> None:
        """Raise NotSound unless pypdf finds this number of pages, and has not warned."""
        found = len(self._reader.pages)
        if found != total or heard.count:
            raise NotSound(f"pypdf finds {found} of {total} pages, after {heard.count} warnings")

    def write(self, part: int, names: Callable[[int, int], PartsFolder]) -> None:
        """Write part ``part``, counted from 0. An existing one is replaced: its content is not known.

        Raises OSError, PartsTooLarge, or whatever pypdf raises on a document that it cannot split.
        """
        path = self._folder / names(part * self.per_part + 1, self.per_part).file
        data = self._part(part * self.per_part)
        self._room -= len(data)
        if self._room < 0:
            raise PartsTooLarge(
                f"the parts would be more than {MAX_GROWTH} times as large as the document"
            )
        os.close(open_folder(path.parent))  # ENOTDIR: a link leads out of the job's folder
        write_whole(path, data)

    def _part(self, first: int) -> bytes:
        from pypdf import PdfWriter

        writer = PdfWriter()
        last = min(first + self.per_part, len(self._reader.pages))
        # Without the outline, which leads to pages of other parts.
        writer.append(self._reader, pages=(first, last), import_outline=False)
        _keep_catalog(self._reader, writer)
        if self._secret is not None:
            # As the document is protected, its parts are.
            writer.encrypt(self._secret, algorithm="AES-256")
        buffer = io.BytesIO()
        writer.write(buffer)
        return buffer.getvalue()


_LOOKS = {
    "/OCProperties": None,
    "/OutputIntents": None,
    "/AcroForm": ("/NeedAppearances", "/DR", "/DA", "/Q"),
}
"""Entries of a document's catalog that change how its pages look: which layers are shown, which colours
are meant, how fields without an appearance are rendered. A form's list of fields leads to every page,
and is left out."""


def _keep_catalog(reader: PdfReader, writer: PdfWriter) -> None:
    from pypdf.generic import DictionaryObject, NameObject

    for key, wanted in _LOOKS.items():
        value: Any = reader.root_object.get(key)
        value = None if value is None else value.get_object()
        if value is None or key in writer.root_object:
            continue
        if wanted is not None:
            # raw_get: references stay references, and are cloned with what they refer to.
            kept = {NameObject(name): value.raw_get(name) for name in wanted if name in value}
            value = DictionaryObject(kept)
        writer.root_object[NameObject(key)] = value.clone(writer)


def fed_place(page: int, per_part: int) -> PartsFolder:
    """Return the place in the parts for hosts without shared storage, which may be of another size."""
    if per_part == 0:
        return PartsFolder(SOURCE, page)
    part, index = divmod(page - 1, per_part)
    # The number of pages is part of the name: another run may have cut parts of another size.
    return PartsFolder(f"{PARTS}/of{per_part}-{part + 1:05d}.pdf", index + 1)


def split(splitter: Splitter, pages: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Write the parts that contain any of ``pages``; yield those of each part as it is ready.

    Raises as Splitter does.
    """
    wanted: dict[int, list[int]] = {}
    for page in pages:
        # By part, in the order of the pages: the first part is written first.
        wanted.setdefault((page - 1) // splitter.per_part, []).append(page)
    for part, members in wanted.items():
        splitter.write(part, place)
        yield tuple(members)
