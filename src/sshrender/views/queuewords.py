"""Words for a job that can start and has not been started: its place, and whether anything runs jobs."""

from __future__ import annotations

from sshrender.views.text import count

COMMAND = "sshrender coordinate"
"""The command that runs the jobs of the queue."""

UNSTARTED = "no coordinator has started it yet"
UNSTARTED_OF_OTHER = "no coordinator of its user has started it yet"
"""Of another user's job: this user's coordinator does not run it."""


def waits(place: int, *, is_served: bool, is_of_other: bool = False) -> str:
    """Return what a job waits for.

    ``place``: from 1; ``is_served``: whether jobs of its user run; ``is_of_other``: whether that is
    another user than this one.
    """
    before = f"{count(place - 1, 'job')} before it" if place > 1 else ""
    if is_served:
        # The coordinator takes the next job when a place is free.
        return before or "next in the queue"
    return ", ".join(filter(None, (before, UNSTARTED_OF_OTHER if is_of_other else UNSTARTED)))


def remedy(words: str) -> str:
    """Return the command that ends the wait, or nothing if only other jobs have to end."""
    return COMMAND if words.endswith(UNSTARTED) else ""
