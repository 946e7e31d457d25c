"""Ends child processes that may take long to go after they were killed.

SIGKILL takes effect when the kernel next runs the process: at the lowest priority on a machine with much
to do that is seconds later, and in a wait for dead storage it is when that answers. Such a process is
waited for in a thread: one that is not stays as a zombie, and Python warns of it.
"""

from __future__ import annotations

import _thread
import subprocess
from typing import Any

_left: list[subprocess.Popen[Any]] = []
"""Processes for which there was no room for a thread. Python would warn if their objects went."""


def end(process: subprocess.Popen[Any], timeout: float) -> int | None:
    """Kill a process and wait for its end. Return its exit status; None: it takes longer than that.

    In that case it is collected later. Any thread may call this, any number of times.
    """
    process.kill()
    return collect(process, timeout)


def collect(process: subprocess.Popen[Any], timeout: float) -> int | None:
    """Wait for the end of a process that ends by itself or was killed; see ``end``."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        pass  # it is waited for in a thread
    try:
        # Not threading.Thread, whose start() waits until the thread runs.
        _thread.start_new_thread(process.wait, ())
    except RuntimeError:
        _left.append(process)
    return None
