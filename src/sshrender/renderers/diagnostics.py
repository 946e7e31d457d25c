"""Finds, among the lines that Ghostscript prints, the warnings that make a page suspect.

Ghostscript 10.00 prints two kinds of warnings (measured): some while it renders a page, others only as a
summary when the document is closed. Both kinds come on stdout and on stderr, so both are read as one
stream.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import Iterable, List

MAX_LINES = 40
MAX_LINE = 300
"""Lines of one page's output that are kept, and characters of each: a page may print gigabytes."""

_MEANINGLESS = re.compile(
    # Lines of progress, of fonts and of the banner, which come on every run.
    r"Page \d+\s*$"
    r"|Processing pages \d+ through \d+\.\s*$"
    r"|Loading (a TT )?font "
    r"|Loading [A-Za-z0-9_.+-]+ font from "
    r"|Querying operating system for font files"
    r"|Substituting font "
    # The fonts are found all the same. Warnings are about the files of the host.
    r"|Fontconfig error: No writable cache directories"
    r"|Fontconfig warning: "
    r"|GPL Ghostscript [0-9.]+ \("
    r"|Copyright \(C\)"
    r"|This software is supplied under"
    r"|see the file COPYING"
    r"|>>showpage"
)
_BOILERPLATE = re.compile(
    # Phrases around the summary of a document; the lines between them name the problems.
    r"\*\*\*\* (This file had errors|Please notify the author|file that it does not conform"
    r"|specification\.|The file was produced by|>>>>)"
    r"|The following (errors|warnings) were encountered"
)
_SUBSTITUTES = re.compile(
    r"Loading (a TT )?font |Loading [A-Za-z0-9_.+-]+ font from |Substituting font "
)
"""Lines about a font that the document does not contain; printed when a process first needs it."""

_NOT_RENDERED = "Could not draw this page at all"
_NOT_FOUND = "page not found"


def warnings(lines: Iterable[str]) -> List[str]:
    """Return the lines that report a problem, without blank lines and standard phrases."""
    kept = []
    for line in lines:
        text = line.strip()
        # match() for lines that begin so, search() for phrases that follow the asterisks of a summary.
        if text and not _MEANINGLESS.match(text) and not _BOILERPLATE.search(text):
            kept.append(text)
    return kept


def has_substituted_fonts(lines: Iterable[str]) -> bool:
    """Return whether a font was taken from outside of the document."""
    return any(_SUBSTITUTES.match(line.strip()) for line in lines)


def was_not_found(lines: Iterable[str]) -> bool:
    """Return whether Ghostscript reports that the document has no such page."""
    return any(_NOT_FOUND in line for line in lines)


def was_not_rendered(lines: Iterable[str]) -> bool:
    """Return whether Ghostscript reports that the page does not exist or was left out."""
    # The first is printed for a page that is broken, the second for one that the page tree does not
    # have.
    return any(_NOT_RENDERED in line or _NOT_FOUND in line for line in lines)
