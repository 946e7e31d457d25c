"""The folder of this host, in memory, for rasters on their way from a renderer to the encoder.

It belongs to the runner and not to a renderer, whose last rasters are encoded after its end.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Optional

from sshrender.renderers.ghostscript import Setup
from sshrender.runner import scratch
from sshrender.storage import primitives

MEMORY = "/dev/shm"
"""Debian mounts a tmpfs of half the memory there, which every user can write to."""

MAX_RASTER = 128 << 20
"""Bytes of a raster: a page of A4 has 26 MB at 300 dpi, and 104 MB at 600 dpi. A larger page is written
by the renderer itself."""

SHARE = 16
"""A raster may take this part of what is free there: a slot has five at most (finalizer.py), and a host
several slots."""


class RasterFolder:
    """The folder of one slot, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: Optional[str] = None

    def apply(self, setup: Setup) -> Setup:
        """Return the settings of a renderer that writes rasters there, if there is room for one."""
        with self._lock:
            if self._path is None:
                self._path = ""
                with contextlib.suppress(OSError):
                    self._path = scratch.make_in(MEMORY)
        return setup._replace(rasters=self._path, max_raster=_max_raster(self._path))


def _max_raster(folder: str) -> int:
    try:
        return min(MAX_RASTER, primitives.free_bytes(folder) // SHARE) if folder else 0
    except OSError:
        return 0


def raster_path(setup: Setup, written: str) -> str:
    """Return the path of the raster of a page. ``written``: the name of the page's file."""
    return "%s/%s.1" % (setup.rasters, os.path.basename(written))
