"""Load page images, and keep errors in threads, keys and images from ending the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PIL.Image import Image
from rich.text import Text
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from sshrender.views.dashboard import terminalgraphics
from sshrender.views.dashboard.imagescreen import PageImageScreen
from sshrender.views.dashboard.requestkeys import RequestActions
from sshrender.views.text import clean

MAX_SURVIVED = 10
"""Errors that are kept for the log."""


class PageImages(RequestActions):
    """Shows thumbnails and page images. ``survived`` has the errors that did not end the dashboard."""

    def __init__(self, *, ansi_color: bool) -> None:
        super().__init__(ansi_color=ansi_color)
        self.survived: list[Exception] = []
        self._shown_thumbnail = self._wanted_thumbnail = ""
        self._is_loading = False

    def _want_thumbnail(self, file: str) -> None:
        """Show the thumbnail of this page file, or none if it is empty, as soon as it is loaded."""
        self._wanted_thumbnail = file
        # One thread at a time: before it ends, it looks whether another thumbnail is wanted by then.
        if file != self._shown_thumbnail and not self._is_loading:
            self._is_loading = True
            self._in_thread(self._load_thumbnails)

    def _load_thumbnails(self) -> None:
        """Load the wanted thumbnail, until no other is wanted. Runs in a thread, one at a time.

        A load in progress is not cancelled: Textual treats a worker that waits for a cancelled worker as
        failed, and ends the dashboard.
        """
        try:
            # The user may have moved on while the last one was loaded.
            while (file := self._wanted_thumbnail) != self._shown_thumbnail:
                image, why = self._image_of(file, is_large=False)
                put = self._put_thumbnail
                self.call_from_thread(put, file, image, why)  # type: ignore[arg-type]  # Textual awaits it
        finally:
            self._is_loading = False

    async def _put_thumbnail(self, file: str, image: Image | None, why: str) -> None:
        self._shown_thumbnail = file
        box = self.query_one("#thumbnail", Container)
        await box.remove_children()
        shown = (
            terminalgraphics.widget(image)
            if image is not None
            else Static(Text(why, "dim"))
            if why
            else None
        )
        box.display = shown is not None
        if shown is not None:
            await box.mount(shown)

    def _image_of(self, file: str, *, is_large: bool) -> tuple[Image | None, str]:
        """Return an image, or None and the reason why it cannot be shown. Runs in a thread."""
        source = self._source
        try:
            data = source.page_image(file, large=is_large) if file and source is not None else None
            return (terminalgraphics.decode(data) if data else None), ""
        # The file may be cut off, of another format, or larger than Pillow accepts.
        except Exception as error:  # noqa: BLE001 - from the storage or Pillow; an image is not essential
            return None, f"no page image: {clean(str(error) or type(error).__name__, 80)}"

    def _enlarge(self, number: int) -> None:
        """Show the image of a page as large as the terminal. Runs in a thread."""
        page = self._model.pages[number]
        image, why = self._image_of(page.file, is_large=True)
        if image is None:
            words = why or f"page {number} has no image that a terminal can show"
            self.call_from_thread(self._cannot_enlarge, words)
            return
        title = f"page {number}, {page.width} × {page.height} pixels, from {clean(page.host)}"
        show = self._show_large
        self.call_from_thread(show, number, title, image)  # type: ignore[arg-type]  # Textual awaits it

    def _cannot_enlarge(self, words: str) -> None:
        if isinstance(self.screen, PageImageScreen):
            self.screen.say(words)
        else:
            self.notify(words)

    async def _show_large(self, number: int, title: str, image: Image) -> None:
        # The map follows the large view, so that closing it leaves the cursor at the page.
        self._map.go_to(number)
        if isinstance(self.screen, PageImageScreen):  # the next page, or Enter was typed twice
            await self.screen.show(title, image)
        else:
            await self.push_screen(PageImageScreen(title, image, self._turn_page))

    def _turn_page(self, step: int) -> None:
        """Show the next page (``step`` 1) that was delivered, or the previous one, in the large view."""
        page = self._map.next_of(lambda number: bool(self._model.pages[number].file), step)
        if page is not None:
            self._in_thread(partial(self._enlarge, page))
        elif isinstance(self.screen, PageImageScreen):
            self.screen.say("this is the last page" if step > 0 else "this is the first page")

    # Textual calls this for each message; it is not a part of its public interface.
    async def _dispatch_message(self, message: Message) -> None:
        """Handle a key or a timer. An error there is kept, and the dashboard continues."""
        try:
            await super()._dispatch_message(message)
        except Exception as error:  # noqa: BLE001 - any error; those outside messages end in _handle_exception
            self._survive(error)

    def _in_thread(self, work: Callable[[], object]) -> None:
        """Run ``work`` in a thread. An error there is kept, and the dashboard continues."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - as above
                # After the end Textual has no screen that could show an error.
                if self.is_running:
                    self._survive(error)

        self.run_worker(guarded, thread=True, exit_on_error=False)

    def _survive(self, error: Exception) -> None:
        # One notice for all errors: the first one is enough to report.
        if not self.survived:
            self.notify(f"bug in the dashboard: {type(error).__name__}", severity="error")
        if len(self.survived) < MAX_SURVIVED:
            self.survived.append(error)
