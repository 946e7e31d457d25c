"""When this command began, which is what ``--deadline`` counts from."""

from __future__ import annotations

import time

_began: list[float] = []


def start() -> None:
    """Note the time. Called first in the program; a forked process keeps the time."""
    _began[:] = [time.monotonic()]


def began() -> float:
    """Return the time on the monotonic clock; now, where no command runs."""
    return _began[0] if _began else time.monotonic()
