"""Runs one job in a process of the queue's dispatcher: order on stdin, result on stdout.

Narration goes to stderr; the dispatcher passes it on. Each job has a process of its own, so that an
error in one cannot affect another, and memory does not add up over months.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sshrender.api import errorlog
from sshrender.api.jobworkermessages import MAX_ORDER_BYTES, JobEnd, JobOrder
from sshrender.process import commandstarttime, gctuning, startlimits, threadfailure

if TYPE_CHECKING:
    from sshrender.api.results import RenderResult
    from sshrender.config.settings import Settings
    from sshrender.errors import UserError
    from sshrender.views.reporter import Reporter

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def main() -> None:
    """Run the job of the order on stdin, and write its end to stdout."""
    commandstarttime.start()
    gctuning.load()
    # First of all: anything printed to descriptor 1 before would be mixed with the result.
    results = _take_stdout()
    startlimits.limit_reservations()
    threadfailure.watch_threads(lambda limit: _write_end(results, _failed(limit, [])), errorlog.record)
    # Bounded: the dispatcher writes less than this, and more is not an order.
    order = JobOrder.decode(sys.stdin.buffer.read(MAX_ORDER_BYTES))
    # The parent is compared after prctl(2): a parent that ended before that sends no signal.
    if not end_with_parent(order.parent):
        os._exit(128 + signal.SIGTERM)
    try:
        end = run(order)
    except KeyboardInterrupt:
        # As a shell reports a process that SIGINT has ended.
        end = JobEnd(128 + signal.SIGINT)
    _write_end(results, end)
    # The dispatcher, which reads it, may be gone.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    # Threads may be left that wait for a dead host or a hanging folder: they must not delay the end.
    os._exit(end.exit_code)


def _write_end(results: int, end: JobEnd) -> int:
    """Write how the job ended; return the exit code."""
    with contextlib.suppress(OSError), os.fdopen(results, "wb") as pipe:  # the dispatcher may be gone
        pipe.write(end.encode())
    return end.exit_code


def _take_stdout() -> int:
    """Return a descriptor for the result that no child inherits; stdout itself goes nowhere from now on.

    A renderer that inherited the pipe would keep the dispatcher waiting for its end.
    """
    # dup() makes a descriptor that exec'd programs do not inherit (PEP 446).
    results = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    return results


def end_with_parent(parent: int) -> bool:
    """Have the kernel send TERM when the parent ends; return False if it has ended already."""
    # Unlike a thread that watches the parent, the kernel sends this even while Python is busy.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # Adopted by another process: the parent had ended before the call above.
    return os.getppid() == parent


def run(order: JobOrder) -> JobEnd:
    """Run the job; return how that ended, whatever goes wrong."""
    from sshrender.errors import ExitCode, NeedsUser, UserError, limit_reached

    reporters: list[Reporter] = []
    try:
        result = _resume(order, reporters)
    except UserError as error:
        return _failed(error, reporters)
    # A limit of this machine, such as memory, is no defect of the program.
    except Exception as error:  # noqa: BLE001 - the last resort: a defect becomes an exit code and a log
        limit = limit_reached(error)
        if limit is not None:
            return _failed(limit, reporters)
        what, hint = errorlog.defect(error)
        return _failed(UserError(ExitCode.BUG, what, hint), reporters)
    reason = "" if result.error is None else _one_line(result.error)
    summary = result.summary if order.wants_summary else None
    return JobEnd(result.exit_code, reason, summary, isinstance(result.error, NeedsUser))


def _resume(order: JobOrder, reporters: list[Reporter]) -> RenderResult:
    """Run the ordered job. Raises UserError."""
    from sshrender.api.resumption import find_unfinished, resumption_of
    from sshrender.api.runcontext import RunContext
    from sshrender.api.runevents import stderr_reporter

    def listener_for(settings: Settings) -> Reporter:
        reporters.append(stderr_reporter(settings))
        return reporters[0]

    config = None if order.config is None else Path(order.config)
    found = find_unfinished(order.options, config, order.folder)
    # The job's own folder decides: the configuration may name another shared folder.
    options = {"san": found.folder.path.parent, **order.options}
    context = RunContext.start(options, config, listener_for, job=found.attributes.wishes)
    context.password = order.password
    resumption = resumption_of(context, found, is_from_queue=True, known_dead=order.known_dead)
    return context.resume(resumption)


def _failed(error: UserError, reporters: list[Reporter]) -> JobEnd:
    """Report an error before or outside the run, and return it."""
    from sshrender.views.reporter import Reporter

    # Without a listener the settings could not be read; the error is printed plainly then.
    (reporters[0] if reporters else Reporter(sys.stderr, progress="plain")).error(error)
    return JobEnd(int(error.code), _one_line(error))


def _one_line(error: UserError) -> str:
    from sshrender.views.text import clean

    return clean(" ".join(error.what.split("\n")), 1000)


if __name__ == "__main__":
    main()
