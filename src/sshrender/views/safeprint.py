"""Write text to a terminal, a pipe or a log. Every text that the program prints passes through here.

Names, notes and reasons come from other machines and other users. Whatever a caller passes in, no
control character, terminal escape or direction mark is written, and a character that the stream cannot
encode ends no command. A test keeps every other module from writing to stdout or stderr.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import Any, TextIO

from sshrender.views.text import CONTROL

# Newlines are allowed here, unlike in a single line.
_IN_TEXT = re.compile(rf"(?!\n){CONTROL.pattern}")
_BYTE = re.compile("[\udc80-\udcff]")
"""A byte of a file name that is not UTF-8, as Python decodes it (PEP 383)."""

_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""The other lone surrogates: no encoding has them."""


def line(text: object, stream: TextIO | None = None, *, flush: bool = False) -> None:
    """Write one line, to stdout if no stream is given. Raises OSError."""
    # The newline is added after the text was cleaned.
    _put(CONTROL.sub("?", str(text)) + "\n", stream, flush=flush)


def note(text: object, *, flush: bool = False) -> None:
    """Write one line to stderr. Never fails: a full disk or a lost reader changes no exit code."""
    with contextlib.suppress(OSError, ValueError):
        line(text, sys.stderr, flush=flush)


def text(words: str, stream: TextIO | None = None) -> None:
    """Write several lines, with a question mark for each harmful character. Raises OSError."""
    _put(harmless(words), stream, flush=True)


def as_json(value: Any, stream: TextIO | None = None, *, indent: int | None = None) -> None:
    """Write one JSON value in ASCII: JSON's escapes make every character harmless. Raises OSError.

    A byte of a name that is not UTF-8 is written as Python's surrogate escape: a program can restore it.
    """
    # JSON escapes all control characters but DEL.
    words = json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
    _put(words + "\n", stream, flush=True)


def clear_screen(stream: TextIO) -> None:
    """Clear a terminal and move its cursor to the top left. Raises OSError."""
    # Absolute addressing and clearing, which every terminal with a cursor has (ECMA-48, CUP and ED).
    stream.write("\x1b[H\x1b[2J")


def harmless(words: str) -> str:
    """Return the lines with a question mark in place of each control character."""
    return _IN_TEXT.sub("?", words)


def _put(words: str, stream: TextIO | None, *, flush: bool) -> None:
    out = sys.stdout if stream is None else stream
    # Surrogates that are no bytes of a name cannot be written in any encoding.
    words = _NO_TEXT.sub("?", words)
    if _BYTE.search(words) and out.isatty():
        words = _BYTE.sub("?", words)  # a terminal may interpret such a byte as a control character
    try:
        out.write(words)
    # A strict stream. Standard output has an error handler of its own (cli/streams.py).
    except UnicodeEncodeError:
        encoding = out.encoding or "ascii"
        # The failed write has written nothing, so the whole text is written again.
        out.write(words.encode(encoding, "replace").decode(encoding))
    if flush:
        out.flush()
