"""Recognizes files that are not PDFs, and names the command that makes a PDF of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sshrender.shellwords import path_word

POSTSCRIPT, GZIP, IMAGE, WEB_PAGE = "PostScript", "compressed by gzip", "an image", "a web page"

_BEGINNINGS = {
    b"%!": POSTSCRIPT,
    b"\x1f\x8b": GZIP,
    b"\x89PNG": IMAGE,
    b"\xff\xd8\xff": IMAGE,  # JPEG
    b"II*\0": IMAGE,  # TIFF, the lower byte first
    b"MM\0*": IMAGE,
    b"GIF8": IMAGE,
}

_ADDRESS = re.compile(r"(https?|ftp):/(?=[^/])")
"""As a path: pathlib has made one slash of the two."""


def kind(head: bytes) -> str:
    """Return what the first bytes of a file that is not a PDF say, for an error."""
    found = _format(head)
    return f"not a PDF, but {found}" if found else "not a PDF"


def way_to_pdf(path: Path, head: bytes) -> str:
    """Return the hint: what to type to get a PDF from that file."""
    quoted, target = path_word(path), path_word(unused(_target(path)))
    found = _format(head)
    if found == POSTSCRIPT:
        return f"make a PDF of it, then render that: ps2pdf {quoted} {target}"
    if found == GZIP:
        return f"unpack it, then render that: gunzip < {quoted} > {target}"
    if found == IMAGE:
        return f"make a PDF of it, then render that: img2pdf -o {target} {quoted}"
    if found == WEB_PAGE:
        return (
            "fetch the document again: servers send such a page if it is not there,"
            " or if a login is needed"
        )
    return f"file {quoted}"


def is_known(head: bytes) -> bool:
    """Return whether the first bytes are those of another format."""
    return bool(_format(head))


def way_without_head(path: Path, start: int) -> str:
    """Return the hint for a PDF that begins only at this byte, counted from 0."""
    # Places of objects count from the header, so that the rest is a whole document.
    source, target = path_word(path), path_word(unused(f"{path.stem}.pdf"))
    return f"cut them off, then render that: tail -c +{start + 1} {source} > {target}"


def absence(path: Path) -> str:
    """Return what is wrong with the name of a document that is not there."""
    return "no such file, but an address" if _ADDRESS.match(str(path)) else "no such file"


def way_to_find(path: Path) -> str:
    """Return the hint for a document that is not there."""
    if _ADDRESS.match(str(path)):
        address = shlex.quote(_ADDRESS.sub(r"\1://", str(path)))
        target = path_word(unused(path.name.partition("?")[0] or "document.pdf"))
        return f"fetch it, then render that: curl -fLo {target} {address}"
    return f"check the name: ls -l {path_word(path.parent)}"


def _format(head: bytes) -> str:
    for beginning, name in _BEGINNINGS.items():
        if head.startswith(beginning):
            return name
    # A printer's job: commands for the printer (PJL) precede the document, which may be PCL as well.
    if head.startswith(b"\x1b%-12345X") and b"%!" in head:
        return POSTSCRIPT
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return WEB_PAGE if text.startswith((b"<!doctype html", b"<html")) else ""


def _target(path: Path) -> str:
    """Return a name for the PDF, in the current folder: ``a.pdf`` of ``a.ps`` or ``a.pdf.gz``."""
    stem = path.name.removesuffix(path.suffix)
    return stem if stem.lower().endswith(".pdf") else f"{stem}.pdf"


def unused(name: str) -> str:
    """Return the name, or one like it: the command of a hint must not write over a file."""
    wanted = path = Path(name)
    number = 1
    while path.exists():
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    return str(path)
