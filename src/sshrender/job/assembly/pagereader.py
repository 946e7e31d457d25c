"""Open a page for an assembled file, if its file is still the one that was verified."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sshrender.job.output import publish
from sshrender.storage.files import open_plain

# The files were verified to be pages, and a page may be as large as a memory limit allows: Pillow's
# guard against images that grow when they are opened would stop at a tenth of a page of A0.
Image.MAX_IMAGE_PIXELS = None

_NO_FILE = frozenset((errno.ENOENT, errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM))
"""Errors of open_plain if something else has a page's name."""


class AssemblyFailed(Exception):
    """A page cannot be put into the file; the text says why."""


class PageChanged(AssemblyFailed):
    """A page's file is not the one that was verified; the job's next run renders it again."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page's file as it was verified, its size in pixels, and the resolutions of both."""

    path: Path
    width: int
    height: int
    dpi: tuple[float, float]
    bytes: int
    sha256: str

    @contextlib.contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """Open the page's file. Raises PageChanged, AssemblyFailed, or OSError: the storage.

        Whatever decoding it raises is the page's fault: Pillow raises an OSError without a number too.
        """
        with self._opened() as file:
            # Before it is used: a changed page would be in the file.
            before = self._require_unchanged(file)
            try:
                yield file
            # These are not the page's fault.
            except (AssemblyFailed, KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except MemoryError:
                raise AssemblyFailed(f"{self.path.name}: not enough memory to decode it") from None
            except Exception as error:
                # With a number it is the storage's.
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                what = str(error) or type(error).__name__
                raise AssemblyFailed(f"{self.path.name}: {what}") from error
            # And after it: the page may have been changed while it was read.
            if _identity(file) != before:
                raise self._changed()

    @contextlib.contextmanager
    def picture(self) -> Iterator[Image.Image]:
        """Open the page as an image, not read yet. Raises as ``file`` does."""
        with self.file() as file, Image.open(file) as picture:
            yield picture

    def _opened(self) -> BinaryIO:
        try:
            return open_plain(self.path)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise self._changed() from None
            raise

    def _require_unchanged(self, file: BinaryIO) -> tuple[int, ...]:
        identity = _identity(file)
        if identity[0] != self.bytes or publish.digest(file.fileno(), self.bytes) != self.sha256:
            raise self._changed()
        return identity

    def _changed(self) -> PageChanged:
        return PageChanged(f"{self.path} changed after it was verified")


def _identity(file: BinaryIO) -> tuple[int, ...]:
    """Return values that change with the content; users cannot set the time of change (utimensat(2))."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
