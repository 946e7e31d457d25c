"""Rich's texts and renderables without control characters: the last step before a terminal has them.

Rich and Textual write terminal escapes of their own, so what is to be kept out has to be taken from the
words before these are added.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from sshrender.views.output import harmless


class Harmless:
    """Shows what it wraps; each control character of its words as a question mark."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's own codes are segments of control, and stay."""
        for segment in console.render(self._shown, options):
            if segment.control:
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)


def harmless_text(text: Text) -> Text:
    """The same, with its styles: each character is replaced by one."""
    text.plain = harmless(text.plain)
    return text
