"""Check the forms of what the files of a job may hold: names, times, digests.

A job's folder can be written by every machine that has its owner's user. What is signed was written by
the owner (signature.py); these checks hold for every reader, and for files of other users' jobs.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

MAX_NAME_BYTES = 255
"""NAME_MAX of Linux file systems (limits.h)."""

MAX_TEXT = 4096
"""Characters of a text of a job: PATH_MAX, the longest that one of them is."""

_TOKEN = re.compile(r"[0-9a-f]{16}")


def text(value: str) -> str:
    """Return a text that can be written and be part of a path. Raises ValueError."""
    if "\0" in value or len(value) > MAX_TEXT:
        raise ValueError(f"a text has no NUL byte and at most {MAX_TEXT} characters")
    # Surrogates come from names that are not UTF-8 (os.fsdecode).
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value


def name(value: str) -> str:
    """Return the name of one folder or file: it leads nowhere else. Raises ValueError."""
    text(value)
    # No dot in front: names of that kind are the program's own, and ``..`` is one of them.
    if not value or value.startswith(".") or "/" in value or len(value.encode()) > MAX_NAME_BYTES:
        raise ValueError("a name has no slash and no dot in front")
    return value


def moment(value: str) -> str:
    """Return a time as in the journal, or an empty text. Raises ValueError."""
    if value and datetime.fromisoformat(text(value)).tzinfo is None:
        raise ValueError("a time has a time zone")
    return value


def marker(value: str) -> str:
    """Return the token of an output marker (outputlocation.py), or an empty text. Raises ValueError."""
    if value and not is_marker(value):
        raise ValueError("an output marker has 16 hexadecimal digits")
    return value


def is_marker(value: str) -> bool:
    """Whether it is the token of an output marker, which becomes part of a file's name."""
    return _TOKEN.fullmatch(value) is not None


def is_below(path: str) -> bool:
    """Whether a path from a folder on stays in that folder."""
    # Lexical only: the path need not exist here, and links below it are checked by those who open it.
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


Text = Annotated[str, AfterValidator(text)]
Name = Annotated[str, AfterValidator(name)]
Moment = Annotated[str, AfterValidator(moment)]
Marker = Annotated[str, AfterValidator(marker)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256."""


def in_words(error: Exception) -> str:
    """Return in one line what is wrong with a file: of wrong fields the first."""
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        field = ".".join(str(part) for part in found["loc"] if part != "schema_")
        return f"{field or 'a field'} is wrong ({found['msg'].splitlines()[0]})"
    return (str(error).splitlines() or ["unreadable"])[0]
