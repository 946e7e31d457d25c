"""Seats: one for each slot of a host, shared by all jobs of this user that render there.

A seat is a name in the kernel's table of abstract sockets (unix(7)): one process has it at a time, it is
free when that process has ended in whatever way, and no file is left behind. Who waits for a seat takes
another name, and who sits looks for that one between two pages: after a while he gets up, and stays up
until a waiting one can sit down.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Optional

from sshrender.runner import scratch

TURN = 1.0
"""Seconds that a seat is kept while others wait: a few pages, so that a renderer stays warm."""

LOOK = 0.03
"""Seconds between two looks for a free seat; who got up waits for several of them."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7), SO_PEERCRED): pid, uid, gid."""


class Seats:
    """The seats of this host, as one slot sees them. ``count``: how many there are."""

    def __init__(self, count: int, room: Optional[str] = None) -> None:
        self._room = room or _room()
        self._count = count
        self._held: Optional[socket.socket] = None
        self._wish: Optional[socket.socket] = None
        self._since = 0.0
        self._next_try = 0.0

    def take(self) -> bool:
        """Sit down, if a seat is free; True while one is held."""
        now = time.monotonic()
        if self._held is not None:
            return True
        if now < self._next_try:
            return False
        self._held = self._free_seat()
        if self._held is None:
            self._wish = self._wish or _claim(self._name("wanted"))
            self._next_try = now + LOOK
            return False
        self._since = now
        _release(self._wish)
        self._wish = None
        return True

    def between_pages(self) -> None:
        """Get up when others wait and this one has sat for long enough."""
        if self._held is None or time.monotonic() - self._since < TURN or not self._is_wanted():
            return
        self.leave()
        self._next_try = time.monotonic() + 4 * LOOK

    def leave(self) -> None:
        """Get up."""
        _release(self._held)
        _release(self._wish)
        self._held = self._wish = None

    def _free_seat(self) -> Optional[socket.socket]:
        for number in range(self._count):
            name = self._name("seat-%d" % number)
            seat = _claim(name)
            if seat is not None:
                return seat
            if not _is_held_by_us(name):
                return socket.socket(socket.AF_UNIX)  # another user keeps it: none of his business
        return None

    def _is_wanted(self) -> bool:
        name = self._name("wanted")
        claimed = _claim(name)
        _release(claimed)
        return claimed is None and _is_held_by_us(name)

    def _name(self, what: str) -> bytes:
        return ("\0sshrender-%s-%s" % (self._room, what)).encode("ascii")


def _room() -> str:
    """This user on this machine, told by its folder for temporary files: a container has another."""
    try:
        place = os.stat(scratch.base())
        return "%d-%x-%x" % (os.getuid(), place.st_dev, place.st_ino)
    except OSError:
        return "%d" % os.getuid()


def _claim(name: bytes) -> Optional[socket.socket]:
    """The name, if nobody has it."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(name)
        claimed.listen(16)
    except OSError:
        claimed.close()
        return None
    return claimed


def _is_held_by_us(name: bytes) -> bool:
    """Whether this user has it, as anybody may take any name; of one that does not answer, yes."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(name)
        except OSError:
            return True
        size = _CREDENTIALS.size
        found = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.getuid())


def _release(claimed: Optional[socket.socket]) -> None:
    if claimed is not None:
        claimed.close()
