"""Write ``thumbs/``: small images of pages for overview and dashboard. Nothing depends on them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from sshrender.job.folder import JobFolder
from sshrender.job.verification import jpeg, png
from sshrender.job.verification.errors import require
from sshrender.job.verification.pagefile import PageFile, Size
from sshrender.storage.files import open_folder, rename
from sshrender.storage.newfiles import create, file_mode_in

LONGEST_SIDE = 512
"""Pixels: more than a runner renders (renderers/ghostscript.py), less than would slow a viewer down."""


def files_of(page_file: str) -> tuple[str, str]:
    """Return the names that a page's thumbnail may have: ``page-0007.png`` or ``page-0007.jpg``.

    The encoder makes PNG files of rasters, Ghostscript JPEG.
    """
    stem = Path(page_file).stem
    return f"{stem}.png", f"{stem}.jpg"


def find(folder: JobFolder, page_file: str) -> Path | None:
    """Return the path of a page's thumbnail; None if it has none. Raises OSError."""
    places = (folder.thumbnails / name for name in files_of(page_file))
    return next((place for place in places if place.is_file()), None)


def save(folder: JobFolder, page_file: str, data: bytes) -> None:
    """Write the thumbnail of a page, if it is one. Raises VerificationFailed or OSError.

    It is not flushed to the storage: one that a power failure damages is shown as missing.
    """
    is_png = data.startswith(b"\x89PNG")
    (png if is_png else jpeg).measure(PageFile.in_memory(data), _accept)
    names = files_of(page_file)
    final = folder.thumbnails / names[0 if is_png else 1]
    place = open_folder(folder.thumbnails)  # ENOTDIR: a link leads to others' pictures
    try:
        mode = file_mode_in(place)
    finally:
        os.close(place)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    descriptor = create(temporary, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        rename(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _accept(size: Size) -> None:
    require(min(size) > 0 and max(size) <= LONGEST_SIDE, "no thumbnail is as large")
