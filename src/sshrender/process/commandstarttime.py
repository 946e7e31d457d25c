"""The time at which this command began: ``--deadline`` counts from it."""

from __future__ import annotations

import time

_began: list[float] = []


def start() -> None:
    """Note the time. Called first in the program; a forked process keeps the time."""
    _began[:] = [time.monotonic()]


def began() -> float:
    """Return that time in seconds of the monotonic clock; the present time if no command runs."""
    return _began[0] if _began else time.monotonic()
