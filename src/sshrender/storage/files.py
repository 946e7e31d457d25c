"""Reading, writing and removing files in folders where other users may have put anything.

A file written here is complete or absent after a crash, and as readable as its folder.
Files are opened without following links and without waiting (FIFOs), and are read up to a limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import stat
import time
import uuid
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sshrender.storage import primitives
from sshrender.storage.newfiles import create, file_mode, replace

MAX_RECORD_BYTES = 1 << 20
"""Size limit of a file that holds one JSON object. The largest that sshrender writes is a job.json with
recipes, a few KiB."""


_LIBC = ctypes.CDLL(None)

_FALLOC_FL_KEEP_SIZE = 1
"""fallocate(2). Python has posix_fallocate(3) alone, which makes the file longer."""


def rename(source: Path, target: Path) -> None:
    """Give ``source`` the name ``target``; see primitives.rename. Raises OSError."""
    primitives.rename(str(source), str(target))


class DanglingLink(NamedTuple):
    """A link to a file or folder that is not there: ``target``."""

    path: Path
    target: str

    def __str__(self) -> str:
        return f"{self.path} is a link to {self.target}, which is not there"


def dangling_link(path: Path) -> DanglingLink | None:
    """Return the part of a path that is such a link; None if there is none."""
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            return DanglingLink(each, os.path.realpath(each))
    return None


def free_bytes(folder: Path) -> int:
    """Return how many bytes an ordinary user may still write in a folder, which may not exist yet.

    Raises OSError.
    """
    # The nearest folder that exists: a new one will be on the same file system.
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return primitives.free_bytes(str(folder))


def visible(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without those that begin with a dot. Raises OSError.

    Path.glob would report a folder that cannot be read as an empty one.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def names_in(folder: Path, most: int) -> list[str]:
    """Return the names in a folder. Raises OSError; EFBIG when there are more than ``most``."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, most + 1)]
    if len(names) > most:
        raise OSError(errno.EFBIG, f"more than {most} files", str(folder))
    return names


def open_folder(path: Path) -> int:
    """Open a folder; neither it nor the folder that contains it may be a symbolic link.

    Operations relative to the returned descriptor (unlinkat(2)) stay in this folder, even when another
    process puts something else under its path meanwhile. Raises OSError; ENOTDIR for a link.
    """
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    # O_PATH: the parent need not be readable, only searchable.
    parent = os.open(path.parent, os.O_PATH | flags)
    try:
        return os.open(path.name, os.O_RDONLY | flags, dir_fd=parent)
    finally:
        os.close(parent)


def remove_tree(name: str, within: int) -> None:
    """Remove the folder ``name`` in the open folder ``within``, however deep it is.

    Its subfolders are moved up into it and emptied there. Therefore two descriptors are enough and no
    recursion is needed, which a tree of thousands of levels would exhaust. No link is followed. A file
    that another process removes meanwhile is not an error. Raises OSError when anything is left.
    """
    try:
        top = _open_to_empty(name, within)
    except FileNotFoundError:
        return
    try:
        # Each turn removes a level: what was inside is at the top then.
        while left := os.listdir(top):  # noqa: PTH208 - of a descriptor
            failures = [error for each in left if (error := _take_apart(each, top)) is not None]
            # Nothing was removed in this turn: another would do the same.
            if len(failures) == len(left):
                raise failures[0]
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=within)


def _take_apart(name: str, top: int) -> OSError | None:
    """Remove a file, or empty and remove a folder. Return the error when it is left."""
    try:
        if not _is_folder(name, top):
            os.unlink(name, dir_fd=top)
            return None
        inner = _open_to_empty(name, top)
        try:
            for each in os.listdir(inner):  # noqa: PTH208 - of a descriptor
                # A file that cannot be removed keeps its folder; the rmdir below reports that.
                with contextlib.suppress(OSError):
                    if _is_folder(each, inner):
                        # Its mode first: a folder must be writable for its entry ``..`` to be moved
                        # (rename(2), EACCES).
                        os.close(_open_to_empty(each, inner))
                        # A random name: two levels may have subfolders of one name.
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
    """Open a folder, and give it the mode that its removal needs, if it is ours. Raises OSError."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(name, os.O_PATH | flags, dir_fd=within)
    try:
        # On another user's folder this fails, and so do the calls below.
        if stat.S_IMODE(os.fstat(place).st_mode) & 0o700 != 0o700:
            with contextlib.suppress(OSError):
                # fchmod(2) refuses an O_PATH descriptor, and the folder may not be readable yet, so that
                # no other descriptor can be had; its /proc path accepts chmod (open(2), O_PATH).
                Path(f"/proc/self/fd/{place}").chmod(0o700)
        # "." by the descriptor: the folder that was opened, whatever has its name now.
        return os.open(".", os.O_RDONLY | flags, dir_fd=place)
    finally:
        os.close(place)


def require_listing(folder: Path) -> None:
    """Raise OSError when the folder cannot be read."""
    with os.scandir(folder) as entries:
        next(entries, None)


def user_in(folder: Path) -> int:
    """Return the user id that our files get in a folder: a server may map root to nobody.

    That is root_squash in exports(5).
    """
    return status_of_new(folder).st_uid


def name_of(user: int) -> str:
    """Return a user's name in the form that sudo(8) accepts."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


def status_of_new(folder: Path) -> os.stat_result:
    """Return the status of a file that is made in the folder and removed again. Raises OSError.

    Its owner and times are those of the file server.
    """
    probe = folder / f".probe-{uuid.uuid4().hex}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)
        probe.unlink()


def open_plain(path: Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading. Raises OSError; EFBIG for one of more than ``max_bytes``."""
    descriptor, status = open_and_stat(path)
    if max_bytes is not None and status.st_size > max_bytes:
        os.close(descriptor)
        raise _too_large(path, max_bytes)
    return os.fdopen(descriptor, "rb")


def open_and_stat(path: Path) -> tuple[int, os.stat_result]:
    """Open a regular file; return its descriptor and its status. Raises OSError.

    Every file of the shared folder is opened here. Opening a FIFO would wait for a writer, and a
    symbolic link may lead out of the folder. EINVAL or ELOOP for anything but a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO and not path.is_file():  # a socket, or a device without a driver
            raise _not_regular(path) from None
        raise
    status = os.fstat(descriptor)
    # After it was opened: a test of the name before could be of another file.
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor, status


def read_plain(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return the content of a regular file. Raises OSError; EFBIG for more than ``max_bytes``."""
    with open_plain(path, max_bytes) as file:
        # One byte more, so that growth shows.
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:  # the file has grown since it was opened
        raise _too_large(path, max_bytes)
    return data


def read_when_visible(path: Path, timeout: float = 5.0) -> bytes:
    """Return the content of a regular file that another machine has just written. Raises OSError."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return read_plain(path)
        except FileNotFoundError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.2)


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", str(path))


def _too_large(path: Path, max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or the old one, also after a power failure.

    Temporary and final file are in one folder, because a rename is atomic only within a file system. The
    temporary name is random, and O_EXCL refuses a name that exists: another user cannot guess it, and
    processes of two containers that have the same pid do not share it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = create(temporary, file_mode(path.parent))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Tries for a while if the name is in use (newfiles.py).
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # After the rename: the new name is durable only then.
    sync_folder(path.parent)


_REFUSALS = frozenset(
    (
        *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
        *(errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM),
    )
)
"""The error numbers of a file system that cannot sync a folder, or not for this user (fsync(2))."""


def sync_folder(folder: Path) -> str:
    """Make the entries of a folder durable, which fsync(2) of a file does not. Raises OSError.

    A file system that cannot do that for folders is not an error. Return the reason then, else "".
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


def reserve(descriptor: int, offset: int, size: int) -> bool:
    """Allocate space after the end of a file, whose size stays; return whether that worked.

    It does not on NFS before 4.2, and on a full disk.
    """
    # c_long: without it ctypes would pass an int of 32 bits.
    result: int = _LIBC.fallocate(
        descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(size)
    )
    return result == 0
