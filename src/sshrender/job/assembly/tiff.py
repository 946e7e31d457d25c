"""Write a TIFF of many pages; above four gigabytes a BigTIFF, which newer readers know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from sshrender.job.assembly.pagereader import Sheet

CLASSIC = 3 << 30
"""Bytes of pages up to which a classic TIFF will hold them: its offsets have 32 bits."""

_MODES = {"1": "1", "L": "L", "P": "RGB", "PA": "RGBA", "I;16": "I;16", "CMYK": "CMYK", "RGBA": "RGBA"}


def write(file: IO[bytes], sheets: Sequence[Sheet]) -> None:
    """Write page after page, losslessly. Raises AssemblyFailed or OSError."""
    is_big = sum(sheet.bytes for sheet in sheets) > CLASSIC
    with AppendingTiffWriter(file, new=True) as frames:
        for sheet in sheets:
            with sheet.picture() as picture:
                mode = _MODES.get(picture.mode, "RGB")
                page: Image.Image = picture if picture.mode == mode else picture.convert(mode)
                page.save(
                    frames,
                    format="TIFF",
                    compression="group4" if mode == "1" else "tiff_deflate",
                    dpi=sheet.dpi,
                    big_tiff=is_big,
                )
                # Finishes the directory of this page.
                frames.newFrame()
