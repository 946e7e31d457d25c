"""Storage operations that hosts need as well as the coordinator: write, rename, test, detect a hang.

Part of what is sent to hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import Optional

STORAGE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO)
)
"""Error numbers that are charged to the storage and not to the page; a dead FUSE mount answers
ENOTCONN."""

HANG_TIMEOUT = 10.0
"""Seconds without an answer after which a folder counts as hanging: an NFS client retries for
minutes."""

VISIBLE_TIMEOUT = 70.0
"""Seconds after which a file that another machine wrote must be visible. NFS caches attributes, and the
fact that a name does not exist, for up to 60 (acregmax, acdirmax in nfs(5))."""

_PROBE = b"\0" * 65536
"""The data of try_write: more than one block, so that a full disk or quota shows."""


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``. Raises OSError.

    A storage that has room for a part writes that part and reports no error (write(2)); the error comes
    with the attempt to write the rest.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def rename(source: str, target: str) -> None:
    """Give ``source`` the name ``target``. Raises OSError when that did not happen.

    On NFS a rename may have worked though it reports an error: the first answer was lost, and the
    client's retry found nothing to rename. Therefore both names are looked at after an error.
    """
    try:
        os.rename(source, target)
    except OSError:
        # The source is gone and the target is there: it has worked.
        if os.path.lexists(source) or not os.path.lexists(target):
            raise


def free_bytes(folder: str) -> int:
    """Return how many bytes an ordinary user may still write there (statvfs(3)). Raises OSError."""
    status = os.statvfs(folder)
    # f_bfree would include the blocks that only root may use.
    return status.f_bavail * status.f_frsize


def try_write(folder: str, name: str) -> Optional[str]:
    """Write and remove a small file in ``folder``. Return None when that worked, else the reason.

    The file's name contains ``name`` and a random part, so that slots that try at the same moment do not
    share a file. In ``work/`` ``name`` begins with the coordinator's epoch (job/folder.py).
    """
    path = os.path.join(folder, ".probe.%s-%s" % (name, os.urandom(6).hex()))
    try:
        # O_EXCL and O_NOFOLLOW: the name is random, but the folder is open to others.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        return reason_of(error)
    try:
        write_all(descriptor, _PROBE)
        # Without fsync(2) a full quota may show only when the file is closed, or never.
        os.fsync(descriptor)
    except OSError as error:
        return reason_of(error)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # the next coordinator removes what is left in work/
            os.unlink(path)
    return None


def reason_of(error: BaseException) -> str:
    """Return the system's words for an error, without its number and path if it has them."""
    return getattr(error, "strerror", None) or str(error)


class HangDetector(threading.Thread):
    """Calls statvfs(2) on a folder every few seconds, to notice when the folder hangs.

    A call to a dead file server blocks in the kernel. This thread may block there as well; then the age
    of its unanswered call shows the hang.
    """

    def __init__(self, folder: str, pause: float = 2.0) -> None:
        super().__init__(daemon=True, name="storage")
        self.folder = folder
        self._pause = pause
        self._asked_at: Optional[float] = None
        self._ended = threading.Event()
        self._was_overdue = False

    def run(self) -> None:
        """Ask until ``stop`` is called."""
        while not self._ended.is_set():
            # Read without a lock by is_hanging(): one assignment is atomic in CPython.
            self._asked_at = time.monotonic()
            # An error is an answer, too: the next operation on the folder shows what it means.
            with contextlib.suppress(OSError):
                os.statvfs(self.folder)
            self._asked_at = None
            self._ended.wait(self._pause)

    def stop(self) -> None:
        """Stop asking; return at once."""
        self._ended.set()

    def is_hanging(self) -> bool:
        """Return whether a call has been without an answer for HANG_TIMEOUT, at two looks in a row.

        After a stop of this process (SIGSTOP, a suspended machine) the first look finds an old call.
        """
        # Read once: it may become None between the two tests.
        asked_at = self._asked_at
        is_overdue = asked_at is not None and time.monotonic() - asked_at > HANG_TIMEOUT
        is_second, self._was_overdue = self._was_overdue, is_overdue
        return is_overdue and is_second
