"""Folders for renderers' temporary files, which a killed Ghostscript would leave behind.

Besides ``work/`` this is the only folder that a renderer can write to: ``-dSAFER`` permits everything
below TMPDIR (measured, Ghostscript 10.00), which would be all of /tmp by default.

Hosts and containers may share the parent folder (a home on NFS, a mounted /tmp), and each runner removes
what killed runners left there. Therefore the name of a folder identifies its owner by boot, pid
namespace and process, and the owner holds a lock on a file in it. A folder is removed only when its
owner is known to be gone.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import Dict, List, Optional, Set

from sshrender.storage import processidentity

PREFIX = "sshrender-"
_NAME = re.compile(r"sshrender-(\w*)\.(\d*)-(\d{1,10})-(\d*)-[0-9a-f]{16}", re.ASCII)
_LOCK = ".owner"

_OWN_KERNEL = frozenset(("btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"))
"""File systems that one kernel mounts at a time, so that flock(2) sees the locks of every owner. On NFS
locks may be local to each machine (nfs(5), nolock and local_lock)."""

_open: Dict[str, int] = {}
"""The folders of this process, and the descriptor that locks each."""


def base() -> str:
    """Return the folder for temporary files on this host."""
    return os.environ.get("TMPDIR") or "/tmp"


def make() -> Optional[str]:
    """Make a folder that only this user can enter; return None if that fails."""
    try:
        return make_in(base())
    except OSError:
        return None


# The parts of the name: boot and pid namespace, pid, start time of the process, a random word.
def make_in(folder: str) -> str:
    """Make a folder in ``folder`` whose name identifies this process. Raises OSError."""
    path = os.path.join(folder, "%s%s-%s" % (PREFIX, _ourselves(), os.urandom(8).hex()))
    # 0700 from the start: there is no moment at which another user could enter.
    os.mkdir(path, 0o700)
    try:
        _open[path] = _lock(path)
    except OSError:
        remove(path)
        raise
    return path


def _lock(path: str) -> int:
    """Make and hold the lock file.

    It is renamed to its final name only when the lock is held, so that a file of that name without a
    lock means that its owner has ended.
    """
    unheld = os.path.join(path, _LOCK + "-new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    # O_NOFOLLOW and O_EXCL: what another user put at this name is never opened.
    descriptor = os.open(unheld, flags, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: there they are never looked at
            # The lock belongs to the open file, so it ends with this process, however that ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(unheld, os.path.join(path, _LOCK))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _ourselves() -> str:
    where, pid, began = processidentity.ourselves()
    return "%s-%d-%s" % (_as_word(where), pid, began)


def _as_word(where: str) -> str:
    """Return ``processidentity.space()`` in a form that a file name can contain."""
    boot, _, space = where.partition("/")
    return "%s.%s" % (re.sub(r"\W", "", boot), re.sub(r"\D", "", space))


def environment(base_environment: Dict[str, str], path: Optional[str]) -> Dict[str, str]:
    """Return a renderer's environment with ``path`` as its folder for temporary files."""
    # Without a folder the variable stays as it is, and renderers use the host's folder.
    return dict(base_environment, TMPDIR=path) if path is not None else base_environment


def take(path: str) -> bytes:
    """Return the content of a file and remove it; return nothing when it cannot be read."""
    # Read and removed at once, so that such files never add up.
    try:
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
    except OSError:
        return b""
    return data


def write(path: str, text: str) -> None:
    """Write a new file that only this user can read. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


# Ghostscript looks for a profile by its name below a folder, so a link gives the user's file that name.
def link(folder: str, name: str, target: str) -> None:
    """Make ``name`` below a folder a link to a file. Raises OSError, or ValueError: it leads outside."""
    # The name is a user's; a part ".." would leave the folder (the target may lie anywhere).
    if ".." in name.split("/"):
        raise ValueError("%s leads out of the folder" % name)
    path = folder + "/" + name
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    os.symlink(target, path)


def remove(path: Optional[str]) -> None:
    """Remove a folder and all that is in it. Never raises."""
    if path is None:
        return
    try:
        for entry in os.scandir(path):
            # A link to a folder is unlinked and never entered.
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(path)
    except OSError:
        pass  # the next runner of this user tries again
    # Even if files are left: without the lock the next runner of this user may try.
    lock = _open.pop(path, None)
    if lock is not None:
        os.close(lock)


def remove_all() -> None:
    """Remove all folders that this runner made."""
    # A copy: remove() changes the table.
    for path in list(_open):
        remove(path)


def clear_dead(folder: Optional[str] = None) -> None:
    """Remove folders that killed runners of this user left behind. Never raises."""
    place = folder or base()
    for name in _names(place):
        path = os.path.join(place, name)
        # Cheap tests first: lstat, then the owner's state.
        if _is_ours(path) and _is_left_behind(path, name):
            remove(path)


def _names(place: str) -> List[str]:
    try:
        return [name for name in os.listdir(place) if _NAME.fullmatch(name)]
    except OSError:
        return []


def _is_ours(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    # A link by this name is not followed; only a real folder of this user counts.
    return status.st_uid == os.getuid() and status.st_mode & 0o170000 == 0o040000


def _is_left_behind(path: str, name: str) -> bool:
    """Return whether the owner of a folder is known to be gone; otherwise the folder stays."""
    match = _NAME.fullmatch(name)
    if match is None or path in _open:
        return False
    here = processidentity.space()
    # The same boot and pid namespace: whether the owner lives can be looked up in /proc.
    if here and "%s.%s" % match.group(1, 2) == _as_word(here):
        state = processidentity.state(here, int(match.group(3)), match.group(4))
        return state is processidentity.OwnerState.GONE
    # Another container on this machine: only the lock tells, and only if one kernel sees all locks.
    return _is_of_one_kernel(path) and _is_unlocked(os.path.join(path, _LOCK))


def _is_unlocked(lock: str) -> bool:
    """Return whether no process of this kernel holds the lock; False when the file does not exist."""
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # If the lock can be taken, its owner is gone. It is given back by closing.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_of_one_kernel(path: str) -> bool:
    """Return whether no other machine can see this folder."""
    kinds = _kinds(path)
    # Every mount of this device must be of these types.
    return bool(kinds) and kinds <= _OWN_KERNEL


def is_in_memory(path: str) -> bool:
    """Return whether the files of this folder take memory."""
    return "tmpfs" in _kinds(path)


def _kinds(path: str) -> Set[str]:
    """Return the types of the file system of this folder, as it is mounted (proc(5), mountinfo)."""
    try:
        device = os.stat(path).st_dev
        number = "%d:%d" % (os.major(device), os.minor(device))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return set()
    # The fields before "-" vary in number (proc(5), mountinfo); the type is the first after it.
    return {words[words.index("-") + 1] for words in mounts if words[2] == number and "-" in words}
