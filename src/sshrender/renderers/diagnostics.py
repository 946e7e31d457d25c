"""What Ghostscript said: which of its lines are chatter and which make a page suspect.

Two kinds of complaint exist (Ghostscript 10.00, measured): some are printed while a page is drawn,
others are only summed up when the document is closed. Both come on either stream, so both streams
are read as one.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import Iterable, List

MAX_LINES = 40
MAX_LINE = 300
"""What is kept of one page's output: a page may print gigabytes."""

_CHATTER = re.compile(
    r"Page \d+\s*$"
    r"|Processing pages \d+ through \d+\.\s*$"
    r"|Loading (a TT )?font "
    r"|Loading [A-Za-z0-9_.+-]+ font from "
    r"|Querying operating system for font files"
    r"|Substituting font "
    r"|GPL Ghostscript [0-9.]+ \("
    r"|Copyright \(C\)"
    r"|This software is supplied under"
    r"|see the file COPYING"
    r"|>>showpage"
)
_BOILERPLATE = re.compile(
    r"\*\*\*\* (This file had errors|Please notify the author|file that it does not conform"
    r"|specification\.|The file was produced by|>>>>)"
    r"|The following (errors|warnings) were encountered"
)
_STANDS_IN = re.compile(r"Loading (a TT )?font |Loading [A-Za-z0-9_.+-]+ font from |Substituting font ")
"""Said of fonts that are not in the document, the first time that a renderer needs each."""

_NEVER_RENDERED = "Could not draw this page at all"
_NOT_FOUND = "page not found"


def complaints(lines: Iterable[str]) -> List[str]:
    """The lines that say something went wrong, without chatter, blanks and boilerplate."""
    kept = []
    for line in lines:
        text = line.strip()
        if text and not _CHATTER.match(text) and not _BOILERPLATE.search(text):
            kept.append(text)
    return kept


def has_substituted_fonts(lines: Iterable[str]) -> bool:
    """Whether a font was looked for outside of the document."""
    return any(_STANDS_IN.match(line.strip()) for line in lines)


def was_not_found(lines: Iterable[str]) -> bool:
    """Whether Ghostscript says that there is no such page."""
    return any(_NOT_FOUND in line for line in lines)


def was_not_drawn(lines: Iterable[str]) -> bool:
    """Whether Ghostscript itself says that there is no such page or that it was left out."""
    return any(_NEVER_RENDERED in line or _NOT_FOUND in line for line in lines)
