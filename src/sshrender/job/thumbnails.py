"""``thumbs/``: small pictures of pages, for the overview and the dashboard. Nothing depends on them."""

from __future__ import annotations

import os
from pathlib import Path

from sshrender.files import file_mode, read_plain, rename
from sshrender.job.folder import JobFolder
from sshrender.job.proof import jpeg
from sshrender.job.proof.errors import ProofFailed, require

LONGEST_SIDE = 512
"""Pixels: more than a runner draws (renderers/ghostscript.py), less than would burden a viewer."""


def file_of(page_file: str) -> str:
    """The thumbnail's name for a page's: ``page-0007.png``, ``page-0007.jpg``."""
    return Path(page_file).stem + ".jpg"


def save(folder: JobFolder, page_file: str, data: bytes) -> None:
    """Keep the thumbnail of a page, if it is one. Raises ProofFailed or OSError.

    Not flushed to the storage: one that a power failure damages is shown as missing.
    """
    width, height = jpeg.measure(data)
    require(0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE, "no thumbnail is as large")
    final = folder.thumbnails / file_of(page_file)
    temporary = final.with_name(f".{final.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, file_mode(folder.thumbnails)), "wb") as file:
        file.write(data)
    rename(temporary, final)


def size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None when there is no whole thumbnail."""
    try:
        return jpeg.measure(read_plain(path))
    except (OSError, ProofFailed, IndexError):
        return None
