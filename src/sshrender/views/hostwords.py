"""Words for the states of hosts, and their order: what needs the user's attention comes first.

The journal and ``--json`` keep the states' own names (core/states.py, HostState).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshrender.core.snapshot import Snapshot

# The order of rows in every table, so that a host is found at the same place everywhere.
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

_MAY_RENDER = frozenset(("idle", "connecting", "unknown"))
"""States of hosts that render, or may do so in a moment."""

_WORDS = {"busy": "busy (others)", "unknown": "not used"}


def word(state: str, *, is_working: bool, is_withheld: bool = False) -> str:
    """Return a state in words. ``is_working``: whether the host renders a page now.

    ``is_withheld``: whether no page is sent to any host for a while (core/storagehealth.py).
    """
    # "idle" means: not loaded by others. Whether pages are rendered there is what users want to read.
    if state == "idle":
        return "working" if is_working else "waits" if is_withheld else "free"
    return _WORDS.get(state, state)


def rank(state: str, *, is_working: bool = True) -> tuple[int, bool]:
    """Return a sort key: hosts with a problem first, then working ones, then free ones."""
    # False sorts before True, so working hosts come first.
    return (ORDER.index(state) if state in ORDER else len(ORDER)), not is_working


def troubled(states: Iterable[str]) -> str:
    """Return ``2 refused, 1 lost``; empty if no host has a problem."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in TROUBLED if counts[state])


def none_usable(states: Iterable[str]) -> str:
    """Return ``no host is usable: 2 lost``; empty while a host renders, or may do so in a moment."""
    counts = Counter(state for state in states if state != "removed")
    if not counts or counts.keys() & _MAY_RENDER:
        return ""
    words = (f"{counts[state]} {word(state, is_working=False)}" for state in ORDER if counts[state])
    return f"no host is usable: {', '.join(words)}"


def none_usable_in(snapshot: Snapshot) -> str:
    """Return ``none_usable`` of a run; empty also while it is held, or no page is missing."""
    if snapshot.held or not snapshot.missing:
        return ""
    return none_usable(host.state for host in snapshot.hosts)
