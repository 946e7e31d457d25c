"""Adler-32 (RFC 1950, 9) of rows, by the fastest library of the host.

zlib's takes a fifth of the time in which ISA-L compresses a page; ISA-L's own, and that of libdeflate,
on which Ghostscript depends through libtiff in Debian, take an eighth of that.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import ctypes
import functools
import zlib
from typing import Callable, Optional

Adler = Callable[["memoryview", int], int]
"""``adler(data, value)``: the sum with ``data``, which is writable, after what had ``value``."""

_LIBRARIES = (("libisal.so.2", "isal_adler32"), ("libdeflate.so.0", "libdeflate_adler32"))
"""Both functions have the same form: the sum so far, an address, and a size_t."""


@functools.lru_cache(maxsize=None)
def best() -> Adler:
    """Return the fastest one, found once for a process."""
    for library, name in _LIBRARIES:
        found = of_library(library, name)
        if found is not None:
            return found
    return with_zlib


def with_zlib(data: "memoryview", value: int) -> int:
    """Return the sum by Python's zlib."""
    return zlib.adler32(data, value)


def of_library(library: str, name: str) -> Optional[Adler]:
    """Return the function of a library; None if it is missing or does not do what it should."""
    try:
        function = getattr(ctypes.CDLL(library), name)
    # AttributeError: a build without the function.
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = (
        [ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t],
        ctypes.c_uint32,
    )

    def adler(data: "memoryview", value: int) -> int:
        size = len(data)
        # from_buffer shares the memory; nothing is copied.
        return int(function(value, (ctypes.c_char * size).from_buffer(data), size)) if size else value

    # Longer than the 5,552 bytes after which the sums must be reduced (zlib's NMAX), with large values.
    sample = memoryview(bytearray(b"\xff\xfe" * 6000))
    known = [(value, sample[:size]) for value in (1, 0xFFF0FFF0) for size in (1, 37, len(sample))]
    if any(adler(data, value) != with_zlib(data, value) for value, data in known):
        return None
    return adler
