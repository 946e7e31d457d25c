"""Inflate a zlib stream of any length by ISA-L (libisal.so.2), in pieces: six times as fast as zlib.

ISA-L accepts what RFC 1951 and zlib refuse: a Huffman code that is not complete (3.2.7 allows that for a
code of one symbol alone). No viewer shows such a page. So each block is given to ISA-L on its own, with
what precedes it as its dictionary, and zlib reads the header of the block first. Only what both accept
counts. What is refused here is not damaged yet: the caller asks zlib, whose decision is final.

The library is bound by the first fields of its structure ``inflate_state`` and one further field
(igzip_lib.h, the same in 2.30 and 2.31). Their offsets are checked before the first page.
"""

from __future__ import annotations

import ctypes
import functools
import os
import zlib
from collections.abc import Iterator
from typing import Any

from sshrender.renderers.encoders import adler
from sshrender.renderers.encoders.isal import LIBRARY

_STATE_BYTES = 1 << 18
"""More than sizeof(struct inflate_state), which is 87,368 in 2.30."""

_BLOCK_STATE = 21160
"""Offset of ``block_state``, behind the tables of both Huffman codes."""

_NEW_BLOCK, _FINISHED = 0, 5
"""Values of ``isal_block_state``."""

_HISTORY = 32 << 10
"""Bytes that a match reaches back at most (RFC 1951, 2)."""

_HEADER = 328
"""Bytes that the header of a block takes at most (ISAL_DEF_MAX_HDR_SIZE)."""

_OUTPUT = 256 << 10
"""Bytes inflated at a time: of 64 KiB to 4 MiB none takes less CPU time (measured)."""

_DYNAMIC = 2
_TRAILER = 4
_ANY_HISTORY = bytes(_HISTORY)

_FREE_BLOCKS, _BYTES_A_BLOCK = 4096, 8 << 10
"""A block costs 20 µs here, in which zlib inflates 8 kB: if blocks are smaller, zlib is faster."""


class Refused(Exception):
    """ISA-L cannot inflate this: zlib has to decide."""


class _State(ctypes.Structure):
    """The first fields of inflate_state."""

    _fields_ = (
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint32),
        ("total_out", ctypes.c_uint32),
        ("next_in", ctypes.c_void_p),
        ("read_in", ctypes.c_uint64),
        ("avail_in", ctypes.c_uint32),
        ("read_in_length", ctypes.c_int32),
    )


class Inflater:
    """Inflates one stream. Its methods raise Refused. What they yield is valid until the next piece."""

    def __init__(self, library: Any) -> None:
        """Bind the library. Raises AttributeError or ValueError if it is not as expected."""
        self._start, self._dictionary = library.isal_inflate_init, library.isal_inflate_set_dict
        self._start.argtypes, self._start.restype = [ctypes.c_void_p], None
        self._dictionary.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        self._inflate = library.isal_inflate
        self._inflate.argtypes, self._inflate.restype = [ctypes.c_void_p], ctypes.c_int
        # Ones everywhere: a field that the library does not set to 0 is not where it is expected.
        self._memory = ctypes.create_string_buffer(b"\xff" * _STATE_BYTES, _STATE_BYTES)
        self._address = ctypes.addressof(self._memory)
        self._state = _State.from_buffer(self._memory)
        self._block_state = ctypes.c_uint32.from_buffer(self._memory, _BLOCK_STATE)
        self._start(self._address)
        state = self._state
        zeros = (state.read_in, state.read_in_length, state.avail_in, state.avail_out, state.total_out)
        if any(zeros) or state.next_in or state.next_out or self._block_state.value != _NEW_BLOCK:
            raise ValueError("its structure has another form")
        if self._memory.raw[-4096:] != b"\xff" * 4096:
            raise ValueError("its structure is larger")
        self._output = bytearray(_OUTPUT)
        self._view = memoryview(self._output)
        self._target = ctypes.addressof((ctypes.c_char * _OUTPUT).from_buffer(self._output))
        self._adler, self._sum = adler.best(), 1
        self._input, self._at = bytearray(), 0
        # Bits of the input that are read ahead: fewer than 64.
        self._bits = self._bit_count = 0
        self._history = b""
        self._blocks = self._total = 0
        self._has_header = self._is_inside = self._is_last = self._is_ended = False

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Take the next bytes of the stream; yield the inflated bytes."""
        self._input = bytearray(memoryview(self._input)[self._at :]) + data
        self._at = 0
        return self._pieces(is_all=False)

    def finish(self) -> Iterator[memoryview]:
        """Yield the rest, and check that the stream ends here and with its checksum."""
        yield from self._pieces(is_all=True)
        if not self._is_ended or self._trailer() != self._sum.to_bytes(_TRAILER, "big"):
            raise Refused

    def _pieces(self, *, is_all: bool) -> Iterator[memoryview]:
        self._check_wrapper()
        # The array shares the memory of the bytearray, and is kept until this piece of input is used up.
        source = (ctypes.c_char * len(self._input)).from_buffer(self._input)
        while not self._is_ended:
            if not self._is_inside:
                # The whole header has to be here, as zlib is to see it.
                if not is_all and len(self._input) - self._at < _HEADER:
                    return
                self._begin()
            state, left = self._state, len(self._input) - self._at
            state.next_in, state.avail_in = ctypes.addressof(source) + self._at, left
            state.next_out, state.avail_out = self._target, _OUTPUT
            if self._inflate(self._address) != 0:
                raise Refused
            self._at += left - state.avail_in
            count = _OUTPUT - state.avail_out
            if count:
                yield self._account(count)
            if self._block_state.value == _FINISHED:
                self._end()
            elif state.avail_out:
                # There is room for more output, so it waits for input: all of it must be used up.
                if is_all or state.avail_in:
                    raise Refused
                return
        if len(self._trailer()) > _TRAILER:
            raise Refused

    def _check_wrapper(self) -> None:
        """Check the two bytes before the first block (RFC 1950, 2.2): as zlib does, no dictionary."""
        if not self._has_header and len(self._input) >= 2:
            method, flags = self._input[:2]
            if method & 15 != 8 or method >> 4 > 7 or (method << 8 | flags) % 31 or flags & 0x20:
                raise Refused
            self._has_header, self._at = True, 2
        if not self._has_header:
            # One byte: its block would begin where it does not.
            raise Refused

    def _begin(self) -> None:
        """Start with the next block."""
        self._blocks += 1
        if self._blocks > _FREE_BLOCKS and self._total < self._blocks * _BYTES_A_BLOCK:
            raise Refused
        following = int.from_bytes(self._input[self._at : self._at + _HEADER], "little")
        header = self._bits | following << self._bit_count
        self._is_last = header & 1 == 1
        if header >> 1 & 3 == _DYNAMIC:
            # As the last one, so that zlib does not look at what follows it.
            _check_header(header | 1)
        # Marked as the last one (BFINAL), so that ISA-L stops behind it.
        if self._bit_count:
            self._bits |= 1
        elif self._at < len(self._input):
            self._input[self._at] |= 1
        else:
            raise Refused
        self._start(self._address)
        # Nothing refers to what lies before the dictionary: the library checks the distance of matches.
        if self._history and self._dictionary(self._address, self._history, len(self._history)) != 0:
            raise Refused
        self._state.read_in, self._state.read_in_length = self._bits, self._bit_count
        self._is_inside = True

    def _end(self) -> None:
        """Keep the bytes that the library has read beyond the end of the block."""
        count = self._state.read_in_length
        if not 0 <= count < 64:
            raise Refused
        self._bits, self._bit_count = self._state.read_in & (1 << count) - 1, count
        self._is_inside, self._is_ended = False, self._is_last

    def _account(self, count: int) -> memoryview:
        """Add a piece of output to the checksum and to the dictionary of the next block."""
        self._sum = self._adler(self._view[:count], self._sum)
        self._total += count
        piece = self._view[:count]
        if count >= _HISTORY:
            self._history = bytes(piece[-_HISTORY:])
        else:
            self._history = (self._history + bytes(piece))[-_HISTORY:]
        return piece

    def _trailer(self) -> bytes:
        """Return the bytes after the last block, from the next whole byte on."""
        ahead = self._bits >> self._bit_count % 8
        whole = ahead.to_bytes(8, "little")[: self._bit_count // 8]
        return whole + bytes(self._input[self._at : self._at + _TRAILER + 1])


def _check_header(bits: int) -> None:
    """Raise Refused if zlib refuses the header of a block, which begins at the lowest bit."""
    data = bits.to_bytes(_HEADER + 8, "little")
    # With a whole dictionary no match is too far back; one byte of output: zlib stops behind the header.
    inflater = zlib.decompressobj(-15, zdict=_ANY_HISTORY)
    try:
        inflater.decompress(data, 1)
    except zlib.error:
        raise Refused from None


def load() -> Inflater | None:
    """Return an inflater for one stream; None if the library is missing or fails its test."""
    library = _library()
    return None if library is None else Inflater(library)


@functools.cache
def _library() -> Any | None:
    """Return the library, tested once per process; None if it cannot be used."""
    # Only on these was the layout of the structure compared.
    if os.uname().machine not in ("x86_64", "aarch64"):
        return None
    try:
        library = ctypes.CDLL(LIBRARY)
        return library if _passes(library) else None
    except (OSError, AttributeError, ValueError):
        return None


def _passes(library: Any) -> bool:
    """Return whether streams of all kinds of blocks inflate, in pieces, to the original bytes."""
    noise = bytes((n * n * 7919 >> 7) % 256 for n in range(5000))
    # More than the library keeps itself (64 KiB), and matches across all borders of pieces.
    sample = noise + bytes(150_000) + b"\x02\0\0\0\xff\xff\xff" * 300 + noise
    # Stored blocks, and those with codes of their own and with the fixed ones.
    kinds = (0, zlib.Z_DEFAULT_STRATEGY), (1, zlib.Z_DEFAULT_STRATEGY), (1, zlib.Z_FIXED)
    for level, strategy in kinds:
        # Little memory makes many blocks, which begin at any bit of a byte.
        packer = zlib.compressobj(level, zlib.DEFLATED, 15, 1, strategy)
        data = packer.compress(sample) + packer.flush()
        inflater, found = Inflater(library), bytearray()
        try:
            for at in range(0, len(data), 4099):
                for piece in inflater.feed(data[at : at + 4099]):
                    found += piece
            for piece in inflater.finish():
                found += piece
        except Refused:
            return False
        if found != sample:
            return False
    return True
