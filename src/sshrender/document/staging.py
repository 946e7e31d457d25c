"""The document on the SAN, once: cloned or linked where the file system can, copied where not."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from sshrender.files import file_mode

_BLOCK = 1 << 20
_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stage(source: Path, folder: Path) -> tuple[Path, str]:
    """Bring ``source`` into ``folder`` under a temporary name: (that file, SHA-256 of its content).

    The digest is taken of what is read, on the way. Raises OSError; leaves nothing behind then.
    """
    target = folder / f".staging-{uuid.uuid4().hex}"
    try:
        for way in (_clone, _link):
            if _succeeds(way, source, target):
                return target, digest(target)
        return target, _copy(source, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _succeeds(way: Callable[[Path, Path], None], source: Path, target: Path) -> bool:
    try:
        way(source, target)
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def _clone(source: Path, target: Path) -> None:
    """Share the blocks until one of the two is changed (Btrfs, XFS, NFS 4.2)."""
    with source.open("rb") as original, target.open("xb") as copy:
        fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        os.fchmod(copy.fileno(), file_mode(target.parent))


def _link(source: Path, target: Path) -> None:
    """A second name for the same file, if whoever may read the folder may read it too."""
    wanted = file_mode(target.parent)
    if source.stat().st_mode & 0o777 & wanted != wanted:
        raise PermissionError("not as readable as the folder")
    os.link(source.resolve(), target)


def _copy(source: Path, target: Path) -> str:
    hasher = hashlib.sha256()
    with source.open("rb") as original, target.open("xb") as copy:
        while block := original.read(_BLOCK):
            hasher.update(block)
            copy.write(block)
        copy.flush()
        os.fchmod(copy.fileno(), file_mode(target.parent))
        os.fsync(copy.fileno())
    return hasher.hexdigest()


def clear_stale(folder: Path, older_than: float, now: float) -> None:
    """Remove what a killed run left half staged, once it is old enough to be nobody's."""
    for left in folder.glob(".staging-*"):
        with contextlib.suppress(OSError):
            if now - left.stat().st_mtime > older_than:
                left.unlink()
