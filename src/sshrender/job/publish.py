"""From ``work/`` to ``pages/`` to the user's folder: by rename and by link, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from pathlib import Path

from sshrender.files import rename

_CANNOT_LINK = frozenset(
    (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
)
"""Another file system, or one without links, or a file of another user (protected_hardlinks)."""


def page_name(page: int, total: int, extension: str) -> str:
    """``page-0001.png``: at least four digits, and as many as the document's last page has."""
    return f"page-{page:0{max(4, len(str(total)))}d}.{extension}"


class PageTaken(Exception):
    """The page is published already, by another attempt."""


def publish(attempt: Path, final: Path) -> None:
    """Give a proved file its final name. A published page is never overwritten.

    Raises PageTaken, or OSError when it has not got the name.
    """
    try:
        os.link(attempt, final)
    except FileExistsError:
        if not _is_one(attempt, final):
            raise PageTaken from None
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        if os.path.lexists(final):
            raise PageTaken from None
        rename(attempt, final)
        return
    attempt.unlink(missing_ok=True)


def deliver(final: Path, target: Path) -> bool:
    """Make ``target`` the page: a second name for it, or a copy. Raises OSError.

    A target that is this page already is left alone, so delivering twice costs two stat calls.
    True when it was copied, and ``secure`` is still to be called.
    """
    try:
        os.link(final, target)
        return False
    except FileExistsError:
        if _is_same(final, target):
            return False
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        if _is_same(final, target):
            return False
    return _replace(final, target)


def secure(target: Path) -> None:
    """Flush a copy to its storage. Raises OSError; there is no target then.

    Apart from ``deliver`` because several flushed in a row cost little more than one: the first
    commits the file system's journal for all of them (ext4, measured: a quarter of the time).
    """
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _is_one(one: Path, other: Path) -> bool:
    """Whether these are two names of one file."""
    first, second = one.lstat(), other.lstat()
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _is_same(final: Path, target: Path) -> bool:
    """The same file, or a copy made by ``_copy``, which keeps size and time of modification."""
    try:
        if _is_one(final, target):
            return True
        there, here = target.lstat(), final.stat()
    except FileNotFoundError:
        return False
    return (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns)


def _replace(final: Path, target: Path) -> bool:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    is_copy = False
    try:
        try:
            os.link(final, temporary)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            is_copy = True
            _copy(final, temporary)
        rename(temporary, target)
        return is_copy
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _copy(final: Path, temporary: Path) -> None:
    with final.open("rb") as original, temporary.open("xb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        status = os.fstat(original.fileno())
        os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
