"""Pictures in a terminal: which kind it can show, found out before Textual listens there.

textual-image asks the terminal as it is imported, waits a tenth of a second for each answer, and an
answer that comes later, over a slow link or on a busy machine, arrives as keys that nobody typed. So
it is imported with its questions turned off, and they are asked here: once, with patience, on the
terminal that the dashboard is drawn on rather than on standard output, and not where the answer is
known.
"""

from __future__ import annotations

import io
import os
import re
import select
import struct
import sys
import time
from collections.abc import Mapping
from fcntl import ioctl
from termios import TCSADRAIN, TIOCGWINSZ, tcgetattr, tcsetattr
from tty import setraw

from PIL import Image
from textual.widget import Widget

SIXEL, KITTY, CELLS, CHARACTERS = "sixel", "kitty", "cells", "characters"

PATIENCE = 1.5
"""Seconds for an answer that every terminal gives at once; only a link that is slower gets none."""

_ASK_KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_ASK_DEVICE = "\x1b[c"
"""Primary device attributes: 4 among them is sixel. Asked last, because it is always answered."""

_DEVICE = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIMPLE = ("tmux", "screen", "linux", "vt", "dumb", "ansi")
"""Terminals, by the beginning of their name, that are known to show neither."""

_kind = CHARACTERS


def prepare(environ: Mapping[str, str] = os.environ) -> None:
    """Find out what the terminal shows. Called once, before the dashboard runs."""
    global _kind  # noqa: PLW0603 - there is one terminal, as there is one process
    if "NO_COLOR" in environ:
        return
    _kind = CELLS
    if not environ.get("TERM", "dumb").startswith(_SIMPLE) and sys.__stderr__ and sys.__stdin__:
        _kind = _ask(sys.__stdin__.fileno(), sys.__stderr__.fileno())


def _ask(from_it: int, to_it: int) -> str:
    try:
        before = tcgetattr(from_it)
    except OSError:
        return CELLS  # no terminal
    try:
        setraw(from_it)
        os.write(to_it, (_ASK_KITTY + _ASK_DEVICE).encode())
        return _understand(_answer(from_it))
    finally:
        tcsetattr(from_it, TCSADRAIN, before)


def _answer(from_it: int) -> bytes:
    """All that comes up to the last answer."""
    found = b""
    deadline = time.monotonic() + PATIENCE
    while _DEVICE.search(found) is None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([from_it], [], [], left)[0]:
            break
        found += os.read(from_it, 1024)
    return found


def _understand(answer: bytes) -> str:
    """Konsole and WezTerm say that they know kitty's protocol, and know sixel better."""
    device = _DEVICE.search(answer)
    if device is not None and b"4" in device.group(1).split(b";"):
        return SIXEL
    return KITTY if b"\x1b_Gi=31;OK" in answer else CELLS


def picture(data: bytes) -> Widget:
    """An image widget. Raises OSError or ValueError (Pillow's) when it is no picture."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (1600, 1600))
        image.thumbnail((1600, 1600))
        whole = image.convert("RGB")
    kind: type[Widget] = _widgets()[_kind]
    return kind(whole)  # type: ignore[arg-type]  # every one of them takes a picture


def _widgets() -> dict[str, type[Widget]]:
    """The widgets by kind; their package is loaded without a terminal to ask."""
    _tell_cell_size()
    with open(os.devnull, "w", encoding="ascii") as nothing:  # noqa: PTH123 - no path, a device
        stdout, sys.__stdout__ = sys.__stdout__, nothing  # type: ignore[misc]
        try:
            from textual_image.widget import HalfcellImage, SixelImage, TGPImage, UnicodeImage
        finally:
            sys.__stdout__ = stdout  # type: ignore[misc]
    return {SIXEL: SixelImage, KITTY: TGPImage, CELLS: HalfcellImage, CHARACTERS: UnicodeImage}


def _tell_cell_size() -> None:
    """textual-image takes it from these variables where it may not ask."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", ioctl(2, TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return
    if rows and columns and width and height:
        os.environ.setdefault("TEXTUAL_CELL_WIDTH", str(width // columns))
        os.environ.setdefault("TEXTUAL_CELL_HEIGHT", str(height // rows))
