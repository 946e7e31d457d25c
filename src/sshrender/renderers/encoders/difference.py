"""PNG's filter Up (ISO/IEC 15948, 9.2): each byte becomes its difference from the byte above it.

Text and figures become mostly zeros, which compress better and faster. Python has no operation on many
bytes at once but those of its integers, so that a whole block of rows is one integer here: the
differences of all bytes take seven operations on it. libgmp does the same with less: its functions work
on memory as it is, without the interpreter's lock. Debian's coreutils, an essential package, depends on
that library.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Dict, Optional, Tuple

Difference = Callable[[bytearray, int, int, int], bytearray]
"""``difference(rows, at, size, row)``: the differences of ``size`` bytes of ``rows``, from ``at`` on,
from those that lie ``row`` bytes before. The result may be longer; it is valid until the next call."""

BLOCK = 1 << 16
"""Bytes of a step: what it works on stays in the processor's cache of the second level (measured)."""

_UNALIGNED = ("x86_64", "aarch64")
"""Processors on which libgmp may be given addresses that are no multiples of 8."""


def with_integers() -> Difference:
    """Return the difference of Python alone."""
    constants: Dict[int, Tuple[int, int]] = {}

    def difference(rows: bytearray, at: int, size: int, row: int) -> bytearray:
        # All bands of a page have the same size but for the last one.
        if size not in constants:
            constants.clear()
            top = int.from_bytes(b"\x80" * size, "little")
            # The complement of the top bits, by exclusive or with all ones.
            constants[size] = top, top ^ int.from_bytes(b"\xff" * size, "little")
        top, low = constants[size]
        above = int.from_bytes(rows[at - row : at - row + size], "little")
        here = int.from_bytes(rows[at : at + size], "little")
        # The top bits are set apart, so that no byte borrows from the next (Knuth, 7.1.3).
        found = ((here | top) - (above & low)) ^ (((here ^ above) & top) ^ top)
        return bytearray(found.to_bytes(size, "little"))

    return difference


class _Limbs:
    """The functions of libgmp for numbers in memory (its manual, 8 Low-level Functions)."""

    def __init__(self, library: Any) -> None:
        if ctypes.c_int.in_dll(library, "__gmp_bits_per_limb").value != 64:
            raise ValueError("limbs of other than 64 bits")
        # The names in the library have this prefix; the manual has them as mpn_.
        self.ior, self.and_, self.sub, self.xor, self.andn = (
            getattr(library, "__gmpn_" + name) for name in ("ior_n", "and_n", "sub_n", "xor_n", "andn_n")
        )
        for each in (self.ior, self.and_, self.sub, self.xor, self.andn):
            # Result, first and second operand, and the number of limbs (mp_size_t is a long).
            each.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long]
            each.restype = None


def with_libgmp() -> Optional[Difference]:
    """Return the difference by libgmp; None if it is missing or does not do what it should."""
    try:
        # The bands begin at any byte, so the operands are not aligned.
        if os.uname().machine not in _UNALIGNED:
            return None
        limbs = _Limbs(ctypes.CDLL("libgmp.so.10"))
    # AttributeError: a build without one of the functions.
    except (OSError, AttributeError, ValueError):
        return None
    difference = _of_limbs(limbs)
    # 67 bytes a row and 130 in all: neither is a multiple of 8, so the rest in bytes is tested as well.
    sample = bytearray((7 * n * n + n) % 256 for n in range(200))
    expected = with_integers()(sample, 67, 130, 67)
    return difference if difference(sample, 67, 130, 67)[:130] == expected[:130] else None


def _of_limbs(limbs: _Limbs) -> Difference:
    top, low = (ctypes.create_string_buffer(byte * BLOCK, BLOCK) for byte in (b"\x80", b"\x7f"))
    # Both hold a step of the computation; one set of buffers for each thread.
    first, second = ctypes.create_string_buffer(BLOCK), ctypes.create_string_buffer(BLOCK)
    tops, lows, one, two = map(ctypes.addressof, (top, low, first, second))
    # The addresses are plain numbers; without this reference the buffers would be collected.
    kept = [top, low, first, second]
    found = bytearray()

    def difference(rows: bytearray, at: int, size: int, row: int) -> bytearray:
        nonlocal found
        # It grows only, and its content is valid until the next call.
        if len(found) < size:
            found = bytearray(size)
        whole = size // 8 * 8
        # from_buffer shares the memory of the bytearray, which cannot be resized while it does.
        source = (ctypes.c_char * len(rows)).from_buffer(rows)
        target = (ctypes.c_char * len(found)).from_buffer(found)
        start, result = ctypes.addressof(source) + at, ctypes.addressof(target)
        # In steps that stay in the cache; every step works on whole limbs.
        for done in range(0, whole, BLOCK):
            count = min(BLOCK, whole - done) // 8
            here = start + done
            # The operations of with_integers. The last limb cannot borrow, because its top bit is set.
            limbs.ior(one, here, tops, count)
            limbs.and_(two, here - row, lows, count)
            limbs.sub(one, one, two, count)
            limbs.xor(two, here, here - row, count)
            limbs.andn(two, tops, two, count)
            limbs.xor(result + done, one, two, count)
        # Up to seven bytes that fill no limb.
        for n in range(whole, size):
            found[n] = (rows[at + n] - rows[at + n - row]) & 255
        assert kept
        return found

    return difference
