"""How long what has a time limit may take on a machine that does other things as well."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def stretched(seconds: float) -> float:
    """Return the limit for what may take so many seconds on a machine that does nothing else.

    Where each core has several programs to run, all that takes processor time takes so much longer.
    """
    longer = seconds * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
    return min(longer, 86_400)  # what was stretched already must stay a limit for poll(2)


def page_timeout(seconds: float) -> str:
    """Return a value of ``--page-timeout`` for a page without end, in which sound ones are rendered.

    Renderers have the lowest priority: on a busy machine a sound page takes seconds, too. So it is tried
    how long one takes now.
    """
    began = time.monotonic()
    subprocess.run(
        ["nice", "-n", "19", "gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=nullpage", "-c", "showpage"],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    now = time.monotonic() - began
    return f"{max(min(stretched(seconds), 12), 20 * now):.0f}s"


def wait_until(
    condition: Callable[[], Found],
    seconds: float = 90,
    what: Callable[[], object] | str = "what is waited for",
    pause: float = 0.1,
) -> Found:
    """Wait until a condition is true, and return what it says.

    Raises AssertionError with ``what`` when the stretched limit has passed.
    """
    began = time.monotonic()
    while not (found := condition()):
        if time.monotonic() - began > stretched(seconds):
            raise AssertionError(
                f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
            )
        time.sleep(pause)
    return found
