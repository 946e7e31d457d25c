"""Compresses the rows of a page into blocks of deflate (RFC 1951), and adds up their checksum.

All blocks end at a byte and refer to nothing before them. So blocks that were made once stand for rows
that are equal to the row above, and blocks of several threads can be written one behind the other.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import zlib
from typing import Any, Dict, List, Optional, Tuple

from sshrender.renderers.encoders import ISAL, ZLIB, adler, isal

UP = 2
"""The type of PNG's filter Up, the first byte of each row."""

BEGINNING = b"\x78\x01"
"""The header of zlib's format (RFC 1950): deflate, a window of 32 KiB, fast."""

END = b"\x03\x00"
"""The last block, an empty one."""

# The largest prime below 65536 (RFC 1950).
_MODULUS = 65521

Mode = Tuple[int, int]
"""Level and strategy of zlib."""

_RUNS, _FAST, _SMALL = (1, zlib.Z_RLE), (3, zlib.Z_DEFAULT_STRATEGY), (4, zlib.Z_DEFAULT_STRATEGY)
"""Measured on pages of two manuals at 150 and 300 dpi, in units of Ghostscript's size: _RUNS gives 1.0
to 1.9, _FAST 1.0 to 1.5, and takes as long; _SMALL gives 1.0 to 1.1 and takes twice as long."""

_PLAIN: Mode = (2, zlib.Z_DEFAULT_STRATEGY)
"""For rows that are not filtered. Smoothed pages become as small as with _FAST (1.1), in three quarters
of its time; others, and images, become larger (1.8)."""

_SLOWER = 1.1
"""How much larger _FAST counts when it is decided whether rows are filtered: it makes smoothed pages
small as well, but in more time."""

_MAX_EXCESS = 1.3
"""Factor by which a page may become larger than with _SMALL. With more, its file would be larger than
1.5 times Ghostscript's."""

_PREFER_FILTERED = 1.05
"""How much larger the sample may become if rows are filtered: of 56 pages without smoothing it became at
most 1.05 times as large, and of 71 smoothed ones larger than that, but for 2 (two manuals)."""

_MAX_REPEATED = 1 << 20
"""Bytes of rows that one prepared block stands for."""


def kind() -> str:
    """Return what compresses pages on this host."""
    return ISAL if isal.load() is not None else ZLIB


class Checksum:
    """Adler-32 (RFC 1950, 9) of the rows so far."""

    # 1 is the value of no bytes (RFC 1950).
    def __init__(self, value: int = 1) -> None:
        self.value = value

    def add(self, rows: "memoryview") -> None:
        """Add rows."""
        self.value = adler.best()(rows, self.value)

    def add_repeated(self, count: int, length: int) -> None:
        """Add ``count`` rows of ``length`` bytes, which are UP and zeros."""
        first, second = self.value & 0xFFFF, self.value >> 16
        # The first byte of row i raises the first sum to ``first + UP * i``; each byte of the row adds
        # that to the second.
        second += length * (count * first + UP * (count * (count + 1) // 2))
        first += UP * count
        # ``%`` binds closer than ``<<``, and that closer than ``|``.
        self.value = first % _MODULUS | second % _MODULUS << 16


def combined(first: int, second: int, length: int) -> int:
    """Return the Adler-32 of two byte strings in a row, from that of each; ``length``: of the second.

    The sums of the second began at 1 and 0; here they begin at those of the first.
    """
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + ((first & 0xFFFF) - 1) * length
    return low % _MODULUS | high % _MODULUS << 16


class Deflater:
    """Compresses the rows of one page, or of a stripe of it. Not for two threads at once."""

    def __init__(self, stream: Optional[isal.Isal] = None) -> None:
        self._isal = stream
        self._history = isal.FAR
        self._mode: Mode = _FAST
        self._streams: Dict[Mode, Any] = {}
        self._is_open = False
        self._repeated: Dict[Tuple[int, int], bytes] = {}

    def choose(self, plain: bytearray, filtered: bytearray) -> bool:
        """Choose how to compress a page, by some of its rows; return whether to filter them.

        ``plain``, ``filtered``: these rows in both forms. The last block must be complete.
        """
        if not plain:
            # Not as the page before: the bytes of a page depend on that page alone.
            self._history, self._mode = isal.NEAR, _FAST
            return True
        if self._isal is None:
            return self._choose_mode(plain, filtered)
        far = len(self._isal.deflate(memoryview(plain), isal.FAR) or plain)
        near = len(self._isal.deflate(memoryview(filtered), isal.NEAR) or filtered)
        is_filtered = near < _PREFER_FILTERED * far
        self._history = isal.NEAR if is_filtered else isal.FAR
        # For the rest of the page, should ISA-L fail.
        self._mode = _FAST if is_filtered else _PLAIN
        return is_filtered

    def _choose_mode(self, plain: bytearray, filtered: bytearray) -> bool:
        # Short runs of zlib: the sample is a sixty-fourth of the page.
        far, runs, fast = _size(plain, _PLAIN), _size(filtered, _RUNS), _size(filtered, _FAST)
        if min(runs, _SLOWER * fast) >= _PREFER_FILTERED * far:
            self._mode = _PLAIN
            return False
        self._mode = _RUNS if runs <= fast else _FAST
        if min(runs, fast) > _MAX_EXCESS * _size(filtered, _SMALL):
            self._mode = _SMALL
        return True

    def rows(self, data: "memoryview") -> bytes:
        """Return what rows add to the blocks."""
        if self._isal is not None:
            # ISA-L keeps nothing from one block to the next, so there is nothing to flush.
            block = self._isal.deflate(data, self._history)
            if block is not None:
                return block
            self._isal = None  # it has failed its own check: zlib does the rest
        self._is_open = True
        # A stream is kept: after a full flush it is as good as new, and making one costs its tables.
        if self._mode not in self._streams:
            self._streams[self._mode] = _stream(self._mode)
        return bytes(self._streams[self._mode].compress(data))

    def repeated(self, count: int, length: int) -> List[bytes]:
        """Return the blocks of ``count`` rows of ``length`` bytes that equal the row above them."""
        found = [self.flush()]
        # Powers of two: a run of any length needs few blocks, and few of them have to be prepared.
        size = 1
        while size * 2 * length <= _MAX_REPEATED:
            size *= 2
        # The invariant: blocks for all but ``count`` rows are in ``found``.
        while count:
            while size > count:
                size //= 2
            found += [self._block(size, length)] * (count // size)
            count %= size
        return found

    def flush(self) -> bytes:
        """Return what is still to come of the rows so far, so that other blocks may follow."""
        if not self._is_open:
            return b""
        self._is_open = False
        # A full flush ends at a byte and empties the window, so prepared blocks may follow.
        return bytes(self._streams[self._mode].flush(zlib.Z_FULL_FLUSH))

    def _block(self, count: int, length: int) -> bytes:
        key = count, length
        if key not in self._repeated:
            # Pages of another width have other blocks; 64 bound what they take.
            if len(self._repeated) > 64:
                self._repeated.clear()
            row = bytes([UP]) + bytes(length - 1)
            # -15: raw deflate without a header; level 9, because each block is made once.
            packed = zlib.compressobj(9, zlib.DEFLATED, -15)
            self._repeated[key] = packed.compress(row * count) + packed.flush(zlib.Z_FULL_FLUSH)
        return self._repeated[key]


def _stream(mode: Mode) -> Any:
    """Return a stream of raw deflate, with the most memory that zlib takes."""
    # 9: memory for the longest blocks, so that fewer tables are written.
    return zlib.compressobj(mode[0], zlib.DEFLATED, -15, 9, mode[1])


def _size(sample: bytearray, mode: Mode) -> int:
    stream = _stream(mode)
    return len(stream.compress(sample)) + len(stream.flush())
