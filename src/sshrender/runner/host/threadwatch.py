"""Reports errors of the runner's threads, and ends the runner where a limit has ended one.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable

from sshrender.runner import wire
from sshrender.runner.host import processlimits


def report(to: wire.Wire, error: BaseException) -> None:
    """Report an error, and whether a limit of this host is its cause."""
    limit = processlimits.reached(error)
    reason = limit or "%s: %s" % (type(error).__name__, error)
    to.post("trouble", reason=reason, limit=limit is not None)


def end_after_a_limit(to: wire.Wire, die: Callable[[], Any]) -> None:
    """Report a thread that died of a limit, and end the process: others would wait for it for ever."""

    def of_thread(failed: Any) -> None:
        error = failed.exc_value
        if error is not None and processlimits.reached(error) is not None:
            try:
                report(to, error)
            finally:
                die()
        sys.__excepthook__(failed.exc_type, error, failed.exc_traceback)

    # The second is for a thread that dies before it can say that it runs: Thread.start() waits for that.
    # Python 3.7 has neither hook, and does not call them.
    for module, hook in ((threading, "excepthook"), (sys, "unraisablehook")):
        setattr(module, hook, of_thread)
