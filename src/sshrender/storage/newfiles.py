"""Make files and folders on file systems that lack hard links, modes or groups of their own.

CIFS, exFAT, many file systems in user space (FUSE) and some NFS servers refuse link(2), chmod(2) or
both. What a job needs of them is done in another way if a safe one exists (docs/storage.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

from sshrender.storage import primitives

CANNOT_LINK = frozenset(
    (
        *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP),
        *(errno.EMLINK, errno.ENOSYS, errno.EINVAL),
    )
)
"""Errors of link(2) after which another way is taken: another file system, one without links, or a file
of another user (protected_hardlinks in proc_sys_fs(5))."""

_BUSY = frozenset((errno.EBUSY, errno.ETXTBSY, errno.ESTALE))
"""Errors that pass: a client of CIFS or a scanner has the file open, NFS has cached another one."""

BUSY_TIMEOUT, BUSY_INTERVAL = 3.0, 0.1
"""Seconds in which a name that is in use is tried again, and between two tries."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def file_mode(folder: Path) -> int:
    """Return the mode of a new file that is to be as readable as its folder."""
    return _file_mode(folder.stat())


def file_mode_in(folder: int) -> int:
    """Return the same for an open folder."""
    return _file_mode(os.fstat(folder))


def _file_mode(folder: os.stat_result) -> int:
    return 0o600 | (stat.S_IMODE(folder.st_mode) & 0o044)


def folder_mode(parent: Path) -> int:
    """Return the mode of a new folder that is to be as readable as the one that contains it.

    A shared folder of a group has the set-group-ID bit, so that what is made in it belongs to the group
    (inode(7)); a folder in it keeps that. Only its owner may write to it.
    """
    mode = stat.S_IMODE(parent.stat().st_mode)
    return 0o700 | (mode & (0o055 | stat.S_ISGID))


def create(path: Path, mode: int) -> int:
    """Create a file of this mode, whatever the umask is, and return its descriptor. Raises OSError.

    FileExistsError if the name is taken, also by a link.
    """
    # Set by fchmod, as open(2) applies the umask to the mode.
    descriptor = os.open(path, _NEW, mode)
    try:
        set_mode(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def set_mode(descriptor: int, mode: int) -> str:
    """Give an open file or folder a mode, unless it has it. Raises OSError if the storage fails.

    A file system that refuses that gives all files the modes that it was mounted with: return why then,
    else an empty text.
    """
    if stat.S_IMODE(os.fstat(descriptor).st_mode) == mode:
        return ""
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        # Whatever it is called: with a storage that fails, the next write fails, too.
        if error.errno in primitives.STORAGE_ERRORS - {errno.EROFS}:
            raise
        return str(error.strerror)
    return ""


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder of exactly this mode, and of its parent's group if that is set-group-ID.

    One that exists and is another user's keeps its own mode. A link is not followed. Raises OSError.
    """
    # mkdir(2) ignores the set-group-ID bit, so it is set below.
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode & 0o1777)
    # Another user's folder: its mode is that user's.
    with contextlib.suppress(PermissionError):
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if mode & stat.S_ISGID:
                _inherit_group(place, folder.parent)
            set_mode(place, mode)
        finally:
            os.close(place)


def _inherit_group(place: int, parent: Path) -> None:
    """Give an open folder its parent's group, if the file system has not; or leave it."""
    group = parent.stat().st_gid
    if os.fstat(place).st_gid != group:
        with contextlib.suppress(OSError):
            # -1: the owner stays. It fails for a group that this user is not in.
            os.fchown(place, -1, group)


def replace(source: Path, target: Path, wait: float = BUSY_TIMEOUT) -> None:
    """Give ``source`` the name ``target``; if that is in use, try for a while. Raises OSError."""
    deadline = time.monotonic() + wait
    while True:
        try:
            primitives.rename(str(source), str(target))
            return
        except OSError as error:
            # The last error counts once the time has passed.
            if error.errno not in _BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(BUSY_INTERVAL)


def link_new(own: Path, target: Path) -> bool:
    """Give a file that only this process knows the name ``target``, too; return whether it has it.

    One of several processes gets the name, on every NFS: if the answer to a link that worked was lost,
    the number of names tells (open(2), O_EXCL). Raises OSError; one of CANNOT_LINK if there are no
    links.
    """
    try:
        os.link(own, target, follow_symlinks=False)
    except FileExistsError:
        # Two names: the own one and the target.
        return own.stat().st_nlink == 2
    return True


def give_name(own: Path, target: Path) -> bool:
    """Give a file that only this process knows the name ``target``; return whether it got it.

    It keeps its own name only if there are links. Nothing is replaced if the file system can do that
    (link(2), renameat2(2)); else a file that appears at the same moment is: the caller's lease keeps
    other processes away. Raises OSError.
    """
    try:
        return link_new(own, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
    # lexists: a link that leads nowhere has the name, too.
    if os.path.lexists(target):
        return False
    primitives.rename(str(own), str(target))
    return True
