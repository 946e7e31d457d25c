"""Write and read ``requests/``: users' requests to a job's coordinator, from any machine with the SAN.

A request is a file that appears whole. A coordinator takes them in the order of their names, which
begin with the sender's time: clocks that differ can only swap requests of different machines.

Every machine that has the owner's user can write a file there. One that is not signed with the owner's
key for this job (signature.py) is removed and not obeyed. A signed one is obeyed once: its id is its
name, and is recorded with the job's attributes (queueoperations.py).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sshrender.document.facts import MAX_PAGES
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes, signature
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import ALTERABLE, Attributes
from sshrender.job.queue.requestoperations import Operation, operation_of
from sshrender.job.signature import Purpose
from sshrender.job.spec import signed_id
from sshrender.storage.files import read_plain, write_whole
from sshrender.utf8 import writable

SCHEMA = 1
MAX_SIZE = 16384
"""Bytes that a request may have."""

MAX_LISTED = 10_000
"""Requests, and as many other files, that one poll reads: the next poll reads the rest."""

MAX_SCANNED = 100_000
"""Names that one poll lists, whatever they are."""

MAX_BEGUN = 1000
"""Temporary files of requests that are being written. If there are more, they are removed."""

_NO_REQUEST = frozenset((errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EFBIG, errno.EACCES, errno.EPERM))
"""Errors of opening anything but a small file that this user may read (open(2), files.py)."""

MAX_CHARS = 300
"""Characters of a note, a host and ``by``."""

_ID = re.compile(r"[0-9]{20}-[0-9a-f]{16}")
"""Nanoseconds of the sender's clock, and 64 random bits."""

_BEGUN = re.compile(rf"\.{_ID.pattern}\.json\.[0-9a-f]{{32}}")
"""A request that is being written (write_whole in files.py)."""


@dataclass(frozen=True, slots=True)
class Request:
    """``by``: the user and machine that ask. A host, a page or a note, if the operation has one.

    ``changes``: attributes, if the operation changes them. ``id``: empty until it is a file. Texts are
    made UTF-8: those of a command line or a file need not be, and attributes hold no others.
    """

    op: Operation
    by: str
    host: str = ""
    page: int = 0
    note: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    id: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        # __setattr__ of object, as the class is frozen.
        for name in ("by", "host", "note"):
            object.__setattr__(self, name, _plain(getattr(self, name))[:MAX_CHARS])
        object.__setattr__(self, "changes", _plain(self.changes))


def _plain(value: Any) -> Any:
    """Return a value with a question mark for what in its texts is not UTF-8."""
    match value:
        case str():
            return writable(value)
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            # tuple or list, as it was.
            return type(value)(_plain(item) for item in value)
        case _:
            return value


def floor(now: float) -> str:
    """Return the lowest id of a request of that moment; ``now`` in wall-clock seconds."""
    return f"{int(now * 1e9):020d}-"


def ask(folder: JobFolder, request: Request) -> Path:
    """Write a signed request for the job's coordinator, and return its file.

    Raises Unsigned for a job whose coordinator could not verify it, UserError or OSError.
    """
    found = jobattributes.load_signed(folder)
    # Twenty digits, so that names are in the order of time.
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:16]}"
    # Each later request moves the limit (handled_before): one from a clock that is behind would be
    # ignored without a word.
    if found.has_handled(name):
        raise UserError(
            ExitCode.USAGE,
            f"the clock of this machine is behind: {folder.name} has handled later requests",
            "set the clock, or type the command on another machine; the clock: date",
        )
    fields = {"schema": SCHEMA, **asdict(request), "id": name, "job": signed_id(folder)}
    data = json.dumps(signature.signed(folder, Purpose.REQUEST, fields)) + "\n"
    path = folder.requests / f"{name}.json"
    write_whole(path, data.encode())
    return path


def take(folder: JobFolder, do: Callable[[Request], object]) -> int:
    """Handle each request with ``do``, oldest first, and remove it afterwards.

    Return how many files were removed that are no requests of the owner. A coordinator that ends between
    the two leaves the request for the next one, which sees by its id that it was handled. Raises
    UserError, if the key cannot be used, or OSError.
    """
    refused = 0
    # Files are removed relative to this descriptor: a symbolic link that takes the place of the folder
    # later would lead to files of others.
    # O_NOFOLLOW: a link in place of the folder is not followed either.
    place = os.open(folder.requests, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        names, others = _listed(place)
        job = signed_id(folder) if names else ""
        for name in names:
            request = _read(folder, name, job)
            if request is None:
                refused += 1
            else:
                do(request)
            # After it was handled: a crash in between repeats it, and its id shows that.
            _remove(name, place)
        for name in others:
            _remove(name, place)
    finally:
        os.close(place)
    return refused


def _listed(place: int) -> tuple[list[str], list[str]]:
    """Return the names of requests, oldest first, and of files to remove. Raises OSError.

    Nothing else that a host puts there hides a request: a folder is skipped.
    """
    names: list[str] = []
    others: list[str] = []
    begun: list[str] = []
    with os.scandir(place) as entries:
        # Bounded, as a host may put any number of names there.
        for entry in islice(entries, MAX_SCANNED):
            if entry.is_dir(follow_symlinks=False):
                continue
            is_begun = _BEGUN.fullmatch(entry.name) is not None
            # The first of these that applies: a file that is being written, a request, anything else.
            listed = begun if is_begun else names if entry.name.endswith(".json") else others
            if len(listed) < MAX_LISTED:
                listed.append(entry.name)
    return sorted(names), others + (begun if len(begun) > MAX_BEGUN else [])


def _remove(name: str, place: int) -> None:
    """Remove a file. Raises OSError.

    A file that cannot be removed does no harm: its id is recorded, so it is not handled again.
    """
    with contextlib.suppress(IsADirectoryError, FileNotFoundError, PermissionError):
        os.unlink(name, dir_fd=place)


def _read(folder: JobFolder, name: str, job: str) -> Request | None:
    try:
        fields = json.loads(read_plain(folder.requests / name, MAX_SIZE))
        if not signature.is_signed(folder, Purpose.REQUEST, fields):
            return None
        if fields.get("job", "") != job:  # of an earlier job of this name
            return None
        request = _checked(fields)
    except OSError as error:
        if error.errno not in _NO_REQUEST:
            raise
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    # The id is signed, the name of the file is not: a copy under another name would be handled twice.
    return request if request is not None and name == f"{request.id}.json" else None


def _checked(fields: Any) -> Request | None:
    """Return a request; None for an unknown one. Raises KeyError or TypeError for another shape."""
    operation = operation_of(fields["op"])
    if fields["schema"] != SCHEMA or operation is None:
        return None
    texts = [fields["by"], fields["host"], fields["note"]]
    page, identity = fields["page"], fields["id"]
    if not all(isinstance(text, str) for text in texts) or _ID.fullmatch(identity) is None:
        return None
    # type, as True is an int.
    if type(page) is not int or not 0 <= page <= MAX_PAGES:
        return None
    by, host, note = texts
    return Request(operation, by, host, page, note, _changes(fields.get("changes", {})), identity)


def _changes(asked: dict[str, Any]) -> dict[str, Any]:
    """Return changes of attributes. Raises TypeError, AttributeError or ValueError for others."""
    # Only names that ``alter`` may change; what else a request has is left out.
    changes = {key: _plain(value) for key, value in asked.items() if key in ALTERABLE}
    # Raises ValueError if a value does not fit: its result is not needed.
    Attributes().changed(**changes)
    return changes
