"""``--json``: prints exactly one object on standard output, also if the command fails.

A command passes its result to ``put``. ``program`` passes every error to ``put_error``, which prints
nothing if the option was not given, or if the object has been printed already.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from sshrender.cli import hintcommands, streams
from sshrender.errors import ExitCode, UserError, cpu_limit_reached
from sshrender.views import safeprint

SCHEMA = 1
"""Version of every object that a command prints."""

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
"""Values of a variable that mean *on*, as click reads them."""


class _Process:
    """The object that this process still has to print."""

    known: ClassVar[dict[str, Any]] = {}
    """Further keys of an error's object."""
    is_printed = False
    """Whether the object is printed, or another process prints it."""
    progress = ""
    """The form of progress that the settings name, once they are known."""


def is_wanted() -> bool:
    """Return whether the user asked for JSON. The command line may be one that cannot be parsed."""
    # Words after "--" are arguments, even if they are called --json.
    words = itertools.takewhile(lambda word: word != "--", sys.argv[1:])
    # The parser may have failed, so the words themselves are looked at.
    return "--json" in words or os.environ.get("SSHRENDER_JSON", "").strip().lower() in _TRUE


def progress() -> str:
    """Return the form of errors on stderr: jsonl if the user asked for that, else plain."""
    if _Process.progress:
        return _Process.progress
    # Before the settings are known, only the words and the variable can tell; the last word counts.
    named = os.environ.get("SSHRENDER_PROGRESS", "")
    for word, following in itertools.pairwise([*sys.argv[1:], ""]):
        option, sign, value = word.partition("=")
        if option == "--progress":
            named = value if sign else following
    return "jsonl" if named == "jsonl" else "plain"


def set_progress(named: str) -> None:
    """Note the form of progress that the settings name: errors take the same form."""
    _Process.progress = named


def leave_to_other_process() -> None:
    """Print no object in this process any more: the other side of a fork prints it."""
    _Process.is_printed = True


def know(**fields: Any) -> None:
    """Note what the object shall contain also if the command fails later."""
    _Process.known.update(fields)


def known(name: str) -> Any:
    """Return what was noted under this name; None if nothing was."""
    return _Process.known.get(name)


def put(fields: Mapping[str, Any], code: int = 0, *, is_run: bool = False) -> int:
    """Print the object; return ``code``, or STORAGE if that was 0 and printing fails.

    ``schema`` and ``exit_code`` are added, and to a failure ``error`` and ``hint``. Raises
    BrokenPipeError if the reader has gone, unless ``is_run``: a run's exit code tells of its pages.
    """
    # Before printing: an error in it must not print a second object.
    _Process.is_printed = True
    result = {"schema": SCHEMA, **fields, "exit_code": int(code)}
    # A failure without an error of its own, as a job with failed pages, gets one in words.
    if code and "error" not in result:
        from sshrender.views import (
            summary,  # it knows all journal entries, which most commands do not need
        )

        result["error"], result["hint"] = summary.failure(result)
    result |= _completed(result)
    if "jobs" in result:
        result["jobs"] = [{**each, **_completed(each)} for each in result["jobs"]]
    try:
        safeprint.as_json(result, indent=1)
        why = streams.flush()
    except BrokenPipeError:
        # A run's exit code tells of its pages, so a reader that has gone does not change it.
        if not is_run:
            raise
        streams.discard()
        why = ""
    # ValueError: standard output was closed.
    except (OSError, ValueError) as error:
        streams.discard()
        why = str(getattr(error, "strerror", None) or error)
    if not why:
        return code
    narrate(unwritable(why))
    return code or ExitCode.STORAGE


def _completed(fields: Mapping[str, Any]) -> dict[str, str]:
    hint = fields.get("hint")
    return {"hint": hintcommands.complete(hint)} if isinstance(hint, str) else {}


def put_error(what: str, hint: str, code: int) -> None:
    """Print the object of a command that failed, if one is wanted and none has been printed."""
    if is_wanted() and not _Process.is_printed:
        put({"error": what, "hint": hint, **_Process.known}, code, is_run=True)


def narrate_cpu_limit(code: int) -> None:
    """Say why, if a service ended with this code at its limit on CPU time."""
    if code == 128 + signal.SIGXCPU:
        narrate(cpu_limit_reached())


def unwritable(why: str) -> UserError:
    """Return the error of a standard output that takes no data although data was requested."""
    what = f"standard output cannot be written: {why}"
    return UserError(ExitCode.STORAGE, what, "check the free space: df -h")


def narrate(error: UserError) -> None:
    """Print an error and its hint on stderr."""
    from sshrender.views.reporter import Reporter

    Reporter(sys.stderr, progress=progress(), complete=hintcommands.complete).error(error)
