"""The facts of a PDF that a job needs before a page is rendered, and the errors of its file.

A document that document/opening.py cannot read is not refused here: ``pages`` is then None, and
Ghostscript, which repairs more, is asked (coordinator/pagecountprobe.py).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sshrender.document import otherformats
from sshrender.errors import ExitCode, UserError
from sshrender.shellwords import path_word

HEADER_BYTES = 1024
"""``%PDF-`` must be within so many bytes at the start (PDF 1.7, implementation note 13)."""

MAX_PREFIX = 1 << 20
"""Bytes in which a later ``%PDF-`` is looked for, to say what is before it, as a mail's head."""

MAX_PAGES = 250_000
"""Pages of a document. A page takes about 700 bytes in the coordinator (measured with 100,000), which
has to stay below 300 MB; and a file of two kilobytes can claim any number."""

_TRAILER_BYTES = 1 << 20
"""Bytes at either end of a file in which a trailer is looked for (ISO 32000-2, 7.5.5; annex F)."""

_ASKS_FOR_PASSWORD = "requires a password"
"""Ghostscript 10.00 says so of a document that does not open without one, or with a wrong one."""

MAX_PASSWORD_BYTES = 4096
MAX_LATIN_REVISION = 4
MAX_DIAGNOSTIC = 200
"""Characters of Ghostscript's diagnostics in an error."""


class Stamp(NamedTuple):
    """Values that change when a file is written or replaced (inode(7)). Times in nanoseconds."""

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
    """``pages`` None: qpdf cannot tell. ``needs_password``: it does not open without one.

    ``revision`` of its encryption (ISO 32000-2, table 21); 0: it is not encrypted.
    """

    pages: int | None
    needs_password: bool
    revision: int = 0


def open_document(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError; opening a FIFO would wait for a writer."""
    # O_NONBLOCK has no effect on regular files (open(2)).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is a directory" if stat.S_ISDIR(mode) else "not a regular file")
    return os.fdopen(descriptor, "rb")


def check_file(path: Path) -> Stamp:
    """Return the stamp of what looks like a PDF. Raises UserError."""
    try:
        # The stamp of the open file: by its name it could be another one a moment later.
        with open_document(path) as file:
            head = file.read(HEADER_BYTES)
            more = b"" if b"%PDF-" in head else file.read(MAX_PREFIX)
            stamp = Stamp.of(os.fstat(file.fileno()))
    except FileNotFoundError:
        raise _error(f"{path}: {otherformats.absence(path)}", otherformats.way_to_find(path)) from None
    except OSError as error:
        raise _error(f"{path}: {error.strerror}", f"ls -ld {path_word(path)}") from None
    if stamp.bytes == 0:
        raise _error(f"{path}: the file is empty", "copy it again from where it came from")
    if b"%PDF-" not in head:
        start = (head + more).find(b"%PDF-")
        if start > 0 and not otherformats.is_known(head):
            what = (
                f"the PDF begins only after {start:,} other bytes; Ghostscript looks at {HEADER_BYTES:,}"
            )
            raise _error(f"{path}: {what}", otherformats.way_without_head(path, start))
        raise _error(f"{path}: {otherformats.kind(head)}", otherformats.way_to_pdf(path, head))
    return stamp


def require_unchanged(path: Path, before: Stamp) -> None:
    """Raise UserError if a document is not the file that it was."""
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
        f"try again when this stays the same: ls -l --full-time {path_word(path)}",
    )


def encoded_password(password: str, revision: int) -> bytes:
    """Return a password in the encoding of an encryption of this revision (ISO 32000-2, 7.6.4).

    Up to revision 4 it is PDFDocEncoding, of which Latin-1 is the part that keyboards have; from 5 on it
    is UTF-8, as for what that encoding lacks. 0: the revision is not known.
    """
    if 0 < revision <= MAX_LATIN_REVISION:
        try:
            return password.encode("latin-1")
        except UnicodeEncodeError:
            return password.encode()
    return password.encode()


def _error(what: str, hint: str) -> UserError:
    return UserError(ExitCode.DOCUMENT, what, hint)


def portfolio(path: Path) -> UserError:
    """Return the error for a document that is an envelope for others."""
    folder = path_word(f"{path.stem}-parts")
    return UserError(
        ExitCode.DOCUMENT,
        f"{path}: a PDF portfolio: its pages are those of the documents that are attached to it",
        f"mkdir {folder} && pdfdetach -saveall -o {folder} {path_word(path)}"
        f" && sshrender render {folder}/*.pdf",
    )


def needs_ghostscript(path: Path) -> UserError:
    """Return the error of a dry run if qpdf cannot count the pages: it does not ask Ghostscript."""
    return _error(
        f"{path}: damaged or protected: only Ghostscript may be able to find its pages",
        f"Ghostscript looks for them in: sshrender render {path_word(path)}",
    )


def no_pages(path: Path, diagnostics: Sequence[str], password: str | None) -> UserError:
    """Return the error if neither qpdf nor Ghostscript finds a page. ``diagnostics``: Ghostscript's.

    A document may be whole, and only protected: then it is not called damaged.
    """
    if any(_ASKS_FOR_PASSWORD in line for line in diagnostics):
        return needs_password(path) if password is None else wrong_password(path)
    return _protected_otherwise(path) if _is_encrypted(path) else _beyond_repair(path, diagnostics)


def _is_encrypted(path: Path) -> bool:
    """Return whether a trailer names an encryption, by the file's bytes: qpdf could not read it."""
    try:
        with open_document(path) as file:
            # The trailer of a linearized file is near its beginning.
            found = file.read(_TRAILER_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TRAILER_BYTES))
            return b"/Encrypt" in found or b"/Encrypt" in file.read(_TRAILER_BYTES)
    except OSError:
        return False


class PasswordError(UserError):
    """The password is missing or wrong, as far as qpdf can tell."""


def needs_password(path: Path) -> UserError:
    """Return the error for a document that opens with a password, and none was given."""
    return PasswordError(
        ExitCode.DOCUMENT,
        f"{path}: protected by a password",
        "write the password to a file that only you can read, and add --password-file FILE",
    )


def wrong_password(path: Path) -> UserError:
    """Return the error for a password that does not open the document."""
    return PasswordError(
        ExitCode.DOCUMENT, f"{path}: wrong password", "check the first line of the --password-file"
    )


def _protected_otherwise(path: Path) -> UserError:
    """Return the error for a document that no password opens."""
    return _error(
        f"{path}: protected in a way that cannot be opened here, as by a certificate",
        "save it without protection in a program that opens it; to see more:"
        f" qpdf --check {path_word(path)}",
    )


def _beyond_repair(path: Path, diagnostics: Sequence[str]) -> UserError:
    why = f" (Ghostscript: {diagnostics[0][:MAX_DIAGNOSTIC]})" if diagnostics else ""
    return _error(
        f"{path}: damaged beyond repair: no page can be found in it{why}",
        f"copy it again from its origin; to see what is wrong: qpdf --check {path_word(path)}",
    )


def too_many_pages(path: Path) -> UserError:
    """Ghostscript finds more than one job can hold."""
    return _error(
        f"{path}: it claims more than {MAX_PAGES:,} pages, the most that a document may have",
        f"copy a part of it: qpdf {path_word(path)} --pages . 1-1000 -- part.pdf",
    )


def others_may_read(path: Path) -> bool:
    """Return whether the permissions of a password file let other users read it.

    ssh(1) refuses a private key then. A pipe (``<(pass show pdf)``) has no readers but this process.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # read_password tells why
    return stat.S_ISREG(mode) and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def read_password(path: Path) -> str:
    """Return the first line of a file, without its end. Raises UserError."""
    try:
        with path.open("rb") as file:
            # Windows' editors begin UTF-8 text with a byte order mark.
            text = file.read(MAX_PASSWORD_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            ExitCode.USAGE,
            f"password file {path}: {error.strerror}",
            f"--password-file takes a file whose first line is the password: ls -l {path_word(path)}",
        ) from None
    except UnicodeDecodeError:
        quoted, target = path_word(path), path_word(otherformats.unused(f"{path}.utf8"))
        raise UserError(
            ExitCode.USAGE,
            f"password file {path}: not UTF-8 text",
            f"convert it, and name the new file: iconv -f ISO-8859-1 -t UTF-8 -o {target} {quoted}",
        ) from None
    # Not strip(): spaces may be part of a password.
    return text.split("\n", 1)[0].rstrip("\r")
