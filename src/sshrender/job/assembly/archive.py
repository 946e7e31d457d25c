"""Write a ZIP file, which a comic book archive (CBZ) is, too. Pages are compressed as they are."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from typing import IO

from sshrender.job.assembly.pagereader import Sheet

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The same pages make the same file."""


def write(file: IO[bytes], sheets: Sequence[Sheet]) -> None:
    """Write all pages under their names, in order. Raises OSError."""
    # Stored: page files are compressed already.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for sheet in sheets:
            entry = zipfile.ZipInfo(sheet.path.name, _LONG_AGO)
            # Permissions of the member, in the upper half (APPNOTE.TXT, 4.4.15).
            entry.external_attr = 0o644 << 16
            # Known beforehand, so that zipfile reserves room for 64-bit sizes if they are needed.
            entry.file_size = sheet.bytes
            with sheet.file() as page, archive.open(entry, "w") as copy:
                shutil.copyfileobj(page, copy, 1 << 20)
