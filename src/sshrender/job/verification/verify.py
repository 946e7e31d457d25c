"""Verify one page's file: the bytes that the host reported, whole, and of the page's dimensions."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sshrender.job.verification import documents, jpeg, layered, pixmaps, png, pnm, tiff
from sshrender.job.verification.errors import Unreadable, VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size
from sshrender.renderers.devices import Device

TOLERANCE = 1.0
"""Most pixels by which a side may differ from page box times dpi: Ghostscript rounds each side, and
rounds down if the device makes the image smaller."""

MAX_SIDE = 1 << 20
"""Pixels: more than any renderer makes (200 inches, the largest page of a PDF, at 5,000 dpi)."""

MAX_UNSIZED = 1 << 30
"""Most pixels of an image if the page's size is unknown: A0 at 700 dpi."""

MAX_BYTES_A_PIXEL = 24
"""A plain PPM of 16 bits takes 18; incompressible data take more than their pixels in run lengths."""

_Measure = Callable[[PageFile, Accept], Size]
_MEASURES: dict[str, _Measure] = {
    "png": png.measure,
    "jpeg": jpeg.measure,
    "tiff": tiff.measure,
    "bmp": pixmaps.measure_bmp,
    "pnm": pnm.measure,
    "pcx": pixmaps.measure_pcx,
    "psd": layered.measure_psd,
    "xcf": layered.measure_xcf,
    "miff": pixmaps.measure_miff,
    "pdf": documents.measure_pdf,
    "text": documents.measure_text,
    "xml": documents.measure_xml,
    "any": documents.measure_any,
}
_WITHOUT_PIXELS = frozenset(("pdf", "text", "xml", "any"))

_FAX_WIDTHS = ((1680, 1736, 1728), (2000, 2056, 2048))
"""Widths from and to which a fax device makes a third one (gdevfax.c; measured with 10.00)."""


class Expected(NamedTuple):
    """The expected properties of the file.

    ``box`` is the page's (width, height) in points, None if unknown. ``bytes`` and ``sha256`` are the
    host's report; None for a file found after a crash. ``is_sized``: whether the image's size follows
    from the page's, as with Ghostscript. ``vertical_dpi`` 0: as ``dpi``. ``fixed_size``: pixels into
    which every page is fitted, whatever its box; without ``is_sized`` an upper bound. ``downscale``: the
    factor by which the device makes the image smaller. ``adjust_width``: the parameter AdjustWidth of
    fax devices; 0 for all others.
    """

    device: Device
    dpi: float
    box: tuple[float, float] | None
    bytes: int | None = None
    sha256: str | None = None
    is_sized: bool = True
    vertical_dpi: float = 0
    fixed_size: tuple[int, int] | None = None
    downscale: int = 1
    adjust_width: int = 0


class PageImage(NamedTuple):
    """A verified page image. Dimensions in pixels."""

    bytes: int
    sha256: str
    width: int
    height: int


def verify(path: Path, expected: Expected, limit: int | None = None) -> PageImage:
    """Verify a file in this process.

    Raises VerificationFailed, FileNotFoundError (not visible yet) or another OSError (the storage).
    """
    descriptor = open_page(path)
    try:
        return verify_open(descriptor, require_size(descriptor, expected, limit), expected)
    finally:
        os.close(descriptor)


def open_page(path: Path) -> int:
    """Return a descriptor of a regular file: a link is not followed, and a FIFO is not waited for.

    Raises VerificationFailed for anything else: a host may have put it there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):  # a symbolic link, a socket
            raise VerificationFailed("not a regular file") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Unreadable("its file may not be read from here") from None
        if error.errno == errno.EAGAIN:
            # Its owner holds a lease on it (fcntl(2), F_SETLEASE), which this open begins to break.
            raise FileNotFoundError(errno.ENOENT, "held by a lease", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VerificationFailed("not a regular file")
    return descriptor


def require_size(descriptor: int, expected: Expected, limit: int | None = None) -> int:
    """Return the size of an open file, if it may be this page's. ``limit``: most bytes of a file."""
    size = os.fstat(descriptor).st_size
    require(size > 0, "an empty file")
    if expected.bytes is not None:
        require(size == expected.bytes, "its size differs from the host's report")
    require(size <= max_bytes(expected, limit), f"{size} bytes are more than a page of this size has")
    return size


def max_bytes(expected: Expected, limit: int | None = None) -> int:
    """Return the largest size that is read: a host may write it, and the page's pixels can need it."""
    bounds = [limit] if limit is not None else []
    if (size := pixels(expected)) is not None and expected.is_sized:
        # Two pixels more in each direction than computed, for rounding.
        width, height = (min(side, MAX_SIDE) + 2 for side in size)
        # 256 bytes for each row: filter types, padding and run lengths; 4 MiB: headers, profiles and
        # texts.
        bounds.append(int(width * height) * MAX_BYTES_A_PIXEL + int(height) * 256 + (4 << 20))
    return min(bounds, default=1 << 62)


def verify_open(descriptor: int, size: int, expected: Expected) -> PageImage:
    """Verify an open file of this size. Raises VerificationFailed or OSError."""
    return _verify(PageFile(descriptor, size), expected)


def verify_bytes(data: bytes, expected: Expected) -> PageImage:
    """Verify bytes that were read."""
    return _verify(PageFile.in_memory(data), expected)


def _verify(file: PageFile, expected: Expected) -> PageImage:
    hasher = hashlib.sha256()
    # The digest first: a file that differs from the host's report need not be parsed.
    for block in file.blocks():
        hasher.update(block)
    digest = hasher.hexdigest()
    if expected.sha256 is not None:
        require(digest == expected.sha256, "its content differs from the host's report")
    width, height = _measure(file, expected)
    return PageImage(file.size, digest, width, height)


def pixels(expected: Expected) -> tuple[float, float] | None:
    """Return the page's width and height in pixels, unrounded; None if they are not known."""
    shrink = expected.device.shrink * expected.downscale
    if expected.fixed_size is not None:
        return expected.fixed_size[0] / shrink, expected.fixed_size[1] / shrink
    if expected.box is None:
        return None
    width, height = expected.box
    scale = 1 / 72 / shrink
    return width * expected.dpi * scale, height * (expected.vertical_dpi or expected.dpi) * scale


def _measure(file: PageFile, expected: Expected) -> Size:
    if expected.device.format == "raw":
        return _measure_raw(file, expected)
    # Called as soon as the dimensions are known, and once more with what was measured.
    size = _MEASURES[expected.device.format](file, lambda found: _accept(found, expected))
    if expected.device.format not in _WITHOUT_PIXELS:
        _accept(size, expected)
    return size


def _accept(size: Size, expected: Expected) -> None:
    """Raise VerificationFailed if these cannot be the page's dimensions."""
    require(min(size) > 0, "a page image without pixels")
    require(max(size) <= MAX_SIDE, "a page image of too many pixels")
    wanted = pixels(expected)
    if not expected.is_sized:
        # Without a known size only the number of pixels is limited.
        require(size[0] * size[1] <= MAX_UNSIZED, "a page image of too many pixels")
        if expected.fixed_size is not None:
            bounds = zip(size, expected.fixed_size, strict=True)
            require(all(found <= most + TOLERANCE for found, most in bounds), "larger than --size")
        return
    if wanted is None:
        return
    # Width and height are compared apart: fax devices change the width alone.
    if not (_is_near(size[1], wanted[1]) and _has_width(size[0], wanted[0], expected.adjust_width)):
        raise VerificationFailed(
            f"{size[0]} x {size[1]} pixels where the page has {wanted[0]:.0f} x {wanted[1]:.0f}"
        )


def _is_near(found: int, side: float) -> bool:
    # A side of less than a pixel still gives one.
    return abs(found - side) <= TOLERANCE or (side < 1 and found == 1)


def _has_width(found: int, width: float, adjust_width: int) -> bool:
    """Return whether a page of this width has so many pixels in a row, as fax devices adjust them.

    Ghostscript's fax_adjusted_width (gdevfax.c): 1 stands for the widths of A4 and B4 at 204 dpi, and a
    larger number for itself.
    """
    if adjust_width > 1:
        return found == adjust_width
    near = range(int(width) - 1, int(width) + 3)
    adjusted = {most for low, high, most in _FAX_WIDTHS if any(low <= each <= high for each in near)}
    return _is_near(found, width) or (adjust_width == 1 and found in adjusted)


def _measure_raw(file: PageFile, expected: Expected) -> Size:
    """Check raw rows by their number of bytes alone: they have no header."""
    if (size := pixels(expected)) is None:
        raise VerificationFailed("a raw image, and the page's size is unknown")
    width, height = (round(min(side, MAX_SIDE)) for side in size)
    # The rounded width first, then one less and one more, as Ghostscript rounds.
    for across in (width, width - 1, width + 1):
        row = (across * expected.device.bits + 7) // 8
        if row and file.size % row == 0 and abs(file.size // row - height) <= TOLERANCE:
            return across, file.size // row
    raise VerificationFailed("its number of bytes does not fit a page of this size")
