"""Words for the states of hosts, and their order: what needs the user's attention comes first.

The journal and ``--json`` keep the states' own names (core/states.py, HostState).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

ORDER = (
    "refused",
    "lost",
    "quarantined",
    "idle",
    "busy",
    "drained",
    "connecting",
    "removed",
    "unknown",
)
"""States in the order of rows."""

TROUBLED = ("refused", "lost", "quarantined")
"""States that a headline counts."""

_WORDS = {"busy": "busy (others)", "unknown": "not used"}


def word(state: str, *, is_working: bool) -> str:
    """Return a state in words. ``is_working``: whether the host renders a page now."""
    if state == "idle":
        return "working" if is_working else "free"
    return _WORDS.get(state, state)


def rank(state: str, *, is_working: bool = True) -> tuple[int, bool]:
    """Return a sort key: hosts with a problem first, then working ones, then free ones."""
    return (ORDER.index(state) if state in ORDER else len(ORDER)), not is_working


def troubled(states: Iterable[str]) -> str:
    """Return ``2 refused, 1 lost``; empty where no host has a problem."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in TROUBLED if counts[state])
