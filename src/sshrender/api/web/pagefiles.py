"""Opens files of the shared folder for those above the api: regular files only, no link is followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sshrender.storage.files import open_plain, read_plain

BLOCK = 256 << 10
"""Bytes that are read at a time."""


class PageChanged(OSError):
    """A file is not as it was when its size was taken."""


def size_of(path: Path) -> int:
    """Return the bytes of a regular file. Raises OSError, for any other kind of file, too."""
    with open_plain(path) as file:
        # Seeking tells the size of the very file that was opened.
        return file.seek(0, 2)


def read_part(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a regular file from ``start`` to ``end``, exclusive.

    Raises PageChanged or OSError.
    """
    with open_plain(path) as file:
        file.seek(start)
        left = end - start
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise PageChanged(f"{path} is shorter than it was")
            left -= len(block)
            yield block


__all__ = ["PageChanged", "open_plain", "read_part", "read_plain", "size_of"]
