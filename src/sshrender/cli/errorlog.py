"""The log of defects: a traceback belongs there, and the user is told where that is."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from pathlib import Path


def record(error: BaseException) -> str:
    """Append the traceback to the log; where that is, in words for the user. Never raises."""
    from sshrender.views.text import clean

    try:
        log = log_file()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
    except Exception:  # noqa: BLE001 - no log is no reason to end otherwise
        return "(the log could not be written)"
    return clean(str(log), 4096)


def log_file() -> Path:
    """Where it is. Found without the settings, which may be what is wrong."""
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
