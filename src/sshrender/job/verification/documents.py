"""Verify files without pixels that a recipe may make: PDF, text, XML. They have no dimensions."""

from __future__ import annotations

import codecs

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size

NO_PIXELS: Size = (0, 0)

_TAIL = 2048
"""Bytes within which a PDF's end must be marked: readers look for it in the last kilobyte or two."""


def measure_pdf(file: PageFile, _accept: Accept) -> Size:
    """Check that it begins and ends as a PDF does."""
    require(file.head(5) == b"%PDF-", "not a PDF")
    require(b"%%EOF" in file.tail(_TAIL), "a PDF without its end")
    return NO_PIXELS


def measure_text(file: PageFile, _accept: Accept) -> Size:
    """Check that it is UTF-8, without NUL bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in file.blocks():
            # A NUL byte is valid UTF-8, but no text.
            require(b"\0" not in block, "not a text: it holds NUL bytes")
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise VerificationFailed(f"not UTF-8: {error.reason}") from None
    return NO_PIXELS


def measure_xml(file: PageFile, _accept: Accept) -> Size:
    """Check that it is well-formed, whatever its document type says; no external entity is read."""
    from xml.parsers import expat

    parser = expat.ParserCreate()
    parser.UseForeignDTD(False)
    try:
        for block in file.blocks():
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise VerificationFailed(f"not whole XML: {error}") from None
    return NO_PIXELS


def measure_any(_file: PageFile, _accept: Accept) -> Size:
    """Check that it is not empty: nothing else is known of the format."""
    return NO_PIXELS
