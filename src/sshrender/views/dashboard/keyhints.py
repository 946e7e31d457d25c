"""Selects the keys for the last line of the dashboard: those of the focused pane first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Hint(NamedTuple):
    """A key as the user sees it, what it does, and the action that a click on it runs."""

    key: str
    words: str
    action: str

    @property
    def width(self) -> int:
        """The columns that it takes, with the space behind it."""
        # Two spaces behind the words, and one between key and words.
        return len(self.key) + len(self.words) + 3


OF_PANES: dict[str, tuple[Hint, ...]] = {
    "pages": (
        Hint("Enter", "Image", "open"),
        Hint("n", "Next problem", "problem(1)"),
        Hint("/", "Go to page", "search"),
    ),
    "hosts": (
        Hint("Enter", "Log of host", "open"),
        Hint("d", "Drain", "drain"),
        Hint("u", "Undrain", "undrain"),
        Hint("/", "Filter", "search"),
        Hint("s", "Sort", "sort"),
        Hint("c", "Copy ssh", "ssh"),
    ),
    "attempts": (
        Hint("Enter", "Page", "open"),
        Hint("/", "Filter", "search"),
        Hint("n", "Next problem", "problem(1)"),
    ),
    "log": (
        Hint("l", "Problems", "log_mode"),
        Hint("Enter", "Page or host", "open"),
        Hint("/", "Filter", "search"),
    ),
}

RETRY = Hint("t", "Retry", "retry")
CLEAR = Hint("Esc", "No filter", "clear")
HOLD, RELEASE = Hint("h", "Hold", "hold"), Hint("h", "Release", "hold")
CANCEL = Hint("x", "Cancel", "cancel_job")
JOBS = Hint("o", "All jobs", "jobs")
PANES = Hint("Tab", "Next pane", "next_pane")
ENDS = (Hint("?", "Help", "help"), Hint("q", "Leave", "leave"))
"""These are named at every width."""

_OF_REQUESTS = frozenset(("drain", "undrain", "retry"))


def hints(
    pane: str,
    *,
    is_running: bool,
    is_held: bool = False,
    has_failed_page: bool = False,
    has_filter: bool = False,
    has_jobs: bool = False,
) -> list[Hint]:
    """Return the keys that do something now, the most useful first.

    ``has_failed_page``: the cursor is on one. ``has_filter``: the pane hides rows. ``has_jobs``: there
    is a list of jobs to go back to.
    """
    # Requests need a coordinator to carry them out.
    found = [hint for hint in OF_PANES[pane] if is_running or hint.action not in _OF_REQUESTS]
    if pane == "pages" and has_failed_page and is_running:
        # Behind the first key of the pane, which is the one that is used most.
        found.insert(1, RETRY)
    if has_jobs:
        found.insert(1, JOBS)
    if has_filter:
        found.insert(0, CLEAR)
    if is_running and is_held:
        # All else waits for it, so it is named at every usual width.
        found.insert(1, RELEASE)
    # After the keys of the pane: what moves elsewhere, then what changes the job.
    found.append(PANES)
    if is_running:
        found += [CANCEL] if is_held else [HOLD, CANCEL]
    return found


def fitting(found: Sequence[Hint], ends: Sequence[Hint], width: int) -> list[Hint]:
    """Return the first keys of ``found`` that fit into this many columns, next to all of ``ends``."""
    # The ends are named in any case, so they take their room first.
    room = width - sum(hint.width for hint in ends)
    shown = []
    for hint in found:
        room -= hint.width
        if room < 0:
            # Not the next shorter one: the order is that of usefulness.
            break
        shown.append(hint)
    return [*shown, *ends]
