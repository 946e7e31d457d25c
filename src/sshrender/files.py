"""Files that are there whole or not at all, and as readable as the folder that they lie in."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from pathlib import Path
from typing import BinaryIO

from sshrender.runner import storage


def file_mode(folder: Path) -> int:
    """The mode of a file that is as readable as the folder it lies in."""
    return 0o600 | (stat.S_IMODE(folder.stat().st_mode) & 0o044)


def rename(source: Path, target: Path) -> None:
    """See runner/storage.py, where hosts need it as well. Raises OSError."""
    storage.rename(str(source), str(target))


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write there, or where the folder will be. Raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return storage.free_bytes(str(folder))


def visible(folder: Path) -> list[str]:
    """The names in a folder, sorted, but for those that a dot begins. Raises OSError.

    Of a folder that cannot be read glob would say that nothing is there.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def require_listing(folder: Path) -> None:
    """Raises OSError where the folder cannot be read."""
    with os.scandir(folder) as entries:
        next(entries, None)


def user_in(folder: Path) -> int:
    """Who we are in a folder: a file server may know root as nobody (exports(5), root_squash)."""
    probe = folder / f".user-{uuid.uuid4().hex}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        probe.unlink()


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading where others may have laid anything. Raises OSError.

    To open a FIFO would wait for a writer, so that nothing but a plain file is read: EINVAL.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, largest: int = -1) -> bytes:
    """All of such a file, or so many bytes of it. Raises OSError."""
    with open_plain(path) as file:
        return file.read(largest)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, after a power loss too."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), file_mode(path.parent))
            os.fsync(file.fileno())
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable (fsync(2) of a file does not)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
