"""A job's folder on a host without a SAN: made here, filled and emptied over the wire, gone afterwards.

A guardian process removes it when the runner is gone, however that went: it waits for the end of a pipe
that only the runner holds. What a power failure leaves, the next runner of this user removes where no
other machine sees that folder (scratch.py).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Dict, List, Optional

from sshrender.runner import scratch
from sshrender.storage import primitives

_FOLDERS = ("work", "parts")
_GUARDIAN = 'cat >/dev/null; exec rm -rf -- "$0"'


class LocalWorkspace:
    """Where a runner without a SAN works. ``path`` is empty where none could be made: ``reason``."""

    def __init__(self, base: Optional[str]) -> None:
        self.path = self.reason = ""
        self._pipe = -1
        place = base or _roomiest()
        scratch.clear_dead(place)
        path: Optional[str] = None
        try:
            path = scratch.make_in(place)
            self._pipe = _guard(path)
            for name in _FOLDERS:
                os.mkdir(os.path.join(path, name), 0o700)
        except OSError as error:
            self.reason = "%s: %s" % (place, error.strerror)
            scratch.remove(path)
            return
        self.path = path

    def as_seen(self) -> Dict[str, Any]:
        """What ``jobfolder.check`` answers of a shared folder."""
        reason = self.reason or primitives.try_write(os.path.join(self.path, "work"), "own")
        return {"seen": bool(self.path), "writable": reason is None, "reason": reason or ""}

    def discard(self, names: List[str]) -> None:
        """Remove files that were fetched."""
        for name in names:
            path = os.path.join(self.path, "work", os.path.basename(name))
            if os.path.exists(path):
                os.unlink(path)


def _roomiest() -> str:
    """Where a document has most room: TMPDIR where it is set, else the larger of two."""
    if os.environ.get("TMPDIR"):
        return os.environ["TMPDIR"]
    return max(("/var/tmp", "/tmp"), key=_free)


def _free(folder: str) -> int:
    try:
        return primitives.free_bytes(folder)
    except OSError:
        return -1


def _guard(path: str) -> int:
    """Start the guardian of a folder; answers our end of its pipe. Raises OSError."""
    theirs, ours = os.pipe()
    try:
        subprocess.Popen(
            ["sh", "-c", _GUARDIAN, path],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # what kills the runner's group must not kill it
        )
    finally:
        os.close(theirs)
    return ours
