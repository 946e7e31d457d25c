"""The screen that shows a page as large as the terminal: next and previous page, zoom."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from PIL.Image import Image
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import terminalgraphics
from sshrender.views.dashboard.keyhints import Hint
from sshrender.views.dashboard.keyline import KeyLine

MAX_ZOOM = 16
_STEP = 2
"""Each step of the zoom doubles the scale or halves it."""

_MOVE = 0.5
"""Distance that an arrow key moves, as a part of what is shown."""

_HINTS = [
    Hint("n", "Next", "turn(1)"),
    Hint("p", "Previous", "turn(-1)"),
    Hint("+", "Zoom in", "zoom(1)"),
    Hint("-", "Zoom out", "zoom(-1)"),
]
_ENDS = (Hint("Esc", "Close", "close"),)


def part(
    image: tuple[int, int], window: tuple[int, int], zoom: int, centre: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Return the part of an image to show: left, top, right, bottom in pixels.

    ``image``: its width and height. ``window``: those of the window, in any unit. With ``zoom`` 1 the
    whole image fits into the window. ``centre``: the middle of the part, each from 0 to 1.
    """
    # The part has at least one pixel, whatever the zoom.
    width, height = image
    # The whole image fits with zoom 1; the smaller of both scales decides.
    scale = min(window[0] / width, window[1] / height) * zoom
    shown = min(width, window[0] / scale), min(height, window[1] / scale)
    # The part never leaves the image.
    left = min(max(0.0, centre[0] * width - shown[0] / 2), width - shown[0])
    top = min(max(0.0, centre[1] * height - shown[1] / 2), height - shown[1])
    return (
        int(left),
        int(top),
        max(int(left) + 1, int(left + shown[0])),
        max(int(top) + 1, int(top + shown[1])),
    )


class PageImageScreen(ModalScreen[None]):
    """Shows a page image. ``turn`` is called with 1 or -1 for the next or previous page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close"),
        Binding("n,space,pagedown", "turn(1)", "Next page"),
        Binding("p,N,backspace,pageup", "turn(-1)", "Previous page"),
        Binding("plus,equals_sign", "zoom(1)", "Zoom in"),
        Binding("minus", "zoom(-1)", "Zoom out"),
        Binding("0", "zoom(0)", "Whole page"),
        Binding("left", "move(-1, 0)", "Left"),
        Binding("right", "move(1, 0)", "Right"),
        Binding("up", "move(0, -1)", "Up"),
        Binding("down", "move(0, 1)", "Down"),
    ]

    def __init__(self, title: str, image: Image, turn: Callable[[int], object]) -> None:
        super().__init__()
        self._title = title
        self._image = image
        self._turn = turn
        self._zoom = 1
        self._centre = 0.5, 0.5
        self.words = ""
        """The reason why there is no image, or that it is being loaded."""

    def compose(self) -> ComposeResult:
        """Yield a title, the image and the keys."""
        with Vertical(id="image"):
            yield Static(id="title")
            yield Container(id="canvas")
        yield KeyLine(ends=_ENDS)

    async def on_mount(self) -> None:
        """Name the keys."""
        self.query_one(KeyLine).show(_HINTS)

    async def on_resize(self, _event: Resize) -> None:
        """Show the part that fits into the new size."""
        # After the layout, when the size of the canvas is known.
        self.call_after_refresh(self._show)

    async def show(self, title: str, image: Image) -> None:
        """Show another page."""
        self._title, self._image, self.words = title, image, ""
        self._centre = 0.5, 0.0  # at its top, as a reader begins
        await self._show()

    def say(self, words: str) -> None:
        """Show a few words beside the title."""
        self.words = words
        self._show_title()

    def _show_title(self) -> None:
        zoom = f"  zoom {self._zoom}×" if self._zoom > 1 else ""
        words = f"  {self.words}" if self.words else ""
        self.query_one("#title", Static).update(harmless_text(Text(self._title + zoom + words)))

    async def _show(self) -> None:
        self._show_title()
        canvas = self.query_one("#canvas", Container)
        box = part(self._image.size, self._window(), self._zoom, self._centre)
        # The whole image needs no copy.
        shown = self._image if box == (0, 0, *self._image.size) else self._image.crop(box)
        # One repaint: the image before must not flash.
        async with self.batch():
            await canvas.remove_children()
            await canvas.mount(terminalgraphics.widget(shown))

    def _window(self) -> tuple[int, int]:
        """Return the size of the canvas in the units of the terminal's pixels."""
        width, height = terminalgraphics.cell_size()
        size = self.query_one("#canvas").size
        return max(1, size.width * width), max(1, size.height * height)

    async def action_zoom(self, step: int) -> None:
        """Zoom in or out by a step; with 0 show the whole page."""
        before = self._zoom
        wanted = self._zoom * _STEP if step > 0 else self._zoom // _STEP if step < 0 else 1
        self._zoom = min(max(1, wanted), MAX_ZOOM)
        if self._zoom == 1:
            self._centre = 0.5, 0.5
        if self._zoom != before:
            await self._show()

    async def action_move(self, right: int, down: int) -> None:
        """Move over a page that is zoomed; over a whole one, to the page before or after it."""
        if self._zoom == 1:
            self._turn(right + down)
            return
        left, top, end, bottom = part(self._image.size, self._window(), self._zoom, self._centre)
        width, height = self._image.size
        x = (left + end) / 2 + right * _MOVE * (end - left)
        y = (top + bottom) / 2 + down * _MOVE * (bottom - top)
        # The centre is half a window away from each edge, so that moving stops there.
        half = (end - left) / 2, (bottom - top) / 2
        self._centre = (
            min(max(x, half[0]), width - half[0]) / width,
            min(max(y, half[1]), height - half[1]) / height,
        )
        await self._show()

    def action_turn(self, step: int) -> None:
        """Show the next page that has an image, or the previous one."""
        self._turn(step)

    def action_close(self) -> None:
        """Close the image."""
        self.dismiss(None)
