"""Prove one page's file: the bytes that the host reported, whole, and of the page's dimensions."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sshrender.job.verification import documents, jpeg, pixmaps, png, tiff
from sshrender.job.verification.buffer import Buffer, Size, blocks, read
from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.renderers.devices import Device

TOLERANCE = 1.0
"""Pixels by which a side may differ from page box times dpi: Ghostscript rounds each side."""

_MEASURES: dict[str, Callable[[Buffer], Size]] = {
    "png": png.measure,
    "jpeg": jpeg.measure,
    "tiff": tiff.measure,
    "bmp": pixmaps.measure_bmp,
    "pnm": pixmaps.measure_pnm,
    "pcx": pixmaps.measure_pcx,
    "psd": pixmaps.measure_psd,
    "xcf": pixmaps.measure_xcf,
    "miff": pixmaps.measure_miff,
    "pdf": documents.measure_pdf,
    "text": documents.measure_text,
    "xml": documents.measure_xml,
    "any": documents.measure_any,
}
_WITHOUT_PIXELS = frozenset(("pdf", "text", "xml", "any"))


@dataclass(frozen=True, slots=True)
class Expected:
    """What the file must be. ``box`` is the page's (width, height) in points, None where unknown.

    ``bytes`` and ``sha256`` are the host's report; None for a file found after a crash. ``is_sized``:
    whether the page's size tells that of its picture, as it does where Ghostscript draws it.
    """

    device: Device
    dpi: float
    box: tuple[float, float] | None
    bytes: int | None = None
    sha256: str | None = None
    is_sized: bool = True


@dataclass(frozen=True, slots=True)
class PageImage:
    """What was proved. Dimensions in pixels."""

    bytes: int
    sha256: str
    width: int
    height: int


def verify(path: Path, expected: Expected) -> PageImage:
    """Raises VerificationFailed, FileNotFoundError (not visible yet) or another OSError (the storage)."""
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        require(stat.S_ISREG(status.st_mode), "not a regular file")
        require(status.st_size > 0, "an empty file")
        if expected.bytes is not None:
            require(status.st_size == expected.bytes, "another size than the host reported")
        return verify_bytes(read(descriptor, status.st_size), expected)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """A host may have put anything there: a link is not followed, and a FIFO is not waited for."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a socket
            raise VerificationFailed("not a regular file") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise VerificationFailed("it may not be read from here") from None
        raise


def verify_bytes(data: Buffer, expected: Expected) -> PageImage:
    """The same for bytes that were read."""
    hasher = hashlib.sha256()
    for block in blocks(data):
        hasher.update(block)
    digest = hasher.hexdigest()
    if expected.sha256 is not None:
        require(digest == expected.sha256, "another content than the host reported")
    width, height = _measure(data, expected)
    return PageImage(len(data), digest, width, height)


def pixels(points: float, expected: Expected) -> float:
    """A side of the page in pixels, unrounded."""
    return points * expected.dpi / 72 / expected.device.shrink


def _measure(data: Buffer, expected: Expected) -> Size:
    if expected.device.format == "raw":
        return _measure_raw(data, expected)
    size = _MEASURES[expected.device.format](data)
    if expected.device.format in _WITHOUT_PIXELS:
        return size
    require(min(size) > 0, "a picture without pixels")
    if expected.box is not None and expected.is_sized:
        wanted = tuple(pixels(side, expected) for side in expected.box)
        near = all(
            abs(found - side) <= TOLERANCE or (side < 1 and found == 1)
            for found, side in zip(size, wanted, strict=True)
        )
        if not near:
            raise VerificationFailed(
                f"{size[0]} x {size[1]} pixels where the page has {wanted[0]:.0f} x {wanted[1]:.0f}"
            )
    return size


def _measure_raw(data: Buffer, expected: Expected) -> Size:
    """Raw rows say nothing of themselves: only their number of bytes can be held to the page's size."""
    if expected.box is None:
        raise VerificationFailed("a raw picture of a page of unknown size")
    width, height = (round(pixels(side, expected)) for side in expected.box)
    for across in (width, width - 1, width + 1):
        row = (across * expected.device.bits + 7) // 8
        if row and len(data) % row == 0 and abs(len(data) // row - height) <= TOLERANCE:
            return across, len(data) // row
    raise VerificationFailed("another number of bytes than a page of this size has")
