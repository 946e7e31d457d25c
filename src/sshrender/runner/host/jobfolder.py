"""The job's folder as this host sees it: is it the right one, can it be written, is a file visible.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional, Sequence

from sshrender.storage import primitives

_VISIBLE_POLL_INTERVAL = 0.2


def check(
    folder: str, nonce_file: str, nonce: str, epoch: int = 0, files: Sequence[str] = ()
) -> Dict[str, Any]:
    """Check that ``folder`` is the job's folder, and that this host can read and write what it must.

    The path alone shows nothing: a host may have another folder, or an empty mount point, under the same
    name. The coordinator therefore leaves a file with a random ``nonce`` in the folder, and the host
    reads it. Those of ``files`` that exist must be readable, and ``work/`` must be writable. Return
    ``{"seen": bool, "writable": bool, "reason": str}``.
    """
    try:
        with open(os.path.join(folder, nonce_file), encoding="ascii") as file:
            # 256 characters are more than a nonce has: what an attacker has put there is not read into
            # memory.
            found = file.read(256).strip()
    except (OSError, ValueError) as error:
        return {"seen": False, "writable": False, "reason": _why_unseen(folder, error)}
    if found != nonce:
        return {"seen": False, "writable": False, "reason": "another folder of the same name"}
    # readable is tested by opening: access(2) is wrong if a file server maps users (root_squash).
    for name in files:  # the parts of a document that is still being split do not exist yet
        unread = becomes_readable(os.path.join(folder, name), 0)
        if unread is not None and not isinstance(unread, FileNotFoundError):
            why = "cannot read %s: %s" % (name, primitives.reason_of(unread))
            return {"seen": False, "writable": False, "reason": why}
    # Written with the nonce and the epoch in its name, so that tests of two connections do not collide.
    reason = primitives.try_write(os.path.join(folder, "work"), "e%d.%s" % (epoch, nonce))
    return {"seen": True, "writable": reason is None, "reason": reason or ""}


def _why_unseen(folder: str, error: Exception) -> str:
    """Return why the job's folder cannot be read: the shared folder may be another one, without it."""
    shared = os.path.dirname(folder)
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        if os.path.isdir(shared):
            return "a folder is there, but it is another one, or nothing is mounted on it"
        return "there is no such folder"
    return primitives.reason_of(error)


def leave(folder: str, nonce: str, epoch: int) -> str:
    """Leave a file in ``work/``, as a page is left there, and return its name. Raises OSError.

    The coordinator reads it: a host whose pages cannot be read from there is of no use.
    """
    # The mode that a page will have, so the coordinator's test shows what will be true of pages.
    os.umask(umask_for(folder))
    name = ".probe.e%d.%s-%s" % (epoch, nonce, os.urandom(6).hex())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    # As open(2) is called for a page: the umask decides about the mode.
    descriptor = os.open(os.path.join(folder, "work", name), flags, 0o666)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(nonce)
        file.flush()
        os.fsync(descriptor)
    return name


def becomes_readable(path: str, timeout: float) -> Optional[OSError]:
    """Wait until a file exists, at most ``timeout`` seconds: NFS may show it late.

    Return None when it can be read, else the error.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            # O_NONBLOCK: opening a FIFO without a writer would block for ever.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            return None
        # NFS clients cache that a name does not exist (nfs(5), lookupcache and acdirmin): up to half a
        # minute.
        except FileNotFoundError as error:
            if time.monotonic() >= deadline:
                return error
        except OSError as error:
            return error
        time.sleep(_VISIBLE_POLL_INTERVAL)


def umask_for(folder: str) -> int:
    """Return the umask under which new files are as readable as the folder that they are in."""
    mode = os.stat(folder).st_mode
    # Files follow their folder: readable by all, by its group, or by its owner only.
    return 0o022 if mode & 0o004 else 0o027 if mode & 0o040 else 0o077
