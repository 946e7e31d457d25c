"""Turns rows of a raster into compressed rows of a PNG file, band by band.

Rows that equal the row above, as on white paper, are filtered by Up and become zeros: their blocks are
prepared once (deflate.py), and their pixels are only compared. A sample of the others decides whether
they are filtered by Up or not at all.

Rows are read to where their lines will be, behind a byte of zero, where the difference of a run of lines
gets the types of filter. So several lines are compared at once with those above them.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

from sshrender.renderers.encoders import deflate
from sshrender.renderers.encoders.difference import Difference
from sshrender.renderers.encoders.raster import Raster

BAND = 1 << 18
"""Bytes of raster that are worked on at a time, so that they stay in the processor's cache."""

MAX_BAND_ROWS = 1000
"""One less and more than one call reads at most: IOV_MAX, 1,024 (readv(2))."""

MIN_REPEATED = 8
"""Rows that must be equal to become a prepared block: each interrupts the blocks around it, which costs
about 100 bytes."""

MAX_STEP = 256
"""Rows that are compared at once: three more than before as long as they are equal."""

MIN_SAMPLE, SAMPLED = 3 << 15, 64
"""The rows by which the way to compress a page is chosen: at least so many bytes, and one row of so
many."""

PLACES = (4, 2, 6, 1, 5, 3, 7, 0)
"""Where they are, in eighths of the page, and in which order: until there are enough that differ from
the row above. A third of them in each; with less text, two manuals had pages chosen wrongly."""

ReadInto = Callable[["memoryview", int], None]
"""``read(target, offset)`` fills the target from the file. Raises if the file ends before."""

ReadRows = Callable[[Sequence["memoryview"], int], None]
"""The same for targets that lie one behind the other in the file; at most IOV_MAX."""

_INVERTED = bytes(255 - byte for byte in range(256))


class Span(NamedTuple):
    """Rows of a raster: from ``first`` up to, without, ``last``."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.last - self.first


class RowEncoder:
    """Encodes spans of rows, one after another. Not for two threads at once."""

    def __init__(self, deflater: deflate.Deflater, difference: Difference) -> None:
        self._deflater = deflater
        self._difference = difference
        self._lines = bytearray()
        # Where the row of each line is. The first is the one above the others.
        self._targets: List["memoryview"] = []
        self._row_bytes = 0
        self._is_filtered = True
        self.checksum = deflate.Checksum()

    def encode(self, read: ReadRows, raster: Raster, span: Span) -> Iterator[bytes]:
        """Yield the blocks of these rows; afterwards ``checksum`` is theirs."""
        # A new sum for each span: those of several spans are combined afterwards (deflate.combined).
        self.checksum = deflate.Checksum()
        row = raster.row_bytes
        count = max(1, min(BAND // row, MAX_BAND_ROWS, span.rows))
        self._reserve(row, count)
        # Before the rows are read for good, because the sample uses the same memory.
        self._is_filtered = self._deflater.choose(*self._sample(read, raster, span))
        # The row above the first one; that of the first row of the page is all zeros (9.2).
        self._targets[0][:] = bytes(row)
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
            self._targets[0][:] = self._targets[band.rows]
        yield from self._repeated(waiting)
        yield self._deflater.flush()

    def _reserve(self, row: int, count: int) -> None:
        line = row + 1
        if row != self._row_bytes or len(self._targets) < count + 1:
            self._row_bytes = row
            self._lines = bytearray((count + 1) * line)
            view = memoryview(self._lines)
            self._targets = [view[at + 1 : at + line] for at in range(0, len(self._lines), line)]

    def _read(self, read: ReadRows, raster: Raster, at: int, span: Span) -> None:
        """Read rows of the raster to a place in our lines, as PNG has them."""
        targets = self._targets[at : at + span.rows]
        if raster.padding or raster.is_upside_down or raster.bits == 1:
            _read_bitmap(read, raster, span, targets)
        else:
            read(targets, raster.offset + span.first * raster.row_bytes)

    def _runs(self, count: int) -> List[Tuple[bool, int, int]]:
        """Return runs of rows: whether they equal the row above, the first, and the one after the last.

        Short runs of equal rows count as different ones. Row 0 is the first after the row above.
        """
        lines, line, view = self._lines, self._row_bytes + 1, memoryview(self._lines)
        found: List[Tuple[bool, int, int]] = []
        start = number = 0
        is_repeated = False
        while number < count:
            # A row: as the row below it, from the byte behind the type of its filter.
            at = number * line + 1
            step = 1
            is_same = lines.startswith(view[at : at + line - 1], at + line)
            # Several at once, as long as all of them are equal: white paper takes few comparisons.
            while is_same and number + step < count and step < MAX_STEP:
                more = min(3 * step, count - number - step)
                above = at + step * line
                if not lines.startswith(view[above : above + more * line - 1], above + line):
                    break
                step += more
            if is_same != is_repeated:
                _append(found, is_repeated, start, number, is_last=False)
                start, is_repeated = number, is_same
            number += step
        _append(found, is_repeated, start, count, is_last=True)
        return found

    def _sample(self, read: ReadRows, raster: Raster, span: Span) -> Tuple[bytearray, bytearray]:
        """Return some different rows of several places, as they are, and filtered."""
        plain, filtered = bytearray(), bytearray()
        wanted = max(MIN_SAMPLE, span.rows * self._row_bytes // SAMPLED)
        for place in PLACES:
            # From row 1 on, because a row above is read as well.
            first = max(1, span.first + span.rows * (2 * place + 1) // (2 * len(PLACES)))
            # Rounded up, so that three places without equal rows are enough.
            most = min(-(-wanted // (3 * self._row_bytes)), len(self._targets) - 1)
            band = Span(first, min(first + max(1, most), span.last))
            if band.rows > 0:
                # The row above comes first, at place 0, as in encode().
                self._read(read, raster, 0, Span(first - 1, band.last))
                for is_repeated, start, end in self._runs(band.rows):
                    if not is_repeated:
                        plain += self._plain(start, end)
                        filtered += self._filter(start, end)
            if len(plain) >= wanted:
                break
        return plain, filtered

    def _plain(self, start: int, end: int) -> "memoryview":
        """Return lines that are not filtered: the type of their filter is the byte of zero."""
        line = self._row_bytes + 1
        return memoryview(self._lines)[(start + 1) * line : (end + 1) * line]

    def _filter(self, start: int, end: int) -> "memoryview":
        """Return lines filtered by Up. They are valid until the next call."""
        line = self._row_bytes + 1
        size = (end - start) * line
        found = self._difference(self._lines, (start + 1) * line, size, line)
        found[0:size:line] = bytes([deflate.UP]) * (end - start)
        return memoryview(found)[:size]

    def _different(self, start: int, end: int) -> bytes:
        lines = self._filter(start, end) if self._is_filtered else self._plain(start, end)
        self.checksum.add(lines)
        return self._deflater.rows(lines)

    def _repeated(self, count: int) -> Iterator[bytes]:
        length = self._row_bytes + 1
        if 0 < count < MIN_REPEATED:
            lines = memoryview(bytearray((bytes([deflate.UP]) + bytes(length - 1)) * count))
            self.checksum.add(lines)
            yield self._deflater.rows(lines)
        elif count:
            self.checksum.add_repeated(count, length)
            yield from self._deflater.repeated(count, length)


def _read_bitmap(read: ReadRows, raster: Raster, span: Span, targets: Sequence["memoryview"]) -> None:
    """Read rows that are padded, in the other order, or of inverted bits."""
    row, stride = raster.row_bytes, raster.row_bytes + raster.padding
    # From the bottom up: the last rows of the span come first in the file.
    first = raster.height - span.last if raster.is_upside_down else span.first
    found = bytearray(span.rows * stride)
    read([memoryview(found)], raster.offset + first * stride)
    if raster.bits == 1:
        found = found.translate(_INVERTED)  # PBM: 1 is black; PNG: 0 is
    view = memoryview(found)
    for number, target in enumerate(targets):
        at = (span.rows - 1 - number if raster.is_upside_down else number) * stride
        target[:] = view[at : at + row]


def _append(
    found: List[Tuple[bool, int, int]], is_repeated: bool, start: int, end: int, *, is_last: bool
) -> None:
    """Add a run. A short one of equal rows joins the different ones before it."""
    if start == end:
        return
    # Runs at both ends of a band may continue in the next one, so they count as long.
    is_long = end - start >= MIN_REPEATED or (is_last or start == 0)
    is_repeated = is_repeated and is_long
    if found and found[-1][0] == is_repeated:
        # The run before is of the same kind now, and becomes longer.
        start = found.pop()[1]
    found.append((is_repeated, start, end))
