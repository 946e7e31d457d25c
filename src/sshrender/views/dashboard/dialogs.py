"""Screens on top of the dashboard: help, questions, a page image."""

from __future__ import annotations

from typing import ClassVar

from PIL.Image import Image
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from sshrender.views.controlcharacters import harmless_text
from sshrender.views.dashboard import terminalgraphics

HELP = """\
[b]Keys[/b]
  1 2 3 4, Tab     go to: pages, hosts, attempts in work, log
  arrows, Page Up  move; also Page Down, Home, End and the mouse
  n  N             next, previous page that failed, is suspect or slow
  Enter            pages: show the image; hosts: show their log
  /                pages: go to a number; other panes: filter by text
  Esc              remove the filters
  s  r             hosts: sort by the next column; reverse
  c                hosts: copy the ssh command to the clipboard
  Ctrl-P           choose a command by name

[b]Requests[/b] to the job's coordinator
  h                hold the job once pages in work are done; release
  x                cancel the job; finished pages stay
  d  u             hosts: drain (with a note) and undrain
  t                pages: render the failed page again

[b]Leaving[/b]
  q                close the dashboard; the job continues
  Ctrl-C           render, resume: stop the job; twice: at once
                   watch: close the dashboard; the job continues

[b]Columns of hosts[/b]
  slots            pages in work / most pages at a time
  load  own        threads per core: of other programs; of sshrender
  s/page           median seconds per page
  errors           attempts that failed on the host

[b]Symbols of pages[/b]
  {symbols}
"""


class HelpScreen(ModalScreen[None]):
    """Shows keys, columns and symbols."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, symbols: Text) -> None:
        super().__init__()
        self._symbols = symbols

    def compose(self) -> ComposeResult:
        """Yield the help text, which scrolls."""
        before, _, after = HELP.partition("{symbols}")
        text = Text.from_markup(before)
        text.append_text(self._symbols)
        text.append(after)
        with VerticalScroll(id="box"):
            yield Static(text)


class Question(ModalScreen[str | None]):
    """Asks for a line of text. The result is None if the user cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__()
        self._words = words
        self._hint = hint

    def compose(self) -> ComposeResult:
        """Yield the question and an input field."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(self._words)))
            yield Input(placeholder=self._hint)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the text."""
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Return None."""
        self.dismiss(None)


class Confirmation(ModalScreen[bool]):
    """Asks a yes-or-no question."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """Yield the question and its keys."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(f"{self._words}\n\ny  yes     n  no")))

    def action_answer(self, answer: bool) -> None:
        """Return the answer."""
        self.dismiss(answer)


class PageImageScreen(ModalScreen[None]):
    """Shows a page image as large as the terminal."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,space", "dismiss", "Close")]

    def __init__(self, title: str, image: Image) -> None:
        super().__init__()
        self._title = title
        self._image = image

    def compose(self) -> ComposeResult:
        """Yield a title and the image."""
        with Vertical(id="image"):
            yield Static(harmless_text(Text(self._title)))
            yield terminalgraphics.widget(self._image)
