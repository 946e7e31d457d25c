"""Files that are there whole or not at all, and as readable as the folder that they lie in."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sshrender.storage import primitives

MAX_RECORD_BYTES = 1 << 20
"""Size limit of a file that holds one JSON object. The largest that sshrender writes is a job.json with
recipes, a few KiB."""


def file_mode(folder: Path) -> int:
    """The mode of a file that is as readable as the folder it lies in."""
    return 0o600 | (stat.S_IMODE(folder.stat().st_mode) & 0o044)


def rename(source: Path, target: Path) -> None:
    """See primitives.rename. Raises OSError."""
    primitives.rename(str(source), str(target))


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write there, or where the folder will be. Raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return primitives.free_bytes(str(folder))


def visible(folder: Path) -> list[str]:
    """The names in a folder, sorted, but for those that a dot begins. Raises OSError.

    Of a folder that cannot be read glob would say that nothing is there.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def names_in(folder: Path, most: int) -> list[str]:
    """The names in a folder where other users may have put anything. Raises OSError; EFBIG for more."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, most + 1)]
    if len(names) > most:
        raise OSError(errno.EFBIG, f"more than {most} files", str(folder))
    return names


def open_folder(path: Path) -> int:
    """A descriptor of a folder that is no symbolic link, nor is the folder that it lies in.

    For what is removed or changed by name in it (unlinkat(2)), whatever has its path by then. Raises
    OSError; ENOTDIR for a link.
    """
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    parent = os.open(path.parent, os.O_PATH | flags)
    try:
        return os.open(path.name, os.O_RDONLY | flags, dir_fd=parent)
    finally:
        os.close(parent)


def remove_tree(name: str, within: int) -> None:
    """Remove the folder of this name in the open folder ``within``, however deep it is.

    Folders below it are moved up into it and are emptied there: that needs no recursion, and two
    descriptors. No link is followed. What goes meanwhile is no error. Raises OSError where anything is
    left.
    """
    try:
        top = _open_to_empty(name, within)
    except FileNotFoundError:
        return
    try:
        while left := os.listdir(top):  # noqa: PTH208 - of a descriptor
            failures = [error for each in left if (error := _take_apart(each, top)) is not None]
            if len(failures) == len(left):
                raise failures[0]
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=within)


def _take_apart(name: str, top: int) -> OSError | None:
    """Remove a file; empty a folder and remove it. Returns why it is left."""
    try:
        if not _is_folder(name, top):
            os.unlink(name, dir_fd=top)
            return None
        inner = _open_to_empty(name, top)
        try:
            for each in os.listdir(inner):  # noqa: PTH208 - of a descriptor
                with contextlib.suppress(OSError):  # then the folder is not empty
                    if _is_folder(each, inner):
                        os.close(_open_to_empty(each, inner))
                        os.rename(each, uuid.uuid4().hex, src_dir_fd=inner, dst_dir_fd=top)
                    else:
                        os.unlink(each, dir_fd=inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def _is_folder(name: str, within: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode)


def _open_to_empty(name: str, within: int) -> int:
    """A descriptor of a folder, which gets the mode that its removal needs, where it is ours."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(name, os.O_PATH | flags, dir_fd=within)
    try:
        if stat.S_IMODE(os.fstat(place).st_mode) & 0o700 != 0o700:
            with contextlib.suppress(OSError):
                # fchmod(2) takes no O_PATH, and the folder may not be readable yet (open(2), O_PATH).
                Path(f"/proc/self/fd/{place}").chmod(0o700)
        return os.open(".", os.O_RDONLY | flags, dir_fd=place)
    finally:
        os.close(place)


def require_listing(folder: Path) -> None:
    """Raises OSError where the folder cannot be read."""
    with os.scandir(folder) as entries:
        next(entries, None)


def user_in(folder: Path) -> int:
    """Who we are in a folder: a file server may know root as nobody (exports(5), root_squash)."""
    return status_of_new(folder).st_uid


def status_of_new(folder: Path) -> os.stat_result:
    """What the file server says of a file that is made there now, and removed. Raises OSError."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)
        probe.unlink()


def open_plain(path: Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a file for reading in a folder where other users may have put anything. Raises OSError.

    Every file of the shared folder is opened here. Only a regular file is opened: opening a FIFO would
    wait for a writer, and a symbolic link leads out of the folder. EINVAL for anything else; EFBIG for
    a file of more than ``max_bytes``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if max_bytes is not None and status.st_size > max_bytes:
        os.close(descriptor)
        raise _too_large(path, max_bytes)
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return the content of such a file. Raises OSError; EFBIG where it is larger than ``max_bytes``."""
    with open_plain(path, max_bytes) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:  # it has grown since it was opened
        raise _too_large(path, max_bytes)
    return data


def _too_large(path: Path, max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that other readers see all of it or none of it, after a power loss too.

    The temporary name is random and O_EXCL refuses one that exists: another user cannot guess it, and
    processes of two containers that have the same pid do not share it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
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


_REFUSALS = frozenset((errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES))
"""What fsync(2), or opening it, says where a file system cannot flush a folder, or not for this user."""


def sync_folder(folder: Path) -> str:
    """Make the folder's entries durable (fsync(2) of a file does not). Raises OSError.

    A file system that does not do that for folders is no error: then this answers why.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return str(error.strerror)
    return ""
