"""Turns rows of a raster into compressed rows of a PNG file, band by band.

Every row is filtered by Up. Rows that equal the row above, of which white paper consists, become zeros:
their blocks are prepared once (deflate.py), and their pixels are only compared.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import Callable, Iterator, List, NamedTuple, Tuple

from sshrender.renderers.encoders import deflate
from sshrender.renderers.encoders.difference import Difference
from sshrender.renderers.encoders.raster import Raster

BAND = 1 << 18
"""Bytes of raster that are worked on at a time, so that they stay in the processor's cache."""

MIN_REPEATED = 8
"""Rows that must be equal to become a prepared block: each interrupts the blocks around it, which costs
about 100 bytes."""

MIN_SAMPLE, SAMPLED, PLACES = 3 << 15, 64, 3
"""The rows by which the way to compress a page is chosen: at least so many bytes, one row of so many,
in so many places."""

ReadInto = Callable[["memoryview", int], None]
"""``read(target, offset)`` fills the target from the file. Raises where the file ends before."""

_INVERTED = bytes(255 - byte for byte in range(256))


class Span(NamedTuple):
    """Rows of a raster: from ``first`` up to, without, ``last``."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.last - self.first


class RowEncoder:
    """Encodes spans of rows, one after another. Not for two threads at once."""

    def __init__(self, deflater: deflate.Deflater, difference: Difference) -> None:
        self._deflater = deflater
        self._difference = difference
        self._rows = bytearray()
        self._lines = bytearray()
        self._row_bytes = 0
        self.checksum = deflate.Checksum()

    def encode(self, read: ReadInto, raster: Raster, span: Span) -> Iterator[bytes]:
        """Yield the blocks of these rows; afterwards ``checksum`` is theirs."""
        # A new sum for each span: those of several spans are combined afterwards (deflate.combined).
        self.checksum = deflate.Checksum()
        row = raster.row_bytes
        # One row at least, however long it is.
        count = max(1, min(BAND // row, span.rows))
        self._reserve(row, count)
        # Before the rows are read for good, because the sample uses the same memory.
        self._deflater.choose(self._sample(read, raster, span))
        # The row above the first one; that of the first row of the page is all zeros (9.2).
        self._rows[:row] = bytes(row)
        if span.first > 0:
            self._read(read, raster, 0, Span(span.first - 1, span.first))
        # Rows that equal the row above and are not written yet; a run may go over the end of a band.
        waiting = 0
        for first in range(span.first, span.last, count):
            band = Span(first, min(first + count, span.last))
            self._read(read, raster, 1, band)
            for is_repeated, start, end in self._runs(band.rows):
                if is_repeated:
                    waiting += end - start
                    continue
                yield from self._repeated(waiting)
                waiting = 0
                yield self._different(start, end)
            # The last row of the band is the row above of the next one.
            self._rows[:row] = self._rows[band.rows * row : (band.rows + 1) * row]
        yield from self._repeated(waiting)
        yield self._deflater.flush()

    def _reserve(self, row: int, count: int) -> None:
        if row != self._row_bytes or len(self._lines) < count * (row + 1):
            self._row_bytes = row
            self._rows = bytearray((count + 1) * row)
            self._lines = bytearray(count * (row + 1))
            # Each line begins with the type of its filter, which stays when rows are written behind it.
            self._lines[:: row + 1] = bytes([deflate.UP]) * count

    def _read(self, read: ReadInto, raster: Raster, at: int, span: Span) -> None:
        """Read rows of the raster to a place in our rows, as PNG has them."""
        row = raster.row_bytes
        target = memoryview(self._rows)[at * row : (at + span.rows) * row]
        if raster.padding or raster.is_upside_down:
            _read_bitmap(read, raster, span, target)
        else:
            read(target, raster.offset + span.first * row)
        # After the copy, so the file is read once, in its own form.
        if raster.bits == 1:
            target[:] = bytes(target).translate(_INVERTED)  # PBM: 1 is black; PNG: 0 is

    def _runs(self, count: int) -> List[Tuple[bool, int, int]]:
        """Return runs of rows: whether they equal the row above, the first, and the one after the last.

        Short runs of equal rows count as different ones. Row 0 is the first after the row above.
        """
        rows, row = self._rows, self._row_bytes
        view = memoryview(rows)
        found: List[Tuple[bool, int, int]] = []
        start = 0
        is_repeated = False
        for number in range(count):
            at = (number + 1) * row
            # Compares in place: slices of a bytearray would be copies.
            is_same = rows.startswith(view[at - row : at], at)
            if is_same != is_repeated:
                _append(found, is_repeated, start, number, is_last=False)
                start, is_repeated = number, is_same
        _append(found, is_repeated, start, count, is_last=True)
        return found

    def _sample(self, read: ReadInto, raster: Raster, span: Span) -> bytearray:
        """Return some different rows of several places, as they are compressed."""
        found = bytearray()
        wanted = max(MIN_SAMPLE, span.rows * self._row_bytes // SAMPLED)
        for place in range(PLACES):
            # From row 1 on, because a row above is read as well.
            first = max(1, span.first + span.rows * (2 * place + 1) // (2 * PLACES))
            most = min(wanted // PLACES, len(self._lines)) // self._row_bytes
            band = Span(first, min(first + max(1, most), span.last))
            if band.rows > 0:
                # The row above comes first, at place 0, as in encode().
                self._read(read, raster, 0, Span(first - 1, band.last))
                for is_repeated, start, end in self._runs(band.rows):
                    if not is_repeated:
                        found += memoryview(self._lines)[: self._filter(start, end)]
        return found

    def _filter(self, start: int, end: int) -> int:
        """Filter rows into the lines. Return how many bytes these are."""
        row, lines = self._row_bytes, self._lines
        size = (end - start) * row
        found = memoryview(self._difference(self._rows, (start + 1) * row, size, row))
        target = memoryview(lines)
        # Byte 0 of each line is the type of the filter (_reserve).
        at = 1
        for source in range(0, size, row):
            target[at : at + row] = found[source : source + row]
            at += row + 1
        return (end - start) * (row + 1)

    def _different(self, start: int, end: int) -> bytes:
        size = self._filter(start, end)
        self.checksum.add(memoryview(self._lines)[:size])
        return self._deflater.rows(self._lines, size)

    def _repeated(self, count: int) -> Iterator[bytes]:
        length = self._row_bytes + 1
        # A few equal rows among different ones: they are compressed with their neighbours.
        if 0 < count < MIN_REPEATED and len(self._lines) >= count * length:
            for at in range(0, count * length, length):
                # What earlier rows have left there becomes zeros.
                self._lines[at + 1 : at + length] = bytes(length - 1)
            self.checksum.add(memoryview(self._lines)[: count * length])
            yield self._deflater.rows(self._lines, count * length)
        # Many equal rows, or a run without room in the lines.
        elif count:
            self.checksum.add_repeated(count, length)
            yield from self._deflater.repeated(count, length)


def _read_bitmap(read: ReadInto, raster: Raster, span: Span, target: memoryview) -> None:
    """Read rows that are padded or in the other order."""
    row, stride = raster.row_bytes, raster.row_bytes + raster.padding
    # From the bottom up: the last rows of the span come first in the file.
    first = raster.height - span.last if raster.is_upside_down else span.first
    found = memoryview(bytearray(span.rows * stride))
    read(found, raster.offset + first * stride)
    for number in range(span.rows):
        source = (span.rows - 1 - number if raster.is_upside_down else number) * stride
        target[number * row : (number + 1) * row] = found[source : source + row]


def _append(
    found: List[Tuple[bool, int, int]], is_repeated: bool, start: int, end: int, *, is_last: bool
) -> None:
    """Add a run. A short one of equal rows joins the different ones before it."""
    if start == end:
        return
    # Runs at both ends of a band may go on in the next one, so they count as long.
    is_long = end - start >= MIN_REPEATED or (is_last or start == 0)
    is_repeated = is_repeated and is_long
    if found and found[-1][0] == is_repeated:
        # The run before is of the same kind now, and becomes longer.
        start = found.pop()[1]
    found.append((is_repeated, start, end))
