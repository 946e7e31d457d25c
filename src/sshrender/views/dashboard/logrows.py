"""The lines of the log pane: all entries, or problems alone, or problems above the latest entries.

Each entry is formatted once. Problems are kept longer than other entries, so that they stay in the log
of a long run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import merge
from itertools import islice
from typing import NamedTuple

from sshrender.job.journal.journalentries import JournalEntry
from sshrender.views.dashboard import tables
from sshrender.views.dashboard.rowlist import Row
from sshrender.views.jobmodel import LOG_LENGTH, JobModel
from sshrender.views.severity import ERROR, severity

PROBLEMS_FIRST, PROBLEMS_ALONE, ALL = "problems first", "problems alone", "in order of time"
MODES = (PROBLEMS_FIRST, PROBLEMS_ALONE, ALL)
"""The contents of the pane, in the order in which its key selects them."""

LOG_SHOWN = 500
"""Lines that the pane shows without a filter; ``why`` and a filter find older ones."""

_MAX_PINNED_SHARE = 3
"""Problems above the latest entries take at most this part of the pane: a third."""


class _Line(NamedTuple):
    number: int
    row: Row
    entry: JournalEntry


class LogRows:
    """Rows made of the log of a JobModel."""

    def __init__(self) -> None:
        self._lines: deque[_Line] = deque(maxlen=LOG_LENGTH)
        # Errors and warnings apart: errors are kept when the places above the log are few.
        self._errors: list[_Line] = []
        self._warnings: list[_Line] = []
        self._taken = 0

    def take(self, model: JobModel) -> None:
        """Format the entries that are new in the model."""
        # The log of the model forgets its oldest entries; more than it holds cannot be new.
        new = min(model.logged - self._taken, len(model.log))
        first = len(model.log) - new
        for number, entry in enumerate(islice(model.log, first, None), model.logged - new):
            line = _line(number, entry)
            if line is not None:
                self._lines.append(line)
        self._taken = model.logged
        # Formatted lines are used again; only problems that are new are formatted.
        known = {line.number: line for line in (*self._errors, *self._warnings)}
        kept: tuple[list[_Line], list[_Line]] = ([], [])
        for number, entry in model.problems():
            line = known.get(number) or _line(number, entry)
            if line is not None:
                # False is 0 and True is 1: warnings come first in the pair.
                kept[severity(entry) == ERROR].append(line)
        self._warnings, self._errors = kept

    def rows(self, mode: str, text: str) -> list[Row]:
        """Return the rows of a mode that contain ``text``, oldest first."""
        if mode == PROBLEMS_ALONE:
            # Both are sorted by number, so merging keeps the order of time.
            found: Iterable[_Line] = merge(self._errors, self._warnings, key=lambda line: line.number)
        elif text:
            # A filter searches all lines that are kept.
            found = self._lines
        else:
            found = islice(self._lines, max(0, len(self._lines) - LOG_SHOWN), None)
        return tables.log((line.row for line in found), text)

    def pinned(self, mode: str, text: str, height: int) -> list[Row]:
        """Return the problems to show above the rows in a pane of this height: errors before warnings.

        The latest ones, in the order of time.
        """
        room = height // _MAX_PINNED_SHARE
        if mode != PROBLEMS_FIRST or room < 1:
            return []
        # The latest ones: [-room:] takes them from the end.
        errors = [line for line in self._errors if tables.log([line.row], text)][-room:]
        more = room - len(errors)
        # [-0:] would be the whole list.
        warnings = (
            [line for line in self._warnings if tables.log([line.row], text)][-more:] if more else []
        )
        return [line.row for line in merge(errors, warnings, key=lambda line: line.number)]

    def entry(self, key: str | None) -> JournalEntry | None:
        """Return the entry of the row with this key."""
        # The log is searched from its end, where the cursor is most of the time.
        for lines in (reversed(self._lines), self._errors, self._warnings):
            for line in lines:
                if line.row.key == key:
                    return line.entry
        return None


def _line(number: int, entry: JournalEntry) -> _Line | None:
    row = tables.log_row(number, entry)
    return None if row is None else _Line(number, row, entry)
