"""The shared folder as this host sees it: is it the right one, and can it be written.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import Any, Dict, Optional

STORAGE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO)
)
"""Errors that blame the storage rather than the page; ENOTCONN is what a dead FUSE mount answers."""

HANG_TIMEOUT = 10.0
"""Seconds without an answer after which a shared folder counts as gone: NFS asks again for minutes."""

VISIBLE_TIMEOUT = 70.0
"""Seconds until a file that somebody else wrote must be seen: NFS caches attributes, and that a name
does not exist, for up to 60 (acregmax, acdirmax in nfs(5))."""

_PROBE = b"\0" * 65536


def look(folder: str, nonce_file: str, nonce: str, epoch: int = 0) -> Dict[str, Any]:
    """Whether ``folder`` is the job's folder (it holds the nonce) and its ``work/`` can be written.

    Answers ``{"seen": bool, "writable": bool, "reason": str}``.
    """
    try:
        with open(os.path.join(folder, nonce_file), encoding="ascii") as file:
            found = file.read(256).strip()
    except (OSError, ValueError) as error:
        return {"seen": False, "writable": False, "reason": _why(error)}
    if found != nonce:
        return {"seen": False, "writable": False, "reason": "another folder of the same name"}
    reason = try_write(os.path.join(folder, "work"), "e%d.%s" % (epoch, nonce))
    return {"seen": True, "writable": reason is None, "reason": reason or ""}


def try_write(folder: str, name: str) -> Optional[str]:
    """Write and remove a small file in ``folder``; None when it worked, else why it did not.

    Its name has ``name`` in it and is not another slot's that tries at the same moment. In ``work/``
    ``name`` begins with the coordinator's epoch (job/folder.py).
    """
    path = os.path.join(folder, ".probe.%s-%s" % (name, os.urandom(6).hex()))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        return _why(error)
    try:
        write_all(descriptor, _PROBE)
        os.fsync(descriptor)
    except OSError as error:
        return _why(error)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # recall() removes what is left in work/
            os.unlink(path)
    return None


class Watch(threading.Thread):
    """Asks the shared folder for a sign of life every few seconds: a dead server lets every access hang.

    It may hang in that itself, and then tells by its silence.
    """

    def __init__(self, folder: str, pause: float = 2.0) -> None:
        super().__init__(daemon=True, name="storage")
        self.folder = folder
        self._pause = pause
        self._asked_at: Optional[float] = None
        self._stop = threading.Event()

    def run(self) -> None:
        """The thread."""
        while not self._stop.is_set():
            self._asked_at = time.monotonic()
            with contextlib.suppress(OSError):  # an answer too: a page will show what it means
                os.statvfs(self.folder)
            self._asked_at = None
            self._stop.wait(self._pause)

    def stop(self) -> None:
        """Ask no more; returns at once."""
        self._stop.set()

    def is_hanging(self) -> bool:
        """Whether it has not answered for HANGS_AFTER."""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at > HANG_TIMEOUT


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: a storage with room for a part writes that and reports no error (write(2))."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def rename(source: str, target: str) -> None:
    """Give ``source`` the name ``target``. Raises OSError when it has not got it.

    On NFS a rename may have worked though it reported an error (the answer was lost and the retry
    found nothing to rename), so after an error one looks again.
    """
    try:
        os.rename(source, target)
    except OSError:
        if os.path.lexists(source) or not os.path.lexists(target):
            raise


def free_bytes(folder: str) -> int:
    """Bytes that an ordinary user may still write there (statvfs(3))."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def appears(path: str, within: float) -> bool:
    """Whether a file is there, or comes within so many seconds: NFS may show it late."""
    deadline = time.monotonic() + within
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def umask_for(folder: str) -> int:
    """A umask under which files are as readable as the folder they lie in."""
    mode = os.stat(folder).st_mode
    return 0o022 if mode & 0o004 else 0o027 if mode & 0o040 else 0o077


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
