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
from collections.abc import Callable, Mapping
from fcntl import ioctl
from termios import TCSADRAIN, TIOCGWINSZ, tcgetattr, tcsetattr
from tty import setraw
from typing import Any

from PIL import Image
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.geometry import Region
from textual.strip import Strip
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


def decode(data: bytes) -> Image.Image:
    """Return the image, small enough for a terminal. May take long; raises whatever Pillow raises."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (1600, 1600))
        image.thumbnail((1600, 1600))
        return image.convert("RGB")


def widget(image: Image.Image) -> Widget:
    """Return a widget that shows the image, or says that it cannot."""
    kind: type[Widget] = _widgets()[_kind]
    return _guarded(kind(image))  # type: ignore[arg-type]  # every one of them takes an image


def _guarded(shown: Widget) -> Widget:
    """Have a widget of another package show a text where it raises, while it is measured or rendered.

    Textual ends the whole dashboard for an exception of any widget.
    """
    render_lines, compose = shown.render_lines, shown.compose
    width, height = shown.get_content_width, shown.get_content_height

    def lines(crop: Region) -> list[Strip]:
        try:
            return render_lines(crop)
        except Exception as error:  # noqa: BLE001 - it may raise anything, and is an extra
            words = Strip([Segment(f"not shown: {type(error).__name__}", Style())])
            return [words.adjust_cell_length(crop.width), *[Strip.blank(crop.width)] * (crop.height - 1)]

    def measured(measure: Callable[..., int]) -> Callable[..., int]:
        def of(*room: Any) -> int:
            try:
                return measure(*room)
            except Exception:  # noqa: BLE001 - as above
                return 1

        return of

    def children() -> ComposeResult:
        for child in compose():
            yield _guarded(child)

    for name, guarded in (
        ("render_lines", lines),
        ("get_content_width", measured(width)),
        ("get_content_height", measured(height)),
        ("compose", children),
    ):
        setattr(shown, name, guarded)
    return shown


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
