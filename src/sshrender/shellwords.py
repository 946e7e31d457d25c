"""Writes names as words of a shell, for the commands of hints."""

from __future__ import annotations

import shlex
from pathlib import Path


def path_word(path: Path | str) -> str:
    """Return a path as a shell takes it; with ``./``, if a program would take it for an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
