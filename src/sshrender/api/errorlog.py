"""The log of defects. It gets the traceback; the user is told its path."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TextIO

from sshrender.errors import ExitCode, UserError
from sshrender.shellwords import path_word


def record(error: BaseException) -> str:
    """Append the traceback to the log; return the log's path as text for the user. Never raises."""
    from sshrender.views.text import clean

    # The user's own folder may be the cause of the error, so a second place is tried.
    for open_ in (_open_log, _open_temporary):
        try:
            log, file = open_()
            with file:
                traceback.print_exception(error, file=file)
            return clean(str(log), 4096)
        except Exception:  # noqa: BLE001 - a failing log must not hide the error
            continue
    return "no file: none could be written; --log-file FILE names one"


def _open_log() -> tuple[Path, TextIO]:
    log = log_file()
    log.parent.mkdir(parents=True, exist_ok=True)
    return log, log.open("a", encoding="utf-8", errors="backslashreplace")


# mkstemp: a new name that no other user can have prepared.
def _open_temporary() -> tuple[Path, TextIO]:
    """Open a new file among the temporary ones: the user's own folder may be closed, full or missing."""
    descriptor, name = tempfile.mkstemp(prefix="sshrender-", suffix=".log")
    return Path(name), os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")


def of_environment(error: BaseException) -> UserError | None:
    """Return the user's error if the current folder or a file is the cause, else None.

    The traceback goes to the log, as for a defect. Expected errors have better texts elsewhere.
    """
    if not isinstance(error, OSError):
        return None
    try:
        # Without a current folder every relative path fails, and each error would blame another file.
        Path.cwd()
    except OSError as gone:
        what = f"the current folder cannot be used: {gone.strerror}"
        return UserError(
            ExitCode.USAGE, what, "go to a folder that exists, and run the same command again"
        )
    # Without a file name the error is about the program, and is reported as a defect.
    if error.filename is None:
        return None
    record(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return UserError(ExitCode.STORAGE, f"{path}: {error.strerror}", f"ls -ld {path_word(path)}")


def defect(error: BaseException) -> tuple[str, str]:
    """Log a defect; return what to tell the user, and a hint. Never raises."""
    where = record(error)
    what = f"a bug in sshrender ({type(error).__name__}); the traceback is in {where}"
    return what, "please report it with that file; the job itself can be resumed"


def log_file() -> Path:
    """Return the log's path. Found without the settings: an error in them may be what is logged."""
    words = sys.argv[1:]
    # An option that is the last word has no value.
    for word, value in itertools.pairwise(words):
        if word == "--log-file":
            return Path(value)
    for word in words:
        if word.startswith("--log-file="):
            return Path(word.partition("=")[2])
    named = os.environ.get("SSHRENDER_LOG_FILE")
    if named:
        return Path(named)
    from sshrender.config.paths import log_folder

    return log_folder() / "sshrender.log"
