"""``requests/``: what people ask of a job's coordinator, from any machine that has the SAN.

A request is a file that appears whole. Whoever coordinates takes them in the order of their names,
which begin with the asker's time: clocks that differ can only swap requests of different people.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sshrender.files import read_plain, write_whole
from sshrender.job.attributes import ALTERABLE, Attributes
from sshrender.job.folder import JobFolder
from sshrender.utf8 import writable

SCHEMA = 1
OPERATIONS = (
    "hold",
    "release",
    "cancel",
    "resubmit",
    "alter",
    "remark",
    "drain",
    "undrain",
    "retry",
    "move",
)
LARGEST = 16384
"""Bytes that a request may have."""

MAX_LISTED = 10_000
"""Names that one look goes through: the rest is there at the next."""

_NO_REQUEST = frozenset((errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EFBIG))
"""What opening a file says of anything but a small regular file (open(2), files.py)."""

MOST_TEXT = 300
"""Characters of a note, and of who asks."""


@dataclass(frozen=True, slots=True)
class Request:
    """``op`` is one of OPERATIONS; ``by``: who asks; a host, a page or a note where the op has one.

    ``changes``: attributes, where the op is to alter them. Texts are UTF-8: what a command line or a
    file says need not be, and no attribute could hold it.
    """

    op: str
    by: str
    host: str = ""
    page: int = 0
    note: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("by", "host", "note", "changes"):
            object.__setattr__(self, name, _plain(getattr(self, name)))


def _plain(value: Any) -> Any:
    """The same, with a question mark for whatever in its texts is no UTF-8."""
    match value:
        case str():
            return writable(value)
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_plain(item) for item in value)
        case _:
            return value


def ask(folder: JobFolder, request: Request) -> Path:
    """Lay a request before the job's coordinator. Raises OSError."""
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    path = folder.requests / name
    write_whole(path, (json.dumps({"schema": SCHEMA, **asdict(request)}) + "\n").encode())
    return path


def take(folder: JobFolder, do: Callable[[Request], object]) -> None:
    """Do what is asked for, oldest first; each request is gone once it was done. Raises OSError.

    Who ends in between leaves it for the next, who may then do it a second time. What is no request is
    removed too: nobody else would.
    """
    for path in _oldest(folder.requests):
        request = _read(path)
        if request is not None:
            do(request)
        with contextlib.suppress(IsADirectoryError):  # a folder is no request, and stays
            path.unlink(missing_ok=True)


def _oldest(folder: Path) -> list[Path]:
    """Of many, no more than MAX_LISTED are looked at at once. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_LISTED)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(".json")]


def _read(path: Path) -> Request | None:
    try:
        return _checked(json.loads(read_plain(path, LARGEST)))
    except OSError as error:
        if error.errno not in _NO_REQUEST:
            raise
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _checked(fields: Any) -> Request | None:
    """Raises KeyError or TypeError for one of another shape."""
    if fields["schema"] != SCHEMA or fields["op"] not in OPERATIONS:
        return None
    texts = [fields["by"], fields["host"], fields["note"]]
    if not all(isinstance(text, str) for text in texts) or type(fields["page"]) is not int:
        return None
    by, host, note = (text[:MOST_TEXT] for text in texts)
    return Request(fields["op"], by, host, fields["page"], note, _changes(fields.get("changes", {})))


def _changes(asked: dict[str, Any]) -> dict[str, Any]:
    """Raises TypeError, AttributeError or ValueError for what no attribute can be."""
    changes = {key: _plain(value) for key, value in asked.items() if key in ALTERABLE}
    Attributes().changed(**changes)
    return changes
