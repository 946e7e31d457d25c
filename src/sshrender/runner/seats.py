"""Seats: one for each slot of a host, shared by all jobs of this user that render there.

A seat is a locked file in a folder of ours; the kernel frees it with the process that holds it, however
that ends (flock(2)). Who waits for one says so by a shared lock on another file, and who holds one looks
there between two pages: after a while he gets up, and stays up until a waiting one can sit down.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from typing import Optional

from sshrender.runner import scratch

TURN = 1.0
"""Seconds that a seat is kept while others wait: a few pages, so that a renderer stays warm."""

LOOK = 0.03
"""Seconds between two looks for a free seat; who got up waits for several of them."""


class Seats:
    """The seats of this host, as one slot sees them. ``count``: how many there are."""

    def __init__(self, count: int, folder: Optional[str] = None) -> None:
        self._folder = folder or os.path.join(scratch.base(), "sshrender-seats-%d" % os.getuid())
        self._count = count
        self._held: Optional[int] = None
        self._wish: Optional[int] = None
        self._since = 0.0
        self._next_try = 0.0

    def take(self) -> bool:
        """Sit down, if a seat is free; True while one is held, and where there can be none."""
        now = time.monotonic()
        if self._held is not None:
            return True
        if now < self._next_try or not self._has_folder():
            return not self._has_folder()
        self._held = self._free_seat()
        if self._held is None:
            self._ask()
            self._next_try = now + LOOK
            return False
        self._since = now
        self._ask_no_more()
        return True

    def between_pages(self) -> None:
        """Get up when others wait and this one has sat for long enough."""
        if self._held is None or time.monotonic() - self._since < TURN or not self._is_wanted():
            return
        self.leave()
        self._next_try = time.monotonic() + 4 * LOOK

    def leave(self) -> None:
        """Get up."""
        _close(self._held)
        self._held = None
        self._ask_no_more()

    def _has_folder(self) -> bool:
        """Made if need be; one that is not ours, or open to others, is not trusted."""
        try:
            os.mkdir(self._folder, 0o700)
        except FileExistsError:
            pass
        except OSError:
            return False
        try:
            status = os.lstat(self._folder)
        except OSError:
            return False
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        return is_ours and not status.st_mode & 0o022

    def _free_seat(self) -> Optional[int]:
        for number in range(self._count):
            descriptor = self._open("seat-%d" % number)
            if descriptor is not None and _lock(descriptor, fcntl.LOCK_EX):
                return descriptor
            _close(descriptor)
        return None

    def _ask(self) -> None:
        if self._wish is None:
            self._wish = self._open("wanted")
            if self._wish is not None:
                _lock(self._wish, fcntl.LOCK_SH)

    def _ask_no_more(self) -> None:
        _close(self._wish)
        self._wish = None

    def _is_wanted(self) -> bool:
        descriptor = self._open("wanted")
        if descriptor is None:
            return False
        is_free = _lock(descriptor, fcntl.LOCK_EX)
        _close(descriptor)
        return not is_free

    def _open(self, name: str) -> Optional[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(os.path.join(self._folder, name), flags, 0o600)
        except OSError:
            return None


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _close(descriptor: Optional[int]) -> None:
    if descriptor is not None:
        os.close(descriptor)
