"""Open a PDF with qpdf (pikepdf), and read its facts and its number of pages without walking the pages.

Opening takes what reading the cross references takes: for 1,321 pages in object streams 0.02 s of CPU,
and for 20,000 pages 0.07 s. Walking the former with pypdf took 6 s (measured). Only the root of the page
tree and its kids are read for the number of pages, which is what Ghostscript 10.00 adds up (measured).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pikepdf

from sshrender.document.facts import (
    MAX_PAGES,
    DocumentFacts,
    needs_password,
    open_document,
    portfolio,
    wrong_password,
)

MAX_ATTACHMENTS, MAX_TREE_DEPTH = 1000, 4
"""Most attached documents, and most levels of their tree, that are read."""

MAX_KIDS = 5000
"""Kids of the page tree's root that are read for their number of pages, in 0.15 s (measured)."""


class OpenDocument:
    """A document that qpdf can read. ``warnings``: how often that, or this program, warned."""

    def __init__(self, pdf: pikepdf.Pdf, file: BinaryIO) -> None:
        self.pdf = pdf
        self._file = file
        self._warnings = 0

    def warn(self) -> None:
        """Count something that Ghostscript may understand differently."""
        self._warnings += 1

    @property
    def warnings(self) -> int:
        """Return the number of warnings: of a document that has none, Ghostscript sees the same."""
        # get_warnings() empties the list, so the number is added up.
        self._warnings += len(self.pdf.get_warnings())
        return self._warnings

    def counts_right(self) -> bool:
        """Return whether the root of the page tree claims as many pages as its kids do together."""
        try:
            root: Any = self.pdf.Root["/Pages"]
            return int(root["/Count"]) == _pages_of(root)
        except Exception:  # noqa: BLE001 - a broken tree raises anything; Ghostscript has the last word
            return False

    def close(self) -> None:
        """Close the file."""
        self.pdf.close()
        self._file.close()


def read_facts(path: Path, password: str | None) -> tuple[DocumentFacts, OpenDocument | None]:
    """Return the facts, and the open document if qpdf can read it.

    Raises UserError: no password, a wrong one, or a portfolio.
    """
    try:
        file = open_document(path)
    except OSError:
        return DocumentFacts(None, False), None
    try:
        pdf, is_locked = _open(file, path, password)
        if pdf is None:
            file.close()
            return DocumentFacts(None, False), None
        if _is_portfolio(pdf):
            raise portfolio(path)
    except BaseException:
        file.close()
        raise
    pages = _count(pdf)
    # Without a sound number of pages nothing more is read; Ghostscript is asked.
    document = OpenDocument(pdf, file) if pages else None
    return DocumentFacts(pages, is_locked, _revision(pdf)), document


def mapped_bytes(path: Path) -> int:
    """Return the bytes of address space that the file takes: qpdf maps it into memory."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _open(file: BinaryIO, path: Path, password: str | None) -> tuple[pikepdf.Pdf | None, bool]:
    """Return the document, None if qpdf cannot read it, and whether it needs a password."""
    try:
        # First without a password: most documents have none, or one for the owner alone.
        return _open_with(file, b""), False
    except pikepdf.PasswordError:
        pass  # a password is needed: see below
    except Exception:  # noqa: BLE001 - pikepdf raises anything; Ghostscript has the last word
        return None, False
    if password is None:
        raise needs_password(path)
    # qpdf takes bytes: which encoding was used for the password is not known before it opens.
    for encoded in _encodings(password):
        try:
            return _open_with(file, encoded), True
        except pikepdf.PasswordError:
            continue
        except Exception:  # noqa: BLE001 - as above
            return None, True
    raise wrong_password(path)


def _encodings(password: str) -> Iterator[bytes]:
    """Yield the password in the encodings of older and of newer encryptions (facts.encoded_password)."""
    yield password.encode()
    latin = password.encode("latin-1", "ignore")
    if latin != password.encode():
        yield latin


def _open_with(file: BinaryIO, password: bytes) -> pikepdf.Pdf:
    # Without inherit_page_attributes=False all pages are walked.
    return pikepdf.open(file, password=password, suppress_warnings=True, inherit_page_attributes=False)


def _revision(pdf: pikepdf.Pdf) -> int:
    try:
        return int(pdf.encryption.R) if pdf.is_encrypted else 0
    except Exception:  # noqa: BLE001 - as in _open
        return 0


def _is_portfolio(pdf: pikepdf.Pdf) -> bool:
    """Return whether Ghostscript would render attached documents instead of the document's own pages.

    It does if the catalog has a /Collection (ISO 32000-2, 12.3.5) and a PDF is attached. Measured with
    Ghostscript 10.00.
    """
    try:
        root: Any = pdf.Root
        if "/Collection" not in root:
            return False
        return any(_is_pdf(each) for each in _attachments(root["/Names"]["/EmbeddedFiles"], 0))
    except Exception:  # noqa: BLE001 - as in _open
        return False


def _attachments(node: Any, depth: int) -> Iterator[Any]:
    """Yield the file specifications in a name tree (ISO 32000-2, 7.9.6), a bounded part of it."""
    values = node.get("/Names", [])
    # Names and values alternate: the values are at odd places.
    for place in range(1, min(len(values), 2 * MAX_ATTACHMENTS), 2):
        yield values[place]
    if depth < MAX_TREE_DEPTH:
        kids = node.get("/Kids", [])
        for place in range(min(len(kids), MAX_ATTACHMENTS)):
            yield from _attachments(kids[place], depth + 1)


def _is_pdf(attachment: Any) -> bool:
    name = str(attachment.get("/UF") or attachment.get("/F") or "")
    file: Any = attachment["/EF"]["/F"]
    return name.lower().endswith(".pdf") or str(file.get("/Subtype")) == "/application/pdf"


def _count(pdf: pikepdf.Pdf) -> int | None:
    try:
        root: Any = pdf.Root["/Pages"]
        count = int(root["/Count"])
    except Exception:  # noqa: BLE001 - as in _open
        return None
    return count if 0 < count <= MAX_PAGES else None


def _pages_of(root: Any) -> int:
    """Return the pages that the kids of the tree's root claim together."""
    if "/Kids" not in root:
        return 1
    kids = root["/Kids"]
    if len(kids) > MAX_KIDS:
        raise ValueError("Ghostscript counts them faster")
    return sum(int(kid["/Count"]) if "/Kids" in kid else 1 for kid in kids)
