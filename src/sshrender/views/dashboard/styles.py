"""Symbols and colours of states. States differ by symbol, never by colour alone.

Only the sixteen colours are used that every terminal has, and attributes for terminals without colours.
The symbols are in all common terminal fonts; the Linux console and terminals without UTF-8 get ASCII.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from sshrender.views import jobmodel

STRAGGLER = "straggler"

_PAGES: dict[str, tuple[str, str, str]] = {
    jobmodel.WAITING: ("·", ".", "dim"),
    jobmodel.SENT: ("□", "o", "cyan"),
    jobmodel.DONE: ("■", "#", "green"),
    jobmodel.SUSPECT: ("?", "?", "bold yellow"),
    jobmodel.FAILED: ("✕", "X", "bold red"),
    STRAGGLER: ("◆", "!", "bold magenta"),
}

_HOSTS: dict[str, tuple[str, str, str]] = {
    "idle": ("●", "*", "green"),
    "busy": ("◐", "%", "yellow"),
    "drained": ("▼", "v", "cyan"),
    "connecting": ("…", "~", "cyan"),
    "unknown": ("·", ".", "dim"),
    "quarantined": ("▲", "^", "magenta"),
    "lost": ("○", "o", "red"),
    "refused": ("✕", "X", "bold red"),
}

_RAMP = (" ▁▂▃▄▅▆▇█", " .:-=+*#@")
_BAR = (("━", "─"), ("#", "-"))
_SORT_MARKS = (("▼", "▲"), ("v", "^"))
"""Each for terminals with UTF-8, then in ASCII."""


@dataclass(frozen=True, slots=True)
class Styles:
    """The symbols that one terminal can show."""

    is_ascii: bool = False

    def page(self, state: str) -> tuple[str, Style]:
        """Return the symbol and style of a page's state."""
        symbol, plain, style = _PAGES[state]
        return (plain if self.is_ascii else symbol), Style.parse(style)

    def host(self, state: str) -> tuple[str, Style]:
        """Return the symbol and style of a host's state."""
        symbol, plain, style = _HOSTS.get(state, ("·", ".", "dim"))
        return (plain if self.is_ascii else symbol), Style.parse(style)

    # A state of a later release has no symbol of its own.
    @property
    def ramp(self) -> str:
        """The nine heights of a graph's bar, lowest first."""
        return _RAMP[self.is_ascii]

    @property
    def bar(self) -> tuple[str, str]:
        """The cells of a progress bar: done, not done."""
        return _BAR[self.is_ascii]

    @property
    def sort_marks(self) -> tuple[str, str]:
        """The marks behind the title of the sorted column: in its usual order, reversed."""
        return _SORT_MARKS[self.is_ascii]


def of_terminal(environ: Mapping[str, str] = os.environ) -> Styles:
    """Return the symbols that the terminal of this process can show."""
    # stderr, because that is where the dashboard goes.
    encoding = (getattr(sys.__stderr__, "encoding", "") or "").lower()
    # Terminals by name: their fonts lack the symbols, whatever the locale says.
    is_console = environ.get("TERM", "") in ("linux", "vt100", "vt220", "dumb")
    return Styles(is_ascii=is_console or "utf" not in encoding)
