"""Images in a terminal: find out which kind the terminal can show, before Textual reads from it.

textual-image queries the terminal when it is imported and waits a tenth of a second for each answer.
An answer that comes later, over a slow link or on a busy machine, arrives as keys that the user did not
type. Therefore it is imported with its queries turned off, and this module sends them: once, with a
longer timeout, to the terminal of the dashboard instead of standard output, and not if the answer is
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

ANSWER_TIMEOUT = 1.5
"""Seconds to wait for an answer: every terminal answers at once, but the link to it may be slow."""

MAX_SIDE = 4000
"""Pixels: of A4 at 300 dpi everything is left to zoom into, and a decoded image takes at most 48 MB."""

_CELL = (10, 20)
"""Pixels of a character, width and height, if the terminal does not tell: the usual ratio."""

_QUERY_KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_QUERY_DEVICE = "\x1b[c"
"""Primary device attributes (DA1): a 4 in the answer means sixel. Sent last: it is always answered."""

_DEVICE = re.compile(rb"\x1b\[\?([\d;]*)c")
_WITHOUT_GRAPHICS = ("tmux", "screen", "linux", "vt", "dumb", "ansi")
"""Terminals, by the start of their name, that are known to show neither kind."""

_kind = CHARACTERS


def prepare(environ: Mapping[str, str] = os.environ) -> None:
    """Find out what kind of image the terminal shows. Called once, before the dashboard runs."""
    global _kind  # noqa: PLW0603 - a process has one terminal
    # Without colours only characters can show an image.
    if "NO_COLOR" in environ:
        return
    _kind = CELLS
    if (
        # Asking these would only cost the time-out.
        not environ.get("TERM", "dumb").startswith(_WITHOUT_GRAPHICS)
        and sys.__stderr__
        and sys.__stdin__
    ):
        _kind = _query(sys.__stdin__.fileno(), sys.__stderr__.fileno())


def _query(source: int, target: int) -> str:
    try:
        before = tcgetattr(source)
    except OSError:
        return CELLS  # not a terminal
    try:
        # Raw mode: the answer is neither echoed nor kept until a newline.
        setraw(source)
        os.write(target, (_QUERY_KITTY + _QUERY_DEVICE).encode())
        return _kind_in(_answer(source))
    # Also after an error: the shell must not get a raw terminal.
    finally:
        tcsetattr(source, TCSADRAIN, before)


def _answer(source: int) -> bytes:
    """Return everything up to the last answer, or until the timeout."""
    found = b""
    deadline = time.monotonic() + ANSWER_TIMEOUT
    # The answer to DA1 comes last, so what was answered before it is complete.
    while _DEVICE.search(found) is None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            break
        found += os.read(source, 1024)
    return found


def _kind_in(answer: bytes) -> str:
    """Return the kind that an answer stands for.

    Sixel comes first: Konsole and WezTerm announce kitty's protocol, but support sixel better.
    """
    device = _DEVICE.search(answer)
    # A list of numbers: 4 is one of them, not a digit of another.
    if device is not None and b"4" in device.group(1).split(b";"):
        return SIXEL
    return KITTY if b"\x1b_Gi=31;OK" in answer else CELLS


def decode(data: bytes) -> Image.Image:
    """Return the image, small enough for a terminal. May take long; raises whatever Pillow raises."""
    with Image.open(io.BytesIO(data)) as image:
        # draft() has a JPEG file decoded at a smaller scale (Pillow, Image.draft).
        image.draft("RGB", (MAX_SIDE, MAX_SIDE))
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        return image.convert("RGB")


def widget(image: Image.Image) -> Widget:
    """Return a widget that shows the image, or a text if it cannot be shown."""
    kind: type[Widget] = _widgets()[_kind]
    return _guarded(kind(image))  # type: ignore[arg-type]  # each of them takes an image


def _guarded(shown: Widget) -> Widget:
    """Make a widget of another package show a text when it raises in measuring or rendering.

    Otherwise Textual ends the whole dashboard when any widget raises.
    """
    # The methods of this object are replaced, not those of its class.
    render_lines, compose = shown.render_lines, shown.compose
    width, height = shown.get_content_width, shown.get_content_height

    def lines(crop: Region) -> list[Strip]:
        try:
            return render_lines(crop)
        except Exception as error:  # noqa: BLE001 - any error; an image is not essential
            words = Strip([Segment(f"image not shown: {type(error).__name__}", Style())])
            return [words.adjust_cell_length(crop.width), *[Strip.blank(crop.width)] * (crop.height - 1)]

    def measured(measure: Callable[..., int]) -> Callable[..., int]:
        def of(*room: Any) -> int:
            try:
                return measure(*room)
            except Exception:  # noqa: BLE001 - as above
                # A size of one, so that the layout continues; the text is shown in its place.
                return 1

        return of

    def children() -> ComposeResult:
        # Widgets of images have others within them that render.
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
    """Return the widgets by kind. Their package is imported without a terminal that it could query."""
    # Before the import, which reads the variables.
    _export_cell_size()
    with open(os.devnull, "w", encoding="ascii") as nothing:  # noqa: PTH123 - a device, not a path
        # The package asks the stream of standard output; a device that is not a terminal is not asked.
        stdout, sys.__stdout__ = sys.__stdout__, nothing  # type: ignore[misc]  # Final in typeshed
        try:
            from textual_image.widget import HalfcellImage, SixelImage, TGPImage, UnicodeImage
        finally:
            sys.__stdout__ = stdout  # type: ignore[misc]  # Final in typeshed
    return {SIXEL: SixelImage, KITTY: TGPImage, CELLS: HalfcellImage, CHARACTERS: UnicodeImage}


def cell_size() -> tuple[int, int]:
    """Return width and height of a character in pixels."""
    try:
        # 2: the dashboard is on standard error. Some terminals leave the pixels at 0.
        rows, columns, width, height = struct.unpack("HHHH", ioctl(2, TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return _CELL
    if not (rows and columns and width // columns and height // rows):
        return _CELL
    return width // columns, height // rows


def _export_cell_size() -> None:
    """Set the variables from which textual-image takes the cell size if it cannot query the terminal."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", ioctl(2, TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return
    if rows and columns and width and height:
        # setdefault: a user's own values count more.
        os.environ.setdefault("TEXTUAL_CELL_WIDTH", str(width // columns))
        os.environ.setdefault("TEXTUAL_CELL_HEIGHT", str(height // rows))
