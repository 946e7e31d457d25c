"""Deflate by ISA-L (libisal.so.2, Debian's package libisal2), ten times as fast as zlib.

The library is bound by the layout of its structure ``isal_zstream`` (igzip_lib.h, the same in all of
2.x). What could differ is checked before the first page: fields that the library initializes must lie
where they are expected, and what it compresses must inflate to the same bytes. Each block is compressed
on its own into a buffer of fixed size, and the library's answer is checked against it.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import ctypes
import functools
import os
import zlib
from typing import Any, Optional

LIBRARY = "libisal.so.2"

_STREAM_BYTES = 1 << 18
"""More than sizeof(struct isal_zstream), which is 82,384 in 2.30."""

_LEVEL = 1
_LEVEL_BYTES = 282_624
"""ISAL_DEF_LVL1_DEFAULT in 2.30: how many tokens a block holds follows from it."""

_FULL_FLUSH = 2
_MAX_BLOCK = 1 << 26
_UNTOUCHED = 0x5A

FAR, NEAR = 0, 2
"""Values of ``hist_bits``: matches in all that deflate reaches, 32 KiB, or in the last 4 bytes only.
On pages without smoothing and in images most matches are runs, which filtering makes: they become
smallest filtered and with NEAR (1.2 to 1.4 of Ghostscript's size; 2.0 with FAR and unfiltered). Smoothed
letters are found again in the rows above: smallest unfiltered and with FAR, in half the time (1.2
instead of 2.0). The two other combinations are never much smaller (two manuals, and images)."""


class _Stream(ctypes.Structure):
    """The fields of isal_zstream that a caller sets."""

    _fields_ = [
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint32),
        ("total_in", ctypes.c_uint32),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint32),
        ("total_out", ctypes.c_uint32),
        ("hufftables", ctypes.c_void_p),
        ("level", ctypes.c_uint32),
        ("level_buf_size", ctypes.c_uint32),
        ("level_buf", ctypes.c_void_p),
        ("end_of_stream", ctypes.c_uint16),
        ("flush", ctypes.c_uint16),
        ("gzip_flag", ctypes.c_uint16),
        ("hist_bits", ctypes.c_uint16),
    ]


class Isal:
    """One stream of the library. Not for two threads at once."""

    def __init__(self, library: Any) -> None:
        """Bind the library. Raises AttributeError or ValueError if it is not as expected."""
        # "Stateless": each call makes whole blocks and remembers nothing of those before.
        self._start, self._deflate = library.isal_deflate_stateless_init, library.isal_deflate_stateless
        self._start.argtypes, self._start.restype = [ctypes.c_void_p], None
        self._deflate.argtypes, self._deflate.restype = [ctypes.c_void_p], ctypes.c_int
        # Filled with a pattern, so that what the library writes, and where it ends, can be seen.
        self._memory = ctypes.create_string_buffer(bytes([_UNTOUCHED]) * _STREAM_BYTES, _STREAM_BYTES)
        self._stream = _Stream.from_buffer(self._memory)
        self._level_memory = ctypes.create_string_buffer(_LEVEL_BYTES)
        self._output = bytearray()
        self._start(ctypes.addressof(self._memory))
        stream = self._stream
        # isal_deflate_stateless_init sets these fields, and leaves the buffers to the caller.
        zeros = (stream.level, stream.level_buf_size, stream.end_of_stream, stream.flush)
        if any(zeros) or stream.gzip_flag or not stream.hufftables:
            raise ValueError("its structure has another form")
        # The library has written into the end of the memory: its structure is larger than what is
        # reserved.
        if self._memory.raw[-4096:] != bytes([_UNTOUCHED]) * 4096:
            raise ValueError("its structure is larger")

    def deflate(self, data: "memoryview", history: int = FAR) -> Optional[bytes]:
        """Return ``data``, which is writable, as whole blocks of deflate; None if that fails.

        They end at a byte, and refer to nothing outside: further blocks may follow.
        """
        # An empty input is refused: a result of no bytes counts as a failure below.
        size = len(data)
        if not 0 < size <= _MAX_BLOCK:
            return None
        # Data that cannot be compressed grows by headers of blocks only (RFC 1951, 3.2.4), so this is
        # ample.
        room = size + size // 8 + 4096
        if len(self._output) < room:
            self._output = bytearray(room)
        # Both arrays share the memory of what they are made of; nothing is copied.
        source = (ctypes.c_char * size).from_buffer(data)
        target = (ctypes.c_char * len(self._output)).from_buffer(self._output)
        stream = self._stream
        # Set again for each block, so nothing of an earlier one is left.
        self._start(ctypes.addressof(self._memory))
        stream.next_in, stream.avail_in, stream.total_in = ctypes.addressof(source), size, 0
        stream.next_out, stream.avail_out, stream.total_out = ctypes.addressof(target), room, 0
        stream.level, stream.level_buf_size = _LEVEL, _LEVEL_BYTES
        stream.level_buf = ctypes.addressof(self._level_memory)
        stream.end_of_stream, stream.flush, stream.gzip_flag = 0, _FULL_FLUSH, 0
        stream.hist_bits = history
        code = self._deflate(ctypes.addressof(self._memory))
        written = stream.total_out
        # All input was taken, and both counts of the output agree: else the layout is not the expected
        # one.
        if code != 0 or stream.avail_in != 0 or not 0 < written == room - stream.avail_out:
            return None
        return bytes(memoryview(self._output)[:written])


def load() -> Optional[Isal]:
    """Return a stream of the library; None if it is missing or fails its test."""
    library = _library()
    return None if library is None else Isal(library)


@functools.lru_cache(maxsize=None)
def _library() -> Optional[Any]:
    """Return the library, tested once per process; None if it cannot be used."""
    # Only on these was the layout of the structure compared.
    if os.uname().machine not in ("x86_64", "aarch64"):
        return None
    try:
        library = ctypes.CDLL(LIBRARY)
        # Tested once; each thread then makes a stream of its own (load).
        return library if _passes(Isal(library)) else None
    except (OSError, AttributeError, ValueError):
        return None


def _passes(stream: Isal) -> bool:
    """Return whether blocks of the library inflate to what was compressed, one behind the other."""
    # Noise, long runs, short runs, and a single byte: the forms that blocks of deflate have.
    noise = bytearray((n * n * 7919 >> 7) % 256 for n in range(5000))
    samples = [bytearray(100_000), noise, bytearray(b"\x02\0\0\0\xff\xff\xff" * 9000), bytearray(b"x")]
    # One inflater for all blocks: they must also fit behind each other.
    inflater, expected, found = zlib.decompressobj(-15), b"", b""
    for history in (FAR, NEAR):
        for sample in samples:
            block = stream.deflate(memoryview(sample), history)
            if block is None:
                return False
            try:
                found += inflater.decompress(block)
            except zlib.error:
                return False
            expected += bytes(sample)
    return found == expected
