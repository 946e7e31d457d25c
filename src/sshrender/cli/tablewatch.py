"""Show a table again and again: on a terminal in place, elsewhere each time it has changed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sshrender.errors import UserError
from sshrender.views import safeprint
from sshrender.views.text import fitted

MIN_INTERVAL = 0.5
"""Seconds: each table needs the journals of all jobs."""

UNFINISHED = frozenset({"running", "paused", "queued", "held"})
"""States of a job in which there is more to wait for."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The lines of a table at one moment. ``is_last``: nothing more will change by itself."""

    lines: list[str]
    is_last: bool = False


def repeat(read: Callable[[], Shown], interval: float) -> None:
    """Show the table again and again, until it is the last one or Ctrl-C.

    On a terminal it replaces the one before, cut to the size of the window. Elsewhere it is printed,
    below the time, if it differs from the one before: a log shows what has changed when. Raises
    UserError if the first one cannot be read.
    """
    # A terminal without cursor control gets the form for logs.
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    # The first table outside of the loop: its error is the command's.
    found = read()
    before: list[str] | None = None
    while True:
        if is_terminal:
            _redraw(found.lines, interval)
        elif found.lines != before:
            # The first table has no empty line before it.
            _print(found.lines, is_first=before is None)
        before = found.lines
        if found.is_last:
            return
        time.sleep(interval)
        found = _again(read)


def _again(read: Callable[[], Shown]) -> Shown:
    """Return the next table; if the shared folder fails by now, the reason: it may come back."""
    try:
        return read()
    except UserError as error:
        return Shown([f"error: {error.what}", f"hint: {error.hint}"])


def _redraw(lines: list[str], interval: float) -> None:
    columns, rows = shutil.get_terminal_size()
    head = f"{_now()}, every {interval:g} s; Ctrl-C ends"
    room = max(1, rows - 3)  # the head, the last line, and the line of the cursor
    hidden = len(lines) - room
    # One line more would take the place of the remark, so a single hidden line is shown instead.
    shown = [*lines[:room], f"and {hidden} more lines"] if hidden > 1 else lines
    safeprint.clear_screen(sys.stdout)
    for line in (head, *shown):
        # A line that is wrapped would push the first ones out of the window.
        safeprint.line(fitted(line, columns))
    sys.stdout.flush()


def _print(lines: list[str], *, is_first: bool) -> None:
    if not is_first:
        safeprint.line("")
    for line in (_now(), *lines):
        safeprint.line(line)
    sys.stdout.flush()


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
