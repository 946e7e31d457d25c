"""Read the facts of a PDF that a job needs before a page is rendered, without walking its page tree.

Counting pages by walking the tree takes seconds on large documents; ``/Root /Pages /Count`` is there at
once. A document that pypdf cannot read is not refused here: ``pages`` is then None, and Ghostscript,
which repairs more, is asked (coordinator/pagecountprobe.py).
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from sshrender.errors import ExitCode, UserError

if TYPE_CHECKING:
    from pypdf import PdfReader

HEADER_BYTES = 1024
"""``%PDF-`` must be within so many bytes at the start (PDF 1.7, implementation note 13)."""

MAX_PAGES = 250_000
"""Pages of a document. A page takes about 700 bytes in the coordinator (measured with 100,000), which
has to stay below 300 MB; and a file of two kilobytes can claim any number."""

MAX_PASSWORD_BYTES = 4096
MAX_DIAGNOSTIC = 200
"""Characters of Ghostscript's diagnostics in an error."""


class Stamp(NamedTuple):
    """What changes when a file is written to or replaced (inode(7)). Times in nanoseconds."""

    device: int
    inode: int
    bytes: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp from what stat(2) returns."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class DocumentFacts(NamedTuple):
    """``pages`` None: pypdf cannot tell. ``needs_password``: it does not open without one.

    ``revision`` of its encryption (ISO 32000-2, table 21); 0: it is not encrypted.
    """

    pages: int | None
    needs_password: bool
    revision: int = 0


def open_document(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError; opening a FIFO would wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is a directory" if stat.S_ISDIR(mode) else "not a regular file")
    return os.fdopen(descriptor, "rb")


def check_file(path: Path) -> Stamp:
    """Return the stamp of what looks like a PDF. Raises UserError."""
    try:
        with open_document(path) as file:
            head = file.read(HEADER_BYTES)
            stamp = Stamp.of(os.fstat(file.fileno()))
    except FileNotFoundError:
        raise _error(
            f"{path}: no such file", f"check the name: ls -l {shlex.quote(str(path.parent))}"
        ) from None
    except OSError as error:
        raise _error(f"{path}: {error.strerror}", f"ls -ld {shlex.quote(str(path))}") from None
    if stamp.bytes == 0:
        raise _error(f"{path}: the file is empty", "copy it again from where it came from")
    if b"%PDF-" not in head:
        raise _error(f"{path}: not a PDF", f"file {shlex.quote(str(path))}")
    return stamp


def require_unchanged(path: Path, before: Stamp) -> None:
    """Raise UserError where a document is not the file that it was."""
    try:
        is_same = Stamp.of(path.stat()) == before
    except OSError:
        is_same = False
    if not is_same:
        raise changed_meanwhile(path)


def changed_meanwhile(path: Path) -> UserError:
    """Return the error for a document that changed while it was read."""
    return _error(
        f"{path}: the file was changed while it was being read",
        f"try again when this stays the same: ls -l --full-time {shlex.quote(str(path))}",
    )


def look(path: Path, password: str | None) -> tuple[DocumentFacts, PdfReader | None]:
    """Return the facts, and a reader where pypdf can read.

    Raises UserError: no password, or a wrong one.
    """
    reader = _open(path)
    if reader is None:
        return DocumentFacts(None, False), None
    needs_password = _unlock(reader, path, password)
    pages = _count(reader)
    return DocumentFacts(pages, needs_password, _revision(reader)), reader if pages else None


def _revision(reader: PdfReader) -> int:
    try:
        encryption: Any = reader.trailer["/Encrypt"]
        return int(encryption["/R"]) if reader.is_encrypted else 0
    except Exception:  # noqa: BLE001 - as in _open
        return 0


def _open(path: Path) -> PdfReader | None:
    from pypdf import PdfReader

    try:
        # An open file: given a name, pypdf reads all of it into memory.
        return PdfReader(open_document(path))
    except Exception:  # noqa: BLE001 - pypdf raises anything; Ghostscript has the last word
        return None


def _unlock(reader: PdfReader, path: Path, password: str | None) -> bool:
    """Whether a user password is needed; the reader can read when this returns."""
    if not reader.is_encrypted:
        return False
    if _decrypts(reader, ""):
        return False
    if password is None:
        raise _error(
            f"{path}: protected by a password",
            "write the password to a file that only you can read, and add --password-file FILE",
        )
    if not _decrypts(reader, password):
        raise _error(f"{path}: wrong password", "check the first line of the --password-file")
    return True


def _decrypts(reader: PdfReader, password: str) -> bool:
    try:
        return bool(reader.decrypt(password))
    except Exception:  # noqa: BLE001 - an encryption that pypdf does not know; a wrong guess all the same
        return False


def _count(reader: PdfReader) -> int | None:
    try:
        root: Any = reader.trailer["/Root"]
        count = int(root["/Pages"]["/Count"])
    except Exception:  # noqa: BLE001 - as in _open
        return None
    return count if 0 < count <= MAX_PAGES else None


def _error(what: str, hint: str) -> UserError:
    return UserError(ExitCode.DOCUMENT, what, hint)


def needs_ghostscript(path: Path) -> UserError:
    """Return the error of a dry run where pypdf cannot count the pages: it does not ask Ghostscript."""
    return _error(
        f"{path}: damaged: only Ghostscript may be able to find its pages",
        f"Ghostscript looks for them in: sshrender render {shlex.quote(str(path))}",
    )


def beyond_repair(path: Path, said: Sequence[str]) -> UserError:
    """Return the error where neither pypdf nor Ghostscript finds a page. ``said``: its diagnostics."""
    why = f" (Ghostscript: {said[0][:MAX_DIAGNOSTIC]})" if said else ""
    return _error(
        f"{path}: damaged beyond repair: no page can be found in it{why}",
        f"copy it again from its origin; to see what is wrong: qpdf --check {shlex.quote(str(path))}",
    )


def too_many_pages(path: Path) -> UserError:
    """Ghostscript finds more than one job can hold."""
    return _error(
        f"{path}: it claims more than {MAX_PAGES:,} pages, the most that a document may have",
        f"copy a part of it: qpdf {shlex.quote(str(path))} --pages . 1-1000 -- part.pdf",
    )


def read_password(path: Path) -> str:
    """Return the first line of a file, without its end. Raises UserError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PASSWORD_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(
            ExitCode.USAGE, f"password file {path}: {what}", f"ls -l {shlex.quote(str(path))}"
        ) from None
    return text.split("\n", 1)[0].rstrip("\r")
