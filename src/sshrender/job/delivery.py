"""Find a job's output folder when another machine continues the job than the one that it was created on.

A path means something only on the machine that it was given on. It is used elsewhere where it lies in
the shared folder, or where the job's output marker lies in it, which the creating machine put there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from sshrender.job.attributes import ON_SAN, Attributes
from sshrender.job.fieldforms import is_below, is_marker
from sshrender.job.folder import JobFolder


def told(output: Path, san: Path, word: str = "") -> dict[str, Any]:
    """Return the attributes that record the output. ``word``: what ``mark`` returned."""
    text = os.fsencode(output).decode("utf-8", "replace")
    if output.is_relative_to(san):
        return {"output": str(Path(text).relative_to(san)), "output_host": ON_SAN, "output_word": ""}
    return {"output": text, "output_host": socket.gethostname(), "output_word": word}


def mark(output: Path) -> str:
    """Make the folder and a marker in it, whose name has a random token; return the token.

    Raises OSError.
    """
    output.mkdir(parents=True, exist_ok=True)
    word = secrets.token_hex(8)
    _mark_of(output, word).touch()
    return word


def unmark(output: Path, word: str) -> None:
    """Remove the marker of a finished job. Never raises. A token of another form is part of no path."""
    if is_marker(word):
        with contextlib.suppress(OSError):
            _mark_of(output, word).unlink()


def place(wanted: Attributes, folder: JobFolder) -> Path | None:
    """Return where to deliver, as this machine sees it; None where it does not."""
    if not wanted.output:
        return None
    if wanted.output_host == ON_SAN:
        return folder.path.parent / wanted.output if is_below(wanted.output) else None
    output = Path(wanted.output)
    is_here = wanted.output_host == socket.gethostname()
    return output if is_here or _is_marked(output, wanted.output_word) else None


def is_same(one: Attributes, other: Attributes) -> bool:
    """Whether both record the same output."""
    return (one.output, one.output_host) == (other.output, other.output_host)


def in_words(wanted: Attributes, san: Path) -> str:
    """Return the output as a text for users."""
    if wanted.output_host == ON_SAN:
        return str(san / wanted.output)
    return wanted.output


def _is_marked(output: Path, word: str) -> bool:
    return is_marker(word) and _mark_of(output, word).exists()


def _mark_of(output: Path, word: str) -> Path:
    return output / f".sshrender-{word}"
