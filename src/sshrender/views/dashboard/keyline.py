"""Lines of things to press: the keys at the bottom, and the names of the panes above the shown one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from sshrender.views.dashboard.keyhints import ENDS, Hint, fitting
from sshrender.views.safeprint import harmless

_PLAIN, _DIM = Style(), Style(dim=True)
_KEY = Style(bold=True, color="cyan")
_CHOSEN = Style(bold=True, reverse=True)


class KeyLine(Widget):
    """Names the keys that do something now; a click on one does it."""

    DEFAULT_CSS = "KeyLine { height: 1; dock: bottom; }"

    def __init__(self, *, ends: Sequence[Hint] = ENDS, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._hints: list[Hint] = []
        self._ends = ends

    def show(self, hints: list[Hint]) -> None:
        """Name these keys, as many as fit."""
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def _fitting(self) -> list[Hint]:
        return fitting(self._hints, self._ends, self.size.width)

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - there is one line
        """Return the line."""
        segments = []
        for hint in self._fitting():
            segments += [Segment(hint.key, _KEY), Segment(f" {hint.words}  ", _PLAIN)]
        return Strip(segments).adjust_cell_length(self.size.width, _PLAIN)

    async def on_click(self, event: Click) -> None:
        """Run the action of the key under the mouse."""
        left = 0
        for hint in self._fitting():
            # The same widths as in render_line: a click hits what is seen there.
            if left <= event.x < left + hint.width:
                await self.run_action(self._named(hint.action))
                return
            left += hint.width

    def _named(self, action: str) -> str:
        """Return an action with its owner: the screen that has the line, or else the dashboard."""
        name = f"action_{action.partition('(')[0]}"
        # A screen on top of the dashboard has actions of its own.
        return f"screen.{action}" if hasattr(self.screen, name) else f"app.{action}"


class Tab(NamedTuple):
    """A pane: its id, the key that shows it, its title."""

    pane: str
    key: str
    title: str


class PaneTabs(Widget):
    """Names all panes of a terminal that has room for one, and marks the one that it shows."""

    DEFAULT_CSS = "PaneTabs { height: 1; }"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._tabs: list[Tab] = []
        self._chosen = ""

    def show(self, tabs: list[Tab], chosen: str) -> None:
        """Show these panes; ``chosen`` is the one below."""
        if (tabs, chosen) != (self._tabs, self._chosen):
            self._tabs, self._chosen = tabs, chosen
            self.refresh()

    def _words(self) -> list[str]:
        return [f" {tab.key} {harmless(tab.title)} " for tab in self._tabs]

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - there is one line
        """Return the line."""
        segments = []
        for tab, words in zip(self._tabs, self._words(), strict=True):
            segments.append(Segment(words, _CHOSEN if tab.pane == self._chosen else _PLAIN))
        left = max(0, self.size.width - sum(segment.cell_length for segment in segments))
        # The rest of the line is a rule, so that the tabs stand out.
        segments.append(Segment("─" * left, _DIM))
        return Strip(segments).adjust_cell_length(self.size.width, _PLAIN)

    async def on_click(self, event: Click) -> None:
        """Show the pane under the mouse."""
        left = 0
        for tab, words in zip(self._tabs, self._words(), strict=True):
            left += len(words)
            # The end of this tab is the first column of the next one.
            if event.x < left:
                await self.run_action(f"app.pane({tab.pane!r})")
                return
