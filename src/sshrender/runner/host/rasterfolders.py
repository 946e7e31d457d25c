"""Folders for rasters until they are encoded: in memory (/dev/shm), or on the largest local disk.

If there is no /dev/shm for this user, all of them are on that disk.

A guardian process removes both folders when the runner has ended (localworkspace.py), so that no raster
stays in memory.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import re
import resource
import threading
from typing import Callable, List, NamedTuple, Optional

from sshrender.renderers import constants
from sshrender.renderers.ghostscript import RasterOutput
from sshrender.runner.host import hostfacts, localworkspace, processlimits, scratch
from sshrender.storage import primitives

MEMORY = "/dev/shm"

MAX_IN_MEMORY = 64 << 20
"""Bytes of a raster in memory: A4 at 300 dpi has 26 MB."""

PER_SLOT = 8
"""Rasters that a slot has at a time, rounded up: one that is rendered, one asked for ahead, one that is
encoded, and those that wait (finalizer.py, MAX_RASTERS)."""

LARGE_PER_SLOT = 2
"""Large rasters that a slot has at a time: one that is rendered, and one that is encoded
(finalizer.py)."""

MEMORY_SHARE = 0.25
"""Share of the free memory that all rasters of a host may take."""

# Below this almost every page would go to the disk, so the folder in memory is not used at all.
MIN_IN_MEMORY = 1 << 20

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""Names that need no quoting in Ghostscript's command line, where % and | have a meaning."""


class RasterRequest(NamedTuple):
    """The device that renders rasters instead of the job's, and its bits per pixel."""

    device: str
    bits: int


class RasterFolders:
    """The folders of a runner. They are made when the first raster is to be rendered.

    ``chunks``: what PNG files contain between header and pixels, if that is known already.
    """

    def __init__(
        self, request: RasterRequest, slots: int, page_memory: int, chunks: Optional[bytes] = None
    ) -> None:
        self._request = request
        self._slots = slots
        self._page_memory = page_memory
        self._lock = threading.Lock()
        self._output: Optional[RasterOutput] = None
        self._chunks = chunks
        self._is_unusable = False

    def output(self) -> Optional[RasterOutput]:
        """Return where rasters go; None if there is no room for them."""
        # Called by the threads of all slots: the first one makes the folders, and the others wait for
        # it.
        with self._lock:
            if self._output is None and not self._is_unusable:
                self._output = self._make()
                self._is_unusable = self._output is None
            return None if self._is_unusable else self._output

    # Set while other slots may be rendering rasters: they finish those, and ask output() again for the
    # next.
    def give_up(self) -> None:
        """Render no more rasters in this runner."""
        with self._lock:
            self._is_unusable = True

    def chunks(self, make: Callable[[RasterOutput], Optional[bytes]]) -> Optional[bytes]:
        """Return what PNG files contain between header and pixels; ``make`` finds it out once.

        None if that failed: then there are no rasters any more.
        """
        with self._lock:
            # Under the lock: one slot runs the Ghostscript that finds it out, the others wait for the
            # result.
            if self._chunks is None and self._output is not None and not self._is_unusable:
                self._chunks = make(self._output)
                self._is_unusable = self._chunks is None
            return self._chunks

    def _make(self) -> Optional[RasterOutput]:
        made: List[str] = []
        memory_limit = 0
        try:
            # A host without /dev/shm: all rasters go to the disk.
            with contextlib.suppress(OSError):
                made.append(_folder_in(MEMORY))
                memory_limit = self._memory_limit(made[0])
            made.append(_folder_in(localworkspace.largest_folder()))
            disk_limit = self._disk_limit(made[-1])
            localworkspace.guard(*made)
        except OSError:
            for path in made:
                scratch.remove(path)
            return None
        return RasterOutput(
            self._request.device, self._request.bits, made[0], memory_limit, made[-1], disk_limit
        )

    def _memory_limit(self, folder: str) -> int:
        # Two limits: what the file system has left, and what the host's memory has left. tmpfs takes
        # both.
        free = min(primitives.free_bytes(folder), int(MEMORY_SHARE * hostfacts.memory("MemAvailable")))
        limit = min(free // (PER_SLOT * self._slots), MAX_IN_MEMORY, _longest_file())
        return limit if limit >= MIN_IN_MEMORY else 0

    def _disk_limit(self, folder: str) -> int:
        """Return the bytes of a raster on disk: for those of each slot, with as much left to others."""
        room = primitives.free_bytes(folder) // 2
        # A /tmp that is a tmpfs is memory as well. The share alone leaves enough of that to others.
        if scratch.is_in_memory(folder):
            room = min(room, int(MEMORY_SHARE * hostfacts.memory("MemAvailable")))
        limit = min(room // (LARGE_PER_SLOT * self._slots), constants.FILE_TO_MEMORY * self._page_memory)
        return min(limit, _longest_file())


def _folder_in(place: str) -> str:
    """Make a folder there, after those that killed runners left. Raises OSError."""
    scratch.clear_dead(place)
    path = scratch.make_in(place)
    if _PLAIN.fullmatch(path) is None:
        scratch.remove(path)
        raise OSError("a folder with an odd name")
    return path


def _longest_file() -> int:
    """Return the bytes that a file may have here (setrlimit(2)); a page's own may be far shorter."""
    return processlimits.at_most(resource.RLIMIT_FSIZE, 1 << 62)
