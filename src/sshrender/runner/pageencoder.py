"""Encodes the raster of a page: reads it on this host and writes the page's PNG file.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import BinaryIO

from sshrender.renderers.encoders import png
from sshrender.renderers.encoders import raster as rasters
from sshrender.runner.rendererinterface import RasterFile


class EncodingFailed(Exception):
    """The raster is not one, or not whole: the page must be rendered again."""


class PageEncoder:
    """Encodes the rasters of one slot, one after another."""

    def encode(self, raster: RasterFile, path: str) -> None:
        """Write the PNG file of a raster, and remove the raster.

        Raises EncodingFailed, and OSError where the file cannot be written.
        """
        try:
            with self._open(raster) as file:
                form = self._form(file.fileno())
                file.seek(form.offset)
                rows = b"".join(b"\0" + file.read(form.row_bytes) for _ in range(form.height))
        finally:
            discard(raster)
        with open(path, "wb") as output:
            output.write(png.beginning(form, raster.chunks))
            output.write(png.chunk(b"IDAT", zlib.compress(rows, 1)))
            output.write(png.chunk(b"IEND", b""))

    def _open(self, raster: RasterFile) -> BinaryIO:
        try:
            return open(raster.path, "rb")
        except OSError as error:
            raise EncodingFailed("its raster cannot be read: %s" % error.strerror) from None

    def _form(self, descriptor: int) -> rasters.Raster:
        try:
            form = rasters.parse(os.pread(descriptor, rasters.MAX_HEADER, 0))
        except ValueError as error:
            raise EncodingFailed(str(error)) from None
        if os.fstat(descriptor).st_size != form.size:
            raise EncodingFailed("its raster is cut off")
        return form


def discard(raster: RasterFile) -> None:
    """Remove a raster. What cannot be removed goes with the folder, when the runner ends."""
    with contextlib.suppress(OSError):
        os.unlink(raster.path)
