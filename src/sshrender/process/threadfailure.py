"""Ends the command if a thread dies for which the program would wait for ever.

If a thread dies of MemoryError, other threads wait for its results without end. If it dies before it has
reported that it runs, even threading.Thread.start() never returns (CPython 3.11). Memory and threads are
short at that moment, so no orderly end is possible: the process ends, the runners on all hosts end with
their connections, and the job can be resumed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from sshrender.errors import ExitCode, limit_reached
from sshrender.process import signalexceptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshrender.errors import UserError


def watch_threads(report: Callable[[UserError], int], log: Callable[[BaseException], object]) -> None:
    """Pass errors that threads did not handle to ``log``; if a limit is the cause, report it and exit.

    ``report`` returns the exit code. A signal whose exception Python drops is sent again.
    """

    def of_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None:
            return
        _end_if_limit(failed.exc_value, report)
        log(failed.exc_value)

    def of_interpreter(failed: sys.UnraisableHookArgs) -> None:
        lost = signalexceptions.signal_of(failed.exc_value)
        if lost is not None:
            signalexceptions.send_again(lost)
            return
        thread = getattr(failed.object, "__self__", None)
        # CPython calls this when Thread._bootstrap raises: the thread's own excepthook was not reached.
        if isinstance(thread, threading.Thread) and failed.exc_value is not None:
            _end_if_limit(failed.exc_value, report)
            log(failed.exc_value)
        else:
            sys.__unraisablehook__(failed)

    threading.excepthook = of_thread
    sys.unraisablehook = of_interpreter


def _end_if_limit(error: BaseException, report: Callable[[UserError], int]) -> None:
    """End this process if a limit is the cause, even if the report fails."""
    limit = limit_reached(error)
    if limit is None:
        return
    code = int(limit.code)
    try:
        code = report(limit)
    except BaseException:  # noqa: BLE001 - not even the report was possible
        write(limit.what, limit.hint)
    finally:
        os._exit(code)


def say_what_is_left(error: BaseException) -> int:
    """Print an error that nothing else could report, and return the exit code."""
    limit = limit_reached(error)
    what = limit.what if limit is not None else f"{type(error).__name__}: {error}"[:400]
    write(what, "the limits: ulimit -a")
    return int(ExitCode.BUG if limit is None else limit.code)


def write(what: str, hint: str) -> None:
    """Print an error with one system call: there may be no memory, no descriptor and no disk."""
    words = f"sshrender: error: {what}\nhint: {hint}\n"
    with contextlib.suppress(OSError):
        os.write(2, words.encode("ascii", "replace"))
