"""Opens files of the shared folder for those above the api: regular files only, no link is followed."""

from __future__ import annotations

from pathlib import Path

from sshrender.storage.files import open_plain, read_plain


def size_of(path: Path) -> int:
    """Return the bytes of a regular file. Raises OSError, for any other kind of file, too."""
    with open_plain(path) as file:
        # Seeking tells the size of the very file that was opened.
        return file.seek(0, 2)


__all__ = ["open_plain", "read_plain", "size_of"]
