"""A page on its way into an assembled file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

# The files were proved to be what hosts reported, and a page may be as large as a memory limit allows:
# Pillow's guard against pictures that grow when they are opened would stop at a tenth of a page of A0.
Image.MAX_IMAGE_PIXELS = None


class AssemblyFailed(Exception):
    """A page cannot be put into the file: why."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A proved page's file, its size in pixels, and the resolution that it was drawn at."""

    path: Path
    width: int
    height: int
    dpi: float

    @contextlib.contextmanager
    def picture(self) -> Iterator[Image.Image]:
        """The page, opened and not read yet. Raises AssemblyFailed."""
        try:
            with Image.open(self.path) as picture:
                yield picture
        except (UnidentifiedImageError, SyntaxError, ValueError) as error:
            raise AssemblyFailed(f"{self.path.name}: {error}") from None
