"""Inflate a whole zlib stream by libdeflate, if the machine has it: on Debian Ghostscript brings it.

zlib takes 15 to 20 ms for the 6.5 MB of a page of A4 at 150 dpi, libdeflate 0.7 ms (measured): most of
what a verification costs. It needs all input and output in memory, so large pages are left to ISA-L
(isalinflate.py) or zlib.

It is less strict than zlib with symbols that RFC 1951 reserves (3.2.6): 286, for example, counts as a
length of 258. Damage that makes one is found by the CRC; a host that lies could change pixels as well.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

MAX_INPUT = 64 << 20
MAX_OUTPUT = 256 << 20
"""Bytes: A4 at 900 dpi in colour. The input is there twice while it is joined; all of that is less than
half of what a verification may take (worker.py)."""

KEPT = 64 << 20
"""Bytes of output that a process keeps for the next page."""

_Inflate = Callable[[bytes, int], memoryview | None]


@functools.cache
def library() -> _Inflate | None:
    """Return a function that inflates a stream to content of a given size; None without libdeflate.

    The function returns None for a stream that is damaged, or of another size, and raises MemoryError.
    """
    try:
        found = ctypes.CDLL("libdeflate.so.0")
        allocate, decompress = found.libdeflate_alloc_decompressor, found.libdeflate_zlib_decompress_ex
    except (OSError, AttributeError):
        return None
    number = ctypes.POINTER(ctypes.c_size_t)
    allocate.restype = ctypes.c_void_p
    decompress.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
        *(ctypes.c_void_p, ctypes.c_size_t, number, number),
    ]
    state = allocate()
    if not state:
        return None
    buffer = bytearray()

    def inflate(data: bytes, size: int) -> memoryview | None:
        nonlocal buffer
        if len(buffer) < size or (len(buffer) > KEPT and size <= KEPT):
            # Freed before the new one is made, so that both do not take memory at once.
            buffer = bytearray()
            buffer = bytearray(size)
        # A view of the buffer, without a copy.
        place = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        read, written = ctypes.c_size_t(), ctypes.c_size_t()
        sizes = ctypes.byref(read), ctypes.byref(written)
        code = decompress(state, data, len(data), place, size, *sizes)
        # Input that is left over is damage as well: the stream must end where the data do.
        is_whole = code == 0 and read.value == len(data) and written.value == size
        return memoryview(buffer)[:size] if is_whole else None

    return inflate
