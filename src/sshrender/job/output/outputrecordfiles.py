"""Store numbered records with a folder of the user, in which nothing but pages should be seen.

A record is an extended attribute of the folder, ``user.sshrender.00000001`` (xattr(7)): it is not a
file, and moves with the folder. XATTR_CREATE gives a number to one of several processes. If the file
system has no such attributes (NFS before 4.2) or no room for one (ext4 has 4 KiB), the record is a
hidden file, ``.sshrender-job.00000001``, put there whole by link(2), which does the same on every NFS if
the link count is checked afterwards (open(2), O_EXCL).

Any process that can write into the folder can write a record: the caller checks what is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sshrender.storage.files import read_plain, sync_folder
from sshrender.storage.newfiles import CANNOT_LINK, file_mode, link_new
from sshrender.storage.newfiles import create as new_file

ATTRIBUTE, FILE = "user.sshrender.", ".sshrender-job."
"""Start of the names of records; a number of eight digits follows."""

_NUMBER = re.compile(r"[0-9]{8}")
_LAST = 99_999_999

MAX_BYTES = 1 << 16
"""The kernel's limit of an attribute (XATTR_SIZE_MAX in limits.h); recipes are the largest part."""

_NO_ATTRIBUTE = frozenset((errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.E2BIG))
"""Errors after which the record becomes a file: no such attributes here, another user's folder with the
sticky bit, too little room in the inode's block (setxattr(2))."""

_GONE = frozenset((errno.ENODATA, errno.ENOENT, errno.ENOTSUP))
_UNREADABLE = frozenset((errno.EINVAL, errno.ELOOP, errno.EFBIG, errno.EACCES, errno.ENXIO))


class Stored(NamedTuple):
    """A record that is there. Of two with one number the file counts."""

    number: int
    is_file: bool


def find(folder: Path) -> tuple[list[Stored], list[str]]:
    """Return the records of a folder, the newest last, and all other names in it. Raises OSError.

    A folder that does not exist is empty. It is listed, never asked name by name: NFS caches that a name
    was not there, and compares what it has cached of the folder with the server when it is opened.
    """
    try:
        place = _open(folder)
    except FileNotFoundError:
        return [], []
    try:
        # The folder's own descriptor: attributes and names are those of one folder, even if it is
        # replaced.
        records = [Stored(number, False) for number in _numbers(_attributes(place), ATTRIBUTE)]
        names = os.listdir(place)  # noqa: PTH208 - of a descriptor
    finally:
        os.close(place)
    records += [Stored(number, True) for number in _numbers(names, FILE)]
    files = {_name(stored) for stored in records if stored.is_file}
    return sorted(records), [name for name in names if name not in files]


def read(folder: Path, stored: Stored) -> bytes:
    """Return a record; nothing for one that cannot be read. Raises OSError if the storage fails."""
    try:
        if stored.is_file:
            return read_plain(folder / _name(stored), MAX_BYTES)
        # On the path: between find() and here the folder may be another one; then the record is
        # missing.
        return os.getxattr(folder, _name(stored))
    except OSError as error:
        if error.errno in _GONE | _UNREADABLE:
            return b""
        raise


def is_there(folder: Path, stored: Stored) -> bool:
    """Return whether a record is still there. Raises OSError.

    The folder or the file is opened: NFS asks the server then (close-to-open).
    """
    try:
        if stored.is_file:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            os.close(os.open(folder / _name(stored), flags))
            return True
        place = _open(folder)
        try:
            os.getxattr(place, _name(stored))
        finally:
            os.close(place)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return True


def create(folder: Path, number: int, data: bytes) -> Stored | None:
    """Store a record, and return it; None if another process has taken the number. Raises OSError."""
    if number > _LAST:
        raise OSError(errno.EOVERFLOW, "too many records", str(folder))
    stored: Stored | None = Stored(number, False)
    try:
        # XATTR_CREATE fails if the name exists, in one step in the kernel (setxattr(2)).
        os.setxattr(folder, f"{ATTRIBUTE}{number:08d}", data, os.XATTR_CREATE)
    except FileExistsError:
        stored = None
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTE:
            raise
        stored = Stored(number, True) if _create_file(folder, number, data) else None
    # The record has to be on the disk before a page is removed because of it.
    sync_folder(folder)
    return stored


def _create_file(folder: Path, number: int, data: bytes) -> bool:
    path, own = folder / f"{FILE}{number:08d}", folder / f".sshrender-{uuid.uuid4().hex}"
    try:
        _write(own, data)
        try:
            return link_new(own, path)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
        # No links here. O_EXCL gives the number to one process, too; a reader may see half a record for
        # a moment, and refuse the folder.
        try:
            _write(path, data)
        except FileExistsError:
            return False
        return True
    finally:
        own.unlink(missing_ok=True)


def remove(folder: Path, records: Iterable[Stored]) -> None:
    """Remove records that do not count any more: their jobs notice that. Raises OSError.

    Another user's file in a folder with the sticky bit stays: the highest number counts in any case.
    """
    for stored in records:
        if stored.is_file:
            with contextlib.suppress(FileNotFoundError, PermissionError, IsADirectoryError):
                (folder / _name(stored)).unlink()
            continue
        try:
            os.removexattr(folder, _name(stored))
        except OSError as error:
            if error.errno not in _GONE:
                raise


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _attributes(place: int) -> list[str]:
    try:
        return os.listxattr(place)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _numbers(names: Iterable[str], prefix: str) -> Iterator[int]:
    for name in names:
        number = name.removeprefix(prefix)
        # _LAST is left out: the next number would not have eight digits.
        if number != name and _NUMBER.fullmatch(number) and int(number) < _LAST:
            yield int(number)


def _name(stored: Stored) -> str:
    return f"{FILE if stored.is_file else ATTRIBUTE}{stored.number:08d}"


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(new_file(path, file_mode(path.parent)), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
