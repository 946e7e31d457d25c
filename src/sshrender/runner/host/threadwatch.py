"""Reports errors of the runner's threads, and ends the runner if a limit has ended one.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable

from sshrender.runner import wire
from sshrender.runner.host import processlimits
from sshrender.storage import primitives


def report(to: wire.Wire, error: BaseException) -> None:
    """Report an error, and whether a limit or the system of this host is its cause."""
    limit = processlimits.reached(error)
    if limit is not None:
        to.post("trouble", reason=limit, refusal=wire.LIMITS)
        return
    path = str(getattr(error, "filename", None) or "")
    if path.startswith("/proc/"):
        reason = "%s cannot be read (%s): a runner needs /proc" % (path, primitives.reason_of(error))
        to.post("trouble", reason=reason, refusal=wire.SYSTEM)
        return
    # An error of the system says enough with its file; of any other the type helps to find the defect.
    words = primitives.reason_of(error) if path else str(error)
    to.post("trouble", reason="%s: %s" % (path or type(error).__name__, words))


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
