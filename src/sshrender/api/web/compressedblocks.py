"""Parts of answers that are sent often and are large: their bytes, which are compressed once.

A gzip file is a sequence of deflate blocks (RFC 1952, RFC 1951). Blocks that refer to nothing before
them can be put together, so that a page around a large part costs only itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

_LEVEL = 4
"""Level of zlib. The rows of a sheet are alike: level 9 saves a tenth more for three times the time."""

_HEAD = bytes.fromhex("1f8b 08 00 00000000 00 ff")
"""gzip, deflate, no flags, no time, no further facts, unknown system (RFC 1952, 2.3.1)."""

_LAST = bytes.fromhex("0300")
"""An empty last block with fixed codes (RFC 1951, 3.2.3)."""


class Block:
    """Bytes of an answer. The methods may be called by several threads: they do the same work then."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._deflated = b""

    def deflated(self) -> bytes:
        """Return the bytes as deflate blocks that refer to nothing before them; none is the last."""
        if not self._deflated:
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            # A full flush ends at a byte, and what follows refers to nothing before it.
            self._deflated = packer.compress(self.data) + packer.flush(zlib.Z_FULL_FLUSH)
        return self._deflated


def gzipped(blocks: Sequence[Block]) -> bytes:
    """Return a gzip file of these blocks, one after the other."""
    crc, size = 0, 0
    for block in blocks:
        crc, size = zlib.crc32(block.data, crc), size + len(block.data)
    # The last 32 bits of the size (RFC 1952, 2.3.1).
    end = struct.pack("<II", crc, size & 0xFFFFFFFF)
    return b"".join([_HEAD, *(block.deflated() for block in blocks), _LAST, end])
