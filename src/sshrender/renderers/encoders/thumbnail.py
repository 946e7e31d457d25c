"""Makes thumbnails, small PNG files, of rasters.

Each pixel is the mean of four pixels of the raster: two in two rows. All pixels of a thumbnail are added
at a time, as bytes of one long integer; so that none overflows, each is divided by four before.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import zlib
from typing import List, Optional, Tuple

from sshrender.renderers.encoders import deflate, isal, png
from sshrender.renderers.encoders.raster import Raster
from sshrender.renderers.encoders.rows import ReadRows

MAX_KEPT = 1 << 21
"""Bytes of rows that are kept for the next page: A4 at 300 dpi has 1.6 MB. New memory took a seventh of
a thumbnail's time."""

# 63 and not 64: four quarters of white add up to 252, which fits into a byte.
_QUARTERS = bytes(value * 63 // 255 for value in range(256))
_WHOLE = bytes(min(255, value * 255 // 252) for value in range(256))
_WHITE_OF_EIGHT = bytes(63 - 63 * bin(value).count("1") // 8 for value in range(256))
"""The means of eight pixels of a bitmap, where 1 is black, divided by four."""


class ThumbnailMaker:
    """Makes the thumbnails of one slot, one after another. Not for two threads at once."""

    def __init__(self, stream: Optional[isal.Isal] = None) -> None:
        self._isal = stream
        # Rows that were read, the upper and the lower one of each pair.
        self._kept = bytearray(), bytearray()

    def make(self, read: ReadRows, raster: Raster, longest: int) -> bytes:
        """Return a PNG file of at most ``longest`` pixels a side."""
        # Rounded up, so that no side is longer than ``longest``.
        step = -(-max(raster.width, raster.height) // longest)
        across = step
        if raster.bits == 1:
            across = -(-step // 8)  # in bytes of eight pixels
            # Square steps: as many rows as pixels.
            step = 8 * across
        columns = raster.row_bytes // raster.channels
        # A raster that is narrower or lower than a step gives one pixel.
        across, step = min(across, columns), min(step, raster.height)
        width, height = columns // across, raster.height // step
        every = across * raster.channels
        blobs = self._rows(read, raster, step, height, width * every)
        end = height * width * every
        table = _WHITE_OF_EIGHT if raster.bits == 1 else _QUARTERS
        samples = [
            [
                # A slice with a step takes one sample of each pixel of the thumbnail, for all of them at
                # once.
                blob[column * raster.channels + channel : end : every]
                for blob in blobs
                for column in _offsets(across)
            ]
            # The alpha channel is left out.
            for channel in range(min(raster.channels, 3))
        ]
        # Equal channels: a grey thumbnail is a third as large.
        if all(each == samples[0] for each in samples[1:]):
            del samples[1:]
        planes = [_mean(each, table, width * height) for each in samples]
        return self._file(planes, width, height)

    def _rows(
        self, read: ReadRows, raster: Raster, step: int, height: int, length: int
    ) -> Tuple[bytearray, bytearray]:
        """Return the first ``length`` bytes of two rows of every ``step``; more may follow them."""
        stride = raster.row_bytes + raster.padding
        upper, lower = self._buffers(length * height)
        above, below = memoryview(upper), memoryview(lower)
        # What lies between the parts of two rows, read because one call reads one piece of the file.
        between = memoryview(bytearray(stride - length))
        most = max(0, raster.height - 2)
        start, way = raster.offset, stride
        if raster.is_upside_down:
            # The last row comes first; which of both rows is above does not matter.
            start, way = start + most * stride, -stride
        for number in range(height):
            # A pair of rows in the middle of the step, or the last pair.
            at = start + min(number * step + step // 2, most) * way
            first, last = number * length, (number + 1) * length
            if raster.height == 1:
                read([above[first:last]], at)
                below[first:last] = above[first:last]
            else:
                read([above[first:last], between, below[first:last]], at)
        return upper, lower

    def _buffers(self, size: int) -> Tuple[bytearray, bytearray]:
        if size > MAX_KEPT:
            return bytearray(size), bytearray(size)
        if len(self._kept[0]) < size:
            self._kept = bytearray(size), bytearray(size)
        return self._kept

    def _file(self, planes: List[bytes], width: int, height: int) -> bytes:
        channels = len(planes)
        row = width * channels
        pixels = bytearray(row * height)
        for channel, plane in enumerate(planes):
            pixels[channel::channels] = plane
        rows = bytearray(b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row)))
        form = Raster(width, height, channels, 8, 0)
        data = png.chunk(b"IDAT", self._compressed(rows))
        return png.beginning(form, b"") + data + png.chunk(b"IEND", b"")

    def _compressed(self, rows: bytearray) -> bytes:
        block = self._isal and self._isal.deflate(memoryview(rows))
        if not block:
            # Level 1: a thumbnail is small, and its time is the page's.
            return zlib.compress(rows, 1)
        checksum = zlib.adler32(rows).to_bytes(4, "big")
        return b"".join((deflate.BEGINNING, block, deflate.END, checksum))


def _offsets(step: int) -> Tuple[int, int]:
    """Return which two of so many pixels count."""
    return step // 4, step * 3 // 4


def _mean(samples: List[bytearray], table: bytes, size: int) -> bytes:
    # No byte overflows into the next, because every sample was divided by four before.
    total = sum(int.from_bytes(each.translate(table), "little") for each in samples)
    return total.to_bytes(size, "little").translate(_WHOLE)
