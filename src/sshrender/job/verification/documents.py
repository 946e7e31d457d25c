"""Files without pixels that a recipe may make: what shows that one is whole. They have no dimensions."""

from __future__ import annotations

from xml.parsers import expat

from sshrender.job.verification.buffer import Buffer, Size, blocks
from sshrender.job.verification.errors import VerificationFailed, require

NO_PIXELS: Size = (0, 0)

_TAIL = 2048
"""Bytes within which a PDF's end must be marked: readers look for it in the last kilobyte or two."""


def measure_pdf(data: Buffer) -> Size:
    """It begins and ends as a PDF does."""
    require(data[:5] == b"%PDF-", "not a PDF")
    require(b"%%EOF" in data[max(0, len(data) - _TAIL) :], "a PDF without its end")
    return NO_PIXELS


def measure_text(data: Buffer) -> Size:
    """UTF-8, without NUL bytes."""
    rest = b""
    for block in blocks(data):
        require(b"\0" not in block, "not a text: it holds NUL bytes")
        rest = _undecoded(rest + block)
    require(not rest, "not UTF-8: it ends within a character")
    return NO_PIXELS


def _undecoded(data: bytes) -> bytes:
    """What may be the beginning of a character at the end of a block."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        require(error.reason == "unexpected end of data", "not UTF-8")
        return data[error.start :]
    return b""


def measure_xml(data: Buffer) -> Size:
    """Well-formed, whatever its document type says; no entity of it is looked at."""
    parser = expat.ParserCreate()
    parser.UseForeignDTD(False)
    try:
        for block in blocks(data):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise VerificationFailed(f"not whole XML: {error}") from None
    return NO_PIXELS


def measure_any(data: Buffer) -> Size:
    """Nothing is known of it but that it is not empty."""
    return NO_PIXELS
