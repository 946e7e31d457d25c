"""``python -m sshrender`` and the console script."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from sshrender.errors import UserError


def main() -> None:
    """Run a command; every end has an exit code and no end has a traceback.

    Everything is closed by then. What may be left are threads that wait for a dead host or a
    hanging SAN; they must not keep the interpreter from ending, nor does tidying it up serve anyone.
    """
    _hurry()
    # Names of files need not be UTF-8: they go out as they came in.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _hurry() -> None:
    """What makes loading shorter, which is most of the time before the first page is sent."""
    # Loading makes no garbage, and looking for it takes a tenth of the time. coordinator/run.py turns
    # it on again.
    gc.disable()
    # Looking for pydantic's plugins reads every installed package's metadata: 15 ms, for nothing.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if sys.argv[1:2] == ["render"]:
        from sshrender.document import process

        process.warm()


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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # who read stdout is gone; say no more there
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception:  # noqa: BLE001 - the last resort: a defect becomes an exit code and a log
        return _bug()
    return code if isinstance(code, int) else 0


def _say(error: UserError) -> int:
    from sshrender.views.report import Reporter

    Reporter(sys.stderr, progress=_progress()).error(error)
    return error.code


def _usage(error: typer.TyperException) -> UserError:
    """A mistake on the command line, said as every other error is."""
    from sshrender.errors import ExitCode, UserError

    what = str(getattr(error, "format_message", error.__str__)())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sshrender"
    return UserError(ExitCode.USAGE, what, f"{command} --help")


def _progress() -> str:
    """An error before the settings are known is a JSON line too where the user wants those."""
    words = sys.argv[1:]
    wants = "--progress=jsonl" in words or ("--progress", "jsonl") in itertools.pairwise(words)
    return "jsonl" if wants or os.environ.get("SSHRENDER_PROGRESS") == "jsonl" else "plain"


def _bug() -> int:
    from sshrender.errors import ExitCode, UserError
    from sshrender.views.text import clean

    try:
        log = _log_file()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except (OSError, UserError):  # or there is no home to write it to
        log = Path("(the log could not be written)")
    error = sys.exc_info()[1]
    kind, where = type(error).__name__, clean(str(log), 4096)
    print(
        f"sshrender: error: a defect in sshrender ({kind}); the traceback is in {where}",
        file=sys.stderr,
    )
    print("hint: please report it with that file; the job itself can be resumed", file=sys.stderr)
    return ExitCode.BUG


def _log_file() -> Path:
    words = sys.argv[1:]
    for word, value in itertools.pairwise(words):
        if word == "--log-file":
            return Path(value)
    named = os.environ.get("SSHRENDER_LOG_FILE")
    if named:
        return Path(named)
    from sshrender.config.locate import log_folder

    return log_folder() / "sshrender.log"


if __name__ == "__main__":
    main()
