"""Remove control characters from what Rich renders, as the last step before the terminal.

Rich and Textual add terminal escapes of their own, so hostile ones must be removed from the text before
these are added.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from sshrender.views.safeprint import harmless


class Harmless:
    """Renders what it wraps, with a question mark for each control character in its text."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the wrapped object. Rich marks its own codes as control segments; these stay."""
        # Rich puts its own escapes into segments of their own kind, and text into all others.
        for segment in console.render(self._shown, options):
            if segment.control:
                yield segment
            else:
                # One character for one, so that widths that Rich has measured stay right.
                yield Segment(harmless(segment.text), segment.style)


def harmless_text(text: Text) -> Text:
    """Return the text with the same styles: each character is replaced by exactly one."""
    text.plain = harmless(text.plain)
    return text
