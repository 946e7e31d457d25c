"""The bytes of a file as a proof sees them.

Never mapped: the file belongs to the user that hosts log in as, and one that is cut short while it is
looked at would end the coordinator with SIGBUS (mmap(2)).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import overload

from sshrender.job.verification.errors import require

AT_ONCE = 64 << 20
"""Up to so many bytes a file is read into memory; a larger one piece by piece."""

_BLOCK = 1 << 20


class FileBytes:
    """A large open file that is indexed and sliced like bytes. Raises VerificationFailed where it shrank."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        """Slices have a step of one."""
        if isinstance(key, int):
            return self._read(key % self._size, 1)[0]
        start, stop, _ = key.indices(self._size)
        return self._read(start, max(0, stop - start))

    def _read(self, start: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = os.pread(self._descriptor, count - len(data), start + len(data))
            require(block != b"", "changed while it was read")
            data += block
        return data


Buffer = bytes | FileBytes
Size = tuple[int, int]


def read(descriptor: int, size: int) -> Buffer:
    """The bytes of an open file of this size. Raises VerificationFailed or OSError."""
    whole = FileBytes(descriptor, size)
    return whole[:] if size <= AT_ONCE else whole


def blocks(data: Buffer) -> Iterator[bytes]:
    """All of it, in pieces."""
    if isinstance(data, bytes):
        yield data
        return
    for at in range(0, len(data), _BLOCK):
        yield data[at : at + _BLOCK]
