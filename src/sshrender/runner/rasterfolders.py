"""Where rasters lie until they are encoded: in memory (/dev/shm), large ones on the largest local disk.

A guardian process removes both folders when the runner has ended (localworkspace.py), so that no raster
stays in memory.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
import threading
from typing import Callable, NamedTuple, Optional

from sshrender.renderers import limits
from sshrender.renderers.ghostscript import RasterOutput
from sshrender.runner import hostfacts, localworkspace, scratch
from sshrender.storage import primitives

MEMORY = "/dev/shm"

MAX_IN_MEMORY = 64 << 20
"""Bytes of a raster in memory: A4 at 300 dpi has 26 MB."""

PER_SLOT = 8
"""Rasters that a slot has at a time, rounded up: one that is rendered, one asked for ahead, one that is
encoded, and those that wait (finalizer.py, MAX_RASTERS)."""

# Of what is free now: other programs may need more, and a full /dev/shm makes them fail.
MEMORY_SHARE = 0.25
"""Of the free memory: that all rasters of a host may take."""

# Below this almost every page would go to the disk, so the folder in memory is not used at all.
MIN_IN_MEMORY = 1 << 20

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""Names that need no quoting in Ghostscript's command line, where % and | have a meaning."""


class RasterRequest(NamedTuple):
    """The device that renders rasters instead of the job's, and its bits per pixel."""

    device: str
    bits: int


class RasterFolders:
    """The folders of a runner. They are made when the first raster is to be rendered."""

    def __init__(self, request: RasterRequest, slots: int, page_memory: int) -> None:
        self._request = request
        self._slots = slots
        self._page_memory = page_memory
        self._lock = threading.Lock()
        self._output: Optional[RasterOutput] = None
        self._chunks: Optional[bytes] = None
        self._is_unusable = False

    def output(self) -> Optional[RasterOutput]:
        """Return where rasters go; None where there is no room for them."""
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

        None where that failed: then there are no rasters any more.
        """
        with self._lock:
            # Under the lock: one slot runs the Ghostscript that finds it out, the others wait for the
            # result.
            if self._chunks is None and self._output is not None and not self._is_unusable:
                self._chunks = make(self._output)
                self._is_unusable = self._chunks is None
            return self._chunks

    def _make(self) -> Optional[RasterOutput]:
        made = []
        try:
            for place in (MEMORY, localworkspace.largest_folder()):
                # What an earlier runner has left takes the room that is measured below.
                scratch.clear_dead(place)
                made.append(scratch.make_in(place))
                # The name becomes a part of Ghostscript's OutputFile, where a % would be a format.
                if _PLAIN.fullmatch(made[-1]) is None:
                    raise OSError("a folder with an odd name")
            # The end of the pipe is not kept on purpose: it stays open until the runner ends.
            localworkspace.guard(*made)
        except OSError:
            for path in made:
                scratch.remove(path)
            return None
        small, large = made
        return RasterOutput(
            self._request.device,
            self._request.bits,
            small,
            self._memory_limit(small),
            large,
            self._disk_limit(large),
        )

    def _memory_limit(self, folder: str) -> int:
        # Two limits: what the file system has left, and what the host's memory has left. tmpfs takes
        # both.
        free = min(primitives.free_bytes(folder), int(MEMORY_SHARE * hostfacts.memory("MemAvailable")))
        limit = min(free // (PER_SLOT * self._slots), MAX_IN_MEMORY)
        # 0: nothing goes to memory.
        return limit if limit >= MIN_IN_MEMORY else 0

    def _disk_limit(self, folder: str) -> int:
        """Return the bytes of a raster on disk: for one of each slot, with as much left to others."""
        free = primitives.free_bytes(folder)
        # A /tmp that is a tmpfs is memory as well.
        if scratch.is_in_memory(folder):
            free = min(free, int(MEMORY_SHARE * hostfacts.memory("MemAvailable")))
        # FILE_TO_MEMORY: the same limit that RLIMIT_FSIZE sets (processlimits.py).
        return min(free // (2 * self._slots), limits.FILE_TO_MEMORY * self._page_memory)
