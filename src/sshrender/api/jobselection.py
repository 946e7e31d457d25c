"""Select and sort the jobs that ``status`` lists: by state and owner, running ones first."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sshrender.api.usagetotals import is_owner
from sshrender.errors import ExitCode, UserError

STATES = (
    "running",
    "paused",
    "queued",
    "held",
    "failed",
    "partial",
    "cancelled",
    "done",
    "removed",
)
"""The states of a job, in the order of the list: what runs, what waits, what went wrong, the rest."""

REMOVED = "removed"
"""The state of a job that ``clean`` removed: only its account is left."""

_WAITING = ("queued", "held")


def states_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the states that ``--state`` names: each text is one, or several with commas between them.

    Raises UserError for an unknown one.
    """
    words = [word.strip().lower() for text in texts for word in text.split(",")]
    for word in words:
        if word not in STATES:
            near = difflib.get_close_matches(word, STATES, n=1)
            # The nearest state as the hint, because most wrong words are misspelled ones.
            mean = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(
                ExitCode.USAGE,
                f"--state {word}: no job has such a state{mean}; there are {', '.join(STATES)}",
                f"sshrender status --state {near[0] if near else STATES[0]}",
            )
    return tuple(dict.fromkeys(words))


def selected(
    rows: Iterable[dict[str, Any]], states: Sequence[str] = (), user: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows of ``status --json`` with these states (none: all) and this owner, sorted.

    Running jobs come first, then those that wait, in the order in which they are to start, then the
    others; within a state the job with the latest event comes first.
    """
    return sorted(
        (
            row
            for row in rows
            if (not states or row["state"] in states)
            and (user is None or is_owner(row.get("owner") or "", user))
        ),
        key=_rank,
    )


def _rank(row: dict[str, Any]) -> tuple[int, float, float, str]:
    state = row["state"]
    rank = STATES.index(state) if state in STATES else len(STATES)
    if state in _WAITING:
        # In the order in which they are to start: by priority, then by the time of submission.
        since = row.get("submitted") or row.get("created") or ""
        return rank, -(row.get("priority") or 0), _seconds(since), row["job"]
    # Negative, so that the latest comes first.
    return rank, -_seconds(row["updated"]), 0.0, row["job"]


def _seconds(time: str) -> float:
    """Return a time of the journal in seconds; of removed jobs only the month is known."""
    try:
        # ``2026-01`` alone is not a date of ISO 8601 that Python reads.
        return datetime.fromisoformat(time if len(time) > len("2026-01") else f"{time}-01").timestamp()
    except (ValueError, OverflowError):
        return -math.inf
