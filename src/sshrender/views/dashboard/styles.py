"""How states look: by symbol and by colour, never by colour alone.

Only the sixteen colours that every terminal has, and attributes where it has none. The symbols are
in the fonts of terminals everywhere; the Linux console and terminals that are not UTF-8 get ASCII.
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

HOST_ORDER = tuple(_HOSTS)

_RAMP = (" ▁▂▃▄▅▆▇█", " .:-=+*#@")
_BAR = (("━", "─"), ("#", "-"))


@dataclass(frozen=True, slots=True)
class Styles:
    """The symbols of one terminal."""

    is_ascii: bool = False

    def page(self, state: str) -> tuple[str, Style]:
        """A page's cell."""
        symbol, plain, style = _PAGES[state]
        return (plain if self.is_ascii else symbol), Style.parse(style)

    def host(self, state: str) -> tuple[str, Style]:
        """A host's sign."""
        symbol, plain, style = _HOSTS.get(state, ("·", ".", "dim"))
        return (plain if self.is_ascii else symbol), Style.parse(style)

    @property
    def ramp(self) -> str:
        """Nine heights, the lowest first."""
        return _RAMP[self.is_ascii]

    @property
    def bar(self) -> tuple[str, str]:
        """What of a progress bar is done, and what is not."""
        return _BAR[self.is_ascii]


def of_terminal(environ: Mapping[str, str] = os.environ) -> Styles:
    """What the terminal that we run on can show."""
    encoding = (getattr(sys.__stderr__, "encoding", "") or "").lower()
    is_console = environ.get("TERM", "") in ("linux", "vt100", "vt220", "dumb")
    return Styles(is_ascii=is_console or "utf" not in encoding)
