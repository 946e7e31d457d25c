"""The one place where this program writes text: to a terminal, a pipe or a log.

Names, notes and reasons come from other machines and other users. Whatever a caller makes of them, no
control character, terminal escape or direction mark leaves here, and no text ends a command because a
stream cannot hold it. A test keeps every other module from writing to stdout or stderr.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

from sshrender.views.text import CONTROL

_IN_TEXT = re.compile(rf"(?!\n){CONTROL.pattern}")
_BYTE = re.compile("[\udc80-\udcff]")
"""A byte of a file's name that is no UTF-8 (PEP 383)."""

_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def line(text: object, stream: TextIO | None = None, *, flush: bool = False) -> None:
    """Write one line, to stdout where no stream is named. Raises OSError."""
    _put(CONTROL.sub("?", str(text)) + "\n", stream, flush=flush)


def note(text: object, *, flush: bool = False) -> None:
    """Write one line to stderr. Raises OSError."""
    line(text, sys.stderr, flush=flush)


def text(words: str, stream: TextIO | None = None) -> None:
    """Write lines as they are, but for what could do harm. Raises OSError."""
    _put(harmless(words), stream, flush=True)


def as_json(value: Any, stream: TextIO | None = None, *, indent: int | None = None) -> None:
    """Write one JSON value, in ASCII: JSON's own escapes make everything harmless. Raises OSError.

    A byte of a name that is no UTF-8 stays what Python has for it, so that a program gets it back.
    """
    words = json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
    _put(words + "\n", stream, flush=True)


def clear_screen(stream: TextIO) -> None:
    """Begin a new screenful of a terminal. Raises OSError."""
    stream.write("\x1b[H\x1b[2J")


def harmless(words: str) -> str:
    """The same lines without control characters, each of which becomes a question mark."""
    return _IN_TEXT.sub("?", words)


def _put(words: str, stream: TextIO | None, *, flush: bool) -> None:
    out = sys.stdout if stream is None else stream
    words = _NO_TEXT.sub("?", words)
    if _BYTE.search(words) and out.isatty():
        words = _BYTE.sub("?", words)  # a terminal may take such a byte for a control character
    try:
        out.write(words)
    except UnicodeEncodeError:
        encoding = out.encoding or "ascii"
        out.write(words.encode(encoding, "replace").decode(encoding))
    if flush:
        out.flush()
