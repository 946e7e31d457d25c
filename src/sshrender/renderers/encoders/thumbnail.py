"""Makes a thumbnail, a small PNG file, of a raster.

Each pixel is the mean of four pixels of the raster: two in two rows. All pixels of a thumbnail are added
at a time, as bytes of one long integer; so that none overflows, each is divided by four before.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import zlib
from typing import List, Tuple

from sshrender.renderers.encoders import png
from sshrender.renderers.encoders.raster import Raster
from sshrender.renderers.encoders.rows import ReadInto

# 63 and not 64: four quarters of white add up to 252, which fits into a byte.
_QUARTERS = bytes(value * 63 // 255 for value in range(256))
_WHOLE = bytes(min(255, value * 255 // 252) for value in range(256))
_WHITE_OF_EIGHT = bytes(63 - 63 * bin(value).count("1") // 8 for value in range(256))
"""The means of eight pixels of a bitmap, where 1 is black, divided by four."""


def make(read: ReadInto, raster: Raster, longest: int) -> bytes:
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
    blobs = _rows(read, raster, step, height, width * every)
    size = width * height
    table = _WHITE_OF_EIGHT if raster.bits == 1 else _QUARTERS
    samples = [
        [
            # A slice with a step takes one sample of each pixel of the thumbnail, for all of them at
            # once.
            blob[column * raster.channels + channel :: every]
            for blob in blobs
            for column in _offsets(across)
        ]
        # The alpha channel is left out.
        for channel in range(min(raster.channels, 3))
    ]
    # Equal channels: a grey thumbnail is a third as large.
    if all(each == samples[0] for each in samples[1:]):
        del samples[1:]
    planes = [_mean(each, table, size) for each in samples]
    return _file(planes, width, height)


def _offsets(step: int) -> Tuple[int, int]:
    """Return which two of so many pixels count."""
    return step // 4, step * 3 // 4


def _rows(
    read: ReadInto, raster: Raster, step: int, height: int, length: int
) -> Tuple[bytearray, bytearray]:
    """Return the first ``length`` bytes of two rows of every ``step``, which are read at once."""
    stride = raster.row_bytes + raster.padding
    pair = memoryview(bytearray(stride + length))
    upper, lower = bytearray(length * height), bytearray(length * height)
    for number in range(height):
        # A pair of rows in the middle of the step, or the last pair.
        first = min(number * step + step // 2, max(0, raster.height - 2))
        if raster.is_upside_down:
            # In the order of the file, in which the last row comes first; which of both rows is above
            # does not matter.
            first = max(0, raster.height - 2 - first)
        start, at = raster.offset + first * stride, number * length
        if raster.height == 1:
            read(pair[:length], start)
            lower[at : at + length] = pair[:length]
        else:
            read(pair, start)
            lower[at : at + length] = pair[stride:]
        upper[at : at + length] = pair[:length]
    return upper, lower


def _mean(samples: List[bytearray], table: bytes, size: int) -> bytes:
    # No byte overflows into the next, because every sample was divided by four before.
    total = sum(int.from_bytes(each.translate(table), "little") for each in samples)
    return total.to_bytes(size, "little").translate(_WHOLE)


def _file(planes: List[bytes], width: int, height: int) -> bytes:
    channels = len(planes)
    pixels = bytearray(width * height * channels)
    for channel, plane in enumerate(planes):
        pixels[channel::channels] = plane
    row = width * channels
    rows = b"".join(b"\0" + bytes(pixels[at : at + row]) for at in range(0, len(pixels), row))
    form = Raster(width, height, channels, 8, 0)
    # Level 1: a thumbnail is small, and its time is the page's.
    data = png.chunk(b"IDAT", zlib.compress(rows, 1))
    return png.beginning(form, b"") + data + png.chunk(b"IEND", b"")
