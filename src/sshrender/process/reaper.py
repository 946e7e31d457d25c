"""Ends child processes, and collects those that take long to end after they were killed.

SIGKILL takes effect when the kernel next runs the process. On a busy machine, at the lowest priority,
that may be seconds later; if the process waits for dead storage, it is when the storage answers. A
thread waits for such a process: otherwise it would stay as a zombie, and Python would warn of it.
"""

from __future__ import annotations

import _thread
import subprocess
from typing import Any

_left: list[subprocess.Popen[Any]] = []
"""Processes for which no thread could be started. Python would warn if their objects were deleted."""


def end(process: subprocess.Popen[Any], timeout: float) -> int | None:
    """Kill a process and wait for its end, at most ``timeout`` seconds. Return its exit status.

    None: it has not ended yet, and is collected later. Any thread may call this, any number of times.
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
