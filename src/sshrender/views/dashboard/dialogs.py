"""What comes up over the dashboard: help, a question, a picture."""

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
[b]Looking[/b]
  1 2 3 4, Tab     pages, hosts, what is being drawn, the log
  arrows, Page Up  walk; Home and End; the mouse does, too
  n  N             next and previous page that failed, is suspect or straggles
  Enter            the page's picture, large; the host's part of the log
  /                pages: go to a number; elsewhere: show what holds a text
  s  r             sort the hosts by the next column; the other way round
  Esc              what was filtered comes back

[b]Asking[/b] of whoever coordinates the job, on any machine
  h                hold it: what is being drawn is finished, no more is begun; again: go on
  x                cancel it; it can be resumed all the same
  d  u             hosts: take the selected one out of use, with a note; and back
  t                pages: try the failed page under the cursor again

[b]Leaving[/b]
  q                leave; the job goes on
  Ctrl-C           where render was typed: stop the job gently; twice: at once
  c                the ssh command to the selected host, into the clipboard
  Ctrl-P           every command by name

[b]Signs[/b]
  {signs}
"""


class HelpScreen(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, signs: Text) -> None:
        super().__init__()
        self._signs = signs

    def compose(self) -> ComposeResult:
        """One text."""
        before, _, after = HELP.partition("{signs}")
        text = Text.from_markup(before)
        text.append_text(self._signs)
        text.append(after)
        with VerticalScroll(id="box"):
            yield Static(text)


class Question(ModalScreen[str | None]):
    """A line of text, or None when it was thought better of."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__()
        self._words = words
        self._hint = hint

    def compose(self) -> ComposeResult:
        """The question and room for an answer."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(self._words)))
            yield Input(placeholder=self._hint)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answered."""
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Thought better of."""
        self.dismiss(None)


class Confirmation(ModalScreen[bool]):
    """Yes or no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical(id="box"):
            yield Static(harmless_text(Text(f"{self._words}\n\ny  yes     n  no")))

    def action_answer(self, answer: bool) -> None:
        """Answered."""
        self.dismiss(answer)


class PageImageScreen(ModalScreen[None]):
    """A page as large as the terminal."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,space", "dismiss", "Close")]

    def __init__(self, title: str, image: Image) -> None:
        super().__init__()
        self._title = title
        self._image = image

    def compose(self) -> ComposeResult:
        """The picture under its title."""
        with Vertical(id="picture"):
            yield Static(harmless_text(Text(self._title)))
            yield terminalgraphics.widget(self._image)
