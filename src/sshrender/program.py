"""Runs the command of ``sys.argv``: its limits, its signals, its exit code, the report of its errors."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from sshrender.cli import jsonresult, statusline, streams
from sshrender.errors import ExitCode, UserError, cpu_limit_reached, ended_with, limit_reached
from sshrender.process import commandstarttime, gctuning, signalexceptions, startlimits, threadfailure
from sshrender.process.signalexceptions import Ended, signal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer


COMPLETION = "_SSHRENDER_COMPLETE"
"""The variable by which a shell asks for completions (typer/_completion_shared.py)."""


def main() -> int:
    """Run a command and write out what it printed; return its exit code."""
    commandstarttime.start()
    signalexceptions.heed_interrupt()
    threadfailure.watch_threads(_report, _log)
    streams.open_missing()
    streams.be_lenient()
    return flushed(until_signal(_within_limits))


def until_signal(work: Callable[[], int]) -> int:
    """Return what ``work`` returns, or the exit code of the signal that ends it."""
    try:
        return work()
    except (KeyboardInterrupt, Ended) as ended:
        return _interrupted(signal_of(ended) or signal.SIGINT)


def _within_limits() -> int:
    """Run the command if the limits of this process leave room for it; return its exit code."""
    try:
        startlimits.require(_command())
    except UserError as error:
        return _report(error)
    startlimits.limit_reservations()
    startlimits.leave_time_to_stop()
    signalexceptions.raise_on_cpu_limit()
    statusline.answer(lambda: f"sshrender {_command()}: running")
    _hurry()
    if jsonresult.is_wanted():
        signalexceptions.raise_on_signals()
    return run()


def _command() -> str:
    """Return the first word that is not an option: the command, or what takes its place."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    return words[0] if words else ""


def flushed(code: int) -> int:
    """Write out what both streams hold; return the exit code, STORAGE in place of 0 if that fails."""
    why = streams.flush()
    if why and code == 0:
        error = jsonresult.unwritable(why)
        jsonresult.narrate(error)
        code = error.code
    # The reader of stderr may be gone; the exit code says what matters.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    return code


def _hurry() -> None:
    """Make loading shorter: it is most of the time before the first page is sent."""
    # Loading creates no garbage, and collecting takes a tenth of its time. The collector is never turned
    # off: a command that does not call gctuning.begin() still runs it, though seldom.
    gctuning.load()
    # Looking for pydantic's plugins reads every installed package's metadata: 15 ms, for nothing.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if sys.argv[1:2] == ["render"]:
        from sshrender.document import readerprocess

        readerprocess.warm()


def run() -> int:
    """Run the command of ``sys.argv``; return its exit code. Every error has been reported."""
    import typer

    app = _app()
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        return _report(error)
    except typer.TyperException as error:
        return _report(_usage(error))
    except BrokenPipeError:
        streams.discard()  # its reader is gone
        return 141
    except SystemExit as ended:
        # typer answers EPIPE with sys.exit(1), outside of its standalone mode too (typer/core.py, _main)
        if streams.is_unread():
            streams.discard()
            return 141
        return ended.code if isinstance(ended.code, int) else 1
    except typer.Abort:
        return _interrupted(signal.SIGINT)
    except OSError as error:
        why = streams.failure()
        streams.flush()
        return _report(jsonresult.unwritable(why)) if why else _failed(error)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect becomes an exit code and a log
        return _failed(error)
    # typer turns Ctrl-C within a command into this code (typer/core.py, _main).
    return _interrupted(signal.SIGINT) if code == 128 + signal.SIGINT else int(code or 0)


def _app() -> typer.Typer:
    """Return the command that is called, or all commands if none has that name."""
    from sshrender.cli.app import tree

    return tree() if COMPLETION in os.environ else tree(*sys.argv[1:2])


def _report(error: UserError) -> int:
    """Report an error on stderr and, with ``--json``, on stdout; return its exit code."""
    jsonresult.narrate(error)
    jsonresult.put_error(error.what, error.hint, error.code)
    return error.code


def _log(error: BaseException) -> None:
    """Write the traceback into the log of defects: none reaches the terminal."""
    # Imported only when needed: every command loads this module, and hardly any needs the log.
    from sshrender.api import errorlog

    errorlog.record(error)


def _interrupted(number: int) -> int:
    """Return the exit code of a signal. Print nothing, unless a limit has sent it or JSON is wanted."""
    # The command ends in a moment; another signal must not end it without its JSON.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGXCPU:
        jsonresult.narrate_cpu_limit(128 + number)
        error = cpu_limit_reached()
        jsonresult.put_error(error.what, error.hint, 128 + number)
        return 128 + number
    jsonresult.put_error(ended_with(128 + number), "run the same command again", 128 + number)
    return 128 + number


def _usage(error: typer.TyperException) -> UserError:
    """Return an error of the command line in the form of all other errors."""
    from sshrender.cli import values

    what = values.refusal(error) or "an argument is missing"
    context = getattr(error, "ctx", None)
    command = "sshrender"
    if context is not None:  # its first words are how Python was called
        command = context.command_path.replace(context.find_root().info_name or "", command, 1)
    return UserError(ExitCode.USAGE, what, f"{command} --help")


def _failed(error: Exception) -> int:
    """Report what the environment did, or a bug in sshrender; return the exit code."""
    limit = limit_reached(error)
    if limit is not None:  # no more is loaded: that needs a descriptor and memory
        return _report(limit)
    from sshrender.api import errorlog

    return _report(errorlog.of_environment(error) or UserError(ExitCode.BUG, *errorlog.defect(error)))
