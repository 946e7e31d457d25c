"""The job's folder as this host sees it: is it the right one, can it be written, is a file visible.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from sshrender.storage import primitives

_VISIBLE_POLL_INTERVAL = 0.2


def check(folder: str, nonce_file: str, nonce: str, epoch: int = 0) -> Dict[str, Any]:
    """Check that ``folder`` is the job's folder and that its ``work/`` can be written.

    The path alone proves nothing: a host may have another folder, or an empty mount point, under the
    same name. The coordinator therefore leaves a file with a random ``nonce`` in the folder, and the
    host reads it. Return ``{"seen": bool, "writable": bool, "reason": str}``.
    """
    try:
        with open(os.path.join(folder, nonce_file), encoding="ascii") as file:
            found = file.read(256).strip()
    except (OSError, ValueError) as error:
        return {"seen": False, "writable": False, "reason": _why_unseen(folder, error)}
    if found != nonce:
        return {"seen": False, "writable": False, "reason": "another folder of the same name"}
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


def becomes_visible(path: str, timeout: float) -> bool:
    """Return whether a file exists, or appears within ``timeout`` seconds: NFS may show it late."""
    deadline = time.monotonic() + timeout
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(_VISIBLE_POLL_INTERVAL)
    return True


def umask_for(folder: str) -> int:
    """Return the umask under which new files are as readable as the folder that they lie in."""
    mode = os.stat(folder).st_mode
    return 0o022 if mode & 0o004 else 0o027 if mode & 0o040 else 0o077
