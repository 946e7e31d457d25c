"""``python -m sshrender`` and the console script."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from typing import TYPE_CHECKING

from sshrender import commandstart, gctuning
from sshrender.cli import streams

if TYPE_CHECKING:
    import typer

    from sshrender.errors import UserError


def main() -> None:
    """Run a command; every end has an exit code and no end has a traceback.

    Everything is closed by then. What may be left are threads that wait for a dead host or a
    hanging SAN; they must not keep the interpreter from ending, nor does tidying it up serve anyone.
    """
    commandstart.start()
    streams.open_missing()
    _hurry()
    streams.be_lenient()
    code = _run()
    why = streams.flush()
    if why and code == 0:
        code = _unwritable(why)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _hurry() -> None:
    """Make loading shorter: it is most of the time before the first page is sent."""
    # Loading makes no garbage, and looking for it takes a tenth of the time. It is never turned off: a
    # command that does not call gctuning.begin() still has it, though seldom.
    gctuning.load()
    # Looking for pydantic's plugins reads every installed package's metadata: 15 ms, for nothing.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if sys.argv[1:2] == ["render"]:
        from sshrender.document import readerprocess

        readerprocess.warm()


def _run() -> int:
    import typer

    from sshrender.cli.app import app
    from sshrender.errors import UserError

    try:
        code = app(standalone_mode=False)
    except UserError as error:
        return _say(error)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return _say(_usage(error))
    except BrokenPipeError:
        streams.discard()  # its reader is gone
        return 141
    except SystemExit as ended:
        # typer answers EPIPE with sys.exit(1), outside of its standalone mode too (typer/core.py, _main)
        if streams.is_unread():
            streams.discard()
            return 141
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        why = streams.failure()
        streams.flush()
        return _unwritable(why) if why else _failed(error)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect becomes an exit code and a log
        return _failed(error)
    return code if isinstance(code, int) else 0


def _unwritable(why: str) -> int:
    """Report that standard output takes no data although data was requested."""
    from sshrender.errors import ExitCode, UserError

    what = f"standard output cannot be written: {why}"
    return _say(UserError(ExitCode.STORAGE, what, "the space where it goes: df -h"))


def _say(error: UserError) -> int:
    from sshrender.cli import repeatedoptions
    from sshrender.views.reporter import Reporter

    Reporter(sys.stderr, progress=_progress(), complete=repeatedoptions.complete).error(error)
    return error.code


def _usage(error: typer.TyperException) -> UserError:
    """Return an error of the command line in the form of all other errors."""
    from sshrender.errors import ExitCode, UserError

    what = str(getattr(error, "format_message", error.__str__)()) or "an argument is missing"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sshrender"
    return UserError(ExitCode.USAGE, what, f"{command} --help")


def _progress() -> str:
    """Return the form of an error before the settings are known: JSON if the user wants it."""
    words = sys.argv[1:]
    wants = "--progress=jsonl" in words or ("--progress", "jsonl") in itertools.pairwise(words)
    return "jsonl" if wants or os.environ.get("SSHRENDER_PROGRESS") == "jsonl" else "plain"


def _failed(error: Exception) -> int:
    """Report a limit of this machine, or a bug in sshrender; return the exit code."""
    from sshrender.api import errorlog
    from sshrender.errors import ExitCode, limit_reached
    from sshrender.views import output

    limit = limit_reached(error)
    if limit is not None:
        return _say(limit)
    what, hint = errorlog.defect(error)
    with contextlib.suppress(OSError, ValueError):  # the exit code remains
        output.note(f"sshrender: error: {what}")
        output.note(f"hint: {hint}")
    return ExitCode.BUG


if __name__ == "__main__":
    main()
