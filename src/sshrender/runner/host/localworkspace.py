"""The job's folder on a host without a shared folder: files are transferred to and from it.

A guardian process removes the folder when the runner has ended, in whatever way: it waits for the end of
a pipe that only the runner has open. What a power failure leaves behind is removed by the next runner of
this user, if no other machine sees that folder (scratch.py).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Dict, List, Optional

from sshrender.runner.host import scratch
from sshrender.storage import primitives

_FOLDERS = ("work", "parts")
# cat ends with the pipe, when the last process that has its other end open is gone.
_GUARDIAN = 'cat >/dev/null; exec rm -rf -- "$@"'


class LocalWorkspace:
    """The folder of a runner without a shared folder. If it could not be made, ``path`` is empty."""

    def __init__(self, base: Optional[str]) -> None:
        self.path = self.reason = ""
        self._pipe = -1
        place = base or largest_folder()
        # The remains of killed runners take room that the new folder needs.
        scratch.clear_dead(place)
        path: Optional[str] = None
        try:
            path = scratch.make_in(place)
            # The guardian comes before anything is written: what is in the folder goes with this
            # process.
            self._pipe = guard(path)
            for name in _FOLDERS:
                os.mkdir(os.path.join(path, name), 0o700)
        except OSError as error:
            self.reason = "%s: %s" % (place, error.strerror)
            scratch.remove(path)
            return
        self.path = path

    def check(self) -> Dict[str, Any]:
        """Return whether the folder can be used, in the form of ``jobfolder.check``."""
        reason = self.reason or primitives.try_write(os.path.join(self.path, "work"), "own")
        return {"seen": bool(self.path), "writable": reason is None, "reason": reason or ""}

    def discard(self, names: List[str]) -> None:
        """Remove files that the coordinator has fetched."""
        for name in names:
            # Only names in work/ count, whatever path the request holds.
            path = os.path.join(self.path, "work", os.path.basename(name))
            # A name that was fetched by an earlier request is gone, which is not an error.
            if os.path.exists(path):
                os.unlink(path)


def largest_folder() -> str:
    """Return the folder for large files: TMPDIR if it is set, else the one with most space."""
    if os.environ.get("TMPDIR"):
        return os.environ["TMPDIR"]
    # max() takes the first of equal ones, so /var/tmp, which is a disk on most hosts.
    return max(("/var/tmp", "/tmp"), key=_free)


def _free(folder: str) -> int:
    try:
        return primitives.free_bytes(folder)
    except OSError:
        return -1


def guard(*paths: str) -> int:
    """Start the guardian of folders. Return our end of its pipe. Raises OSError."""
    # The write end stays open in this process and in no other: Popen closes it in children (close_fds).
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            # ``sh -c`` takes the next word as $0 and the others as "$@": no path is parsed by the shell.
            ["sh", "-c", _GUARDIAN, "sh", *paths],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # it must survive when the runner kills its process group
        )
    finally:
        # The guardian has its own copy of the reading end.
        os.close(theirs)
    # It outlives this process, which never waits for it. Python warns of a child without a result.
    process.returncode = 0
    return ours
