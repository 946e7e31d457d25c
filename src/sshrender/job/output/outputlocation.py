"""Find a job's output folder when another machine continues the job than the one that it was created on.

A path means something only on the machine that it was given on. Another machine uses it if it is in the
shared folder, or if the job's output marker is in it, which the creating machine put there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from sshrender.job.fieldpatterns import is_below, is_marker
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import ON_SAN, Attributes


def recorded(output: Path, san: Path, token: str = "") -> dict[str, Any]:
    """Return the attributes that record the output. ``token``: the result of ``create_marker``."""
    # A path that is not UTF-8 is kept with replacement characters; such a folder is found on no
    # machine.
    text = os.fsencode(output).decode("utf-8", "replace")
    if output.is_relative_to(san):
        return {"output": str(Path(text).relative_to(san)), "output_host": ON_SAN, "output_marker": ""}
    return {"output": text, "output_host": socket.gethostname(), "output_marker": token}


def create_marker(output: Path) -> str:
    """Make the folder and a marker in it, whose name has a random token; return the token.

    Raises OSError.
    """
    output.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    _marker_of(output, token).touch()
    return token


def remove_marker(output: Path, token: str) -> None:
    """Remove the marker of a finished job. Never raises. A token of another form is part of no path."""
    if is_marker(token):
        # The folder is the user's, who may have removed or closed it.
        with contextlib.suppress(OSError):
            _marker_of(output, token).unlink()


def place(wanted: Attributes, folder: JobFolder) -> Path | None:
    """Return where to deliver, as this machine sees it; None if it does not."""
    if not wanted.output:
        return None
    if wanted.output_host == ON_SAN:
        return folder.path.parent / wanted.output if is_below(wanted.output) else None
    output = Path(wanted.output)
    is_here = wanted.output_host == socket.gethostname()
    return output if is_here or _is_marked(output, wanted.output_marker) else None


def is_same(one: Attributes, other: Attributes) -> bool:
    """Whether both record the same output."""
    return (one.output, one.output_host) == (other.output, other.output_host)


def in_words(wanted: Attributes, san: Path) -> str:
    """Return the output as a text for users."""
    if wanted.output_host == ON_SAN:
        return str(san / wanted.output)
    return wanted.output


def _is_marked(output: Path, token: str) -> bool:
    return is_marker(token) and _marker_of(output, token).exists()


def _marker_of(output: Path, token: str) -> Path:
    return output / f".sshrender-{token}"
