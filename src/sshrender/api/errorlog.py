"""The log of defects. It gets the traceback; the user is told its path."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from pathlib import Path


def record(error: BaseException) -> str:
    """Append the traceback to the log; return the log's path as text for the user. Never raises."""
    from sshrender.views.text import clean

    try:
        log = log_file()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
    except Exception:  # noqa: BLE001 - a failing log must not hide the error
        return "(the log could not be written)"
    return clean(str(log), 4096)


def defect(error: BaseException) -> tuple[str, str]:
    """Log a defect; return what to tell the user, and a hint. Never raises."""
    where = record(error)
    what = f"a bug in sshrender ({type(error).__name__}); the traceback is in {where}"
    return what, "please report it with that file; the job itself can be resumed"


def log_file() -> Path:
    """Return the log's path. Found without the settings: an error in them may be what is logged."""
    words = sys.argv[1:]
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
