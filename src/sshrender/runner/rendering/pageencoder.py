"""Encodes the raster of a page: reads it on this host and writes the page's PNG file.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from typing import Callable, Iterator, List, Optional, Sequence

from sshrender.renderers.encoders import deflate, difference, isal, png, thumbnail
from sshrender.renderers.encoders import raster as rasters
from sshrender.renderers.encoders.raster import Raster
from sshrender.renderers.encoders.rows import ReadInto, ReadRows, RowEncoder, Span
from sshrender.renderers.ghostscript import THUMBNAIL
from sshrender.runner import wire
from sshrender.runner.rendering import stripes
from sshrender.runner.rendering.rendererinterface import RasterFile
from sshrender.storage import primitives

STRIPED_FROM = 64 << 20
"""Bytes of raster from which on a page is encoded in stripes: A4 at 300 dpi has 26 MB."""

CHUNK = 1 << 20
"""Bytes of image data that are collected for one chunk of the file."""


class EncodingFailed(Exception):
    """The raster is not one, or not whole: the page must be rendered again. ``kind``: as in wire.py."""

    kind = wire.CRASHED


class EncodingStopped(EncodingFailed):
    """The page was cancelled, or took too long."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


Check = Callable[[], None]
"""Called for every band of rows, from each thread that encodes; raises EncodingStopped to end it."""


class PageEncoder:
    """Encodes the rasters of one slot, one after another."""

    def __init__(self, helpers: Optional[stripes.Helpers] = None) -> None:
        self._helpers = helpers
        # Made by the thread that uses them.
        self._rows: Optional[RowEncoder] = None
        self._thumbnails: Optional[thumbnail.ThumbnailMaker] = None

    def encode(self, raster: RasterFile, path: str, check: Optional[Check] = None) -> bytes:
        """Write the PNG file of a raster, and remove the raster. Return its thumbnail, if one is wanted.

        Raises EncodingFailed, and OSError if the file cannot be written. No file is left then.
        """
        try:
            descriptor = os.open(raster.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise EncodingFailed("its raster cannot be read: %s" % error.strerror) from None
        try:
            # Before the page's file is made: a raster that is cut off leaves no file.
            form = form_of(descriptor)
            # 0o666: the umask decides, as for a file that Ghostscript writes.
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            try:
                self._write(target, form, raster.chunks, _rows_reader(descriptor, check))
            except BaseException:
                # The error that is raised matters more.
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
            finally:
                os.close(target)
            return self._thumbnail(descriptor, form) if raster.has_thumbnail else b""
        finally:
            os.close(descriptor)
            # After the thumbnail, which reads it.
            discard(raster)

    def _thumbnail(self, descriptor: int, form: Raster) -> bytes:
        """Return the thumbnail of a page whose file is written; empty if none can be made."""
        try:
            if self._thumbnails is None:
                self._thumbnails = thumbnail.ThumbnailMaker(isal.load())
            return self._thumbnails.make(_rows_reader(descriptor), form, THUMBNAIL)
        except Exception:  # noqa: BLE001 - the page must not fail with its thumbnail, whatever that meets
            return b""

    def _write(self, target: int, form: Raster, chunks: bytes, read: ReadRows) -> None:
        written = [png.beginning(form, chunks)]
        data, size = [deflate.BEGINNING], 0
        # 1: the Adler-32 of no bytes (RFC 1950).
        checksum = 1
        for stripe in self._stripes(form, read):
            data.append(stripe.data)
            size += len(stripe.data)
            # Stripes have sums of their own; combining them needs only their lengths.
            checksum = deflate.combined(checksum, stripe.checksum, stripe.length)
            if size >= CHUNK:
                written.append(png.chunk(b"IDAT", b"".join(data)))
                primitives.write_all(target, b"".join(written))
                written, data, size = [], [], 0
        # The last block of deflate, and the checksum in network order.
        data += [deflate.END, checksum.to_bytes(4, "big")]
        written += [png.chunk(b"IDAT", b"".join(data)), png.chunk(b"IEND", b"")]
        primitives.write_all(target, b"".join(written))

    def _stripes(self, form: Raster, read: ReadRows) -> Iterator[stripes.Stripe]:
        if self._rows is None:
            self._rows = row_encoder()
        encode = functools.partial(_encode, self._rows, form, read)
        # A small page is one stripe, in this thread.
        if form.size < STRIPED_FROM:
            yield encode(Span(0, form.height))
            return
        shared = stripes.Stripes(_spans(form))
        threads: List[threading.Thread] = []
        try:
            if self._helpers is not None:
                # Each helper makes an encoder of its own, because encoders are not for two threads.
                threads = self._helpers.start(
                    shared, lambda: functools.partial(_encode, row_encoder(), form, read)
                )
            yield from shared.in_order(encode)
        finally:
            # Also after an error, so that no helper continues with a raster that is removed below.
            shared.end()
            for each in threads:
                each.join()


def row_encoder() -> RowEncoder:
    """Return an encoder by the fastest means of this host."""
    return RowEncoder(
        deflate.Deflater(isal.load()), difference.with_libgmp() or difference.with_integers()
    )


def form_of(descriptor: int) -> Raster:
    """Return the form of an open raster. Raises EncodingFailed if it is none, or not whole."""
    try:
        # pread() leaves the position of the descriptor alone, which several threads share.
        form = rasters.parse(os.pread(descriptor, rasters.MAX_HEADER, 0))
    except ValueError as error:
        raise EncodingFailed(str(error)) from None
    # Ghostscript reports no full disk: only the size shows that a raster is cut off.
    if os.fstat(descriptor).st_size != form.size:
        raise EncodingFailed("its raster is cut off")
    return form


def discard(raster: RasterFile) -> None:
    """Remove a raster. What cannot be removed goes with the folder, when the runner ends."""
    with contextlib.suppress(OSError):
        os.unlink(raster.path)


def _spans(form: Raster) -> List[Span]:
    rows = max(1, stripes.STRIPE // form.row_bytes)
    return [Span(first, min(first + rows, form.height)) for first in range(0, form.height, rows)]


def _encode(rows: RowEncoder, form: Raster, read: ReadRows, span: Span) -> stripes.Stripe:
    data = b"".join(rows.encode(read, form, span))
    # Each row has one byte more than in the raster: the type of its filter.
    return stripes.Stripe(data, rows.checksum.value, span.rows * (form.row_bytes + 1))


def _rows_reader(descriptor: int, check: Optional[Check] = None) -> ReadRows:
    read_one = _reader(descriptor)

    def read(targets: Sequence[memoryview], offset: int) -> None:
        # Here, as every thread reads a band at a time: some milliseconds of work.
        if check is not None:
            check()
        if os.preadv(descriptor, targets, offset) != sum(map(len, targets)):
            # The file ends, or a signal came: target by target, until all is read.
            for target in targets:
                read_one(target, offset)
                offset += len(target)

    return read


def _reader(descriptor: int) -> ReadInto:
    def read(target: memoryview, offset: int) -> None:
        while target:
            # preadv() may read less than was asked for.
            count = os.preadv(descriptor, [target], offset)
            if count == 0:
                raise EncodingFailed("its raster is cut off")
            target, offset = target[count:], offset + count

    return read
