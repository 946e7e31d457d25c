"""Read the bytes of a page's file for a verification, in pieces of bounded size.

Never mapped: the file belongs to the user that hosts log in as, and one that is cut short while it is
read would end the process with SIGBUS (mmap(2)).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from sshrender.job.verification.errors import require

WHOLE = 4 << 20
"""Most bytes of a file that is kept in memory; a larger one is read again where it is needed."""

BLOCK = 256 << 10
MAX_PIECE = 16 << 20
"""Bytes that ``read`` returns at most: no table of a sound page is as large."""

Size = tuple[int, int]
Accept = Callable[[Size], None]
"""Called with the dimensions as soon as they are known. Raises VerificationFailed if they are not the
page's, so that no more of such a file is read."""


class PageFile:
    """An open file of a known size.

    Its methods raise VerificationFailed if it shrank or a piece is outside.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        # Read once: most files are small, and each read of NFS is a request.
        self._whole = self._pread(0, size) if size <= WHOLE else None

    @classmethod
    def in_memory(cls, data: bytes) -> PageFile:
        """Return the bytes that were read already."""
        file = cls(-1, 0)
        # -1: it is never read, as all of it is in memory.
        file.size, file._whole = len(data), data
        return file

    def read(self, at: int, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        require(0 <= count <= MAX_PIECE, "a table of its file is too large")
        require(at >= 0 and at + count <= self.size, "it is cut off")
        if self._whole is not None:
            return self._whole[at : at + count]
        return self._pread(at, count)

    def head(self, count: int) -> bytes:
        """Return the first ``count`` bytes, or all if there are fewer."""
        return self.read(0, min(count, self.size))

    def tail(self, count: int) -> bytes:
        """Return the last ``count`` bytes, or all if there are fewer."""
        count = min(count, self.size)
        return self.read(self.size - count, count)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes between two offsets, in pieces of BLOCK bytes."""
        end = self.size if end is None else end
        for at in range(start, end, BLOCK):
            yield self.read(at, min(BLOCK, end - at))

    def _pread(self, start: int, count: int) -> bytes:
        pieces, found = [], 0
        while found < count:
            block = os.pread(self._descriptor, count - found, start + found)
            # An empty result before the end: the file became shorter.
            require(block != b"", "changed while it was read")
            pieces.append(block)
            found += len(block)
        return b"".join(pieces)
