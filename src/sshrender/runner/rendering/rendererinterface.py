"""The interface of every renderer of a slot, and the result that it returns for a page.

A renderer makes the file of a page, or its raster, and reports the program's diagnostics. Encoding a
raster, and naming, syncing and hashing the file, is the finalizer's work (finalizer.py), so that it is
done in one way for all of them, beside the rendering of the next page.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import abc
from typing import List, NamedTuple, Optional, Tuple

from sshrender.runner.slots.taskqueue import Task


class RasterFile(NamedTuple):
    """A raster on this host that is still to be encoded (renderers/encoders/raster.py says which).

    ``path``: absolute; the finalizer removes the file. ``chunks``: what the PNG file has between its
    header and its pixels: whole chunks, as the renderer's own PNG writer would make them.
    ``has_thumbnail``: whether a thumbnail of it is wanted. ``is_large``: it is not in memory, or might
    fill it with others.
    """

    path: str
    chunks: bytes = b""
    has_thumbnail: bool = False
    is_large: bool = False


class RenderedFile(NamedTuple):
    """The result of a renderer for one page.

    ``written``: the name of the file as the renderer made it, in the job's folder; if there is a
    ``raster``, the name that the encoder gives its file there. ``page_size``: in points, if it is known.
    ``seconds`` of wall time, ``cpu`` in seconds. ``diagnostics``: the renderer's warnings.
    ``is_rendered``: false when nothing came out.
    """

    task: Task
    written: str
    page_size: Optional[Tuple[float, float]]
    seconds: float
    cpu: float
    diagnostics: List[str]
    is_rendered: bool = True
    has_substituted_fonts: bool = False
    raster: Optional[RasterFile] = None


class PageRenderer(abc.ABC):
    """Renders pages for one slot. Only ``kill`` may be called from another thread."""

    @abc.abstractmethod
    def render(self, task: Task) -> RenderedFile:
        """Render one page. Raises SessionEnded (warmsession.py) when the program fails or is ended."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End the program that renders now, if there is one, at once or when its page takes long.

        The caller holds the slot's lock.
        """
        # See WarmRenderer and OneShot: what they read here is changed under the same lock only.

    @abc.abstractmethod
    def conclude(self, rendered: RenderedFile) -> None:
        """Do what may wait until a page has been handed over to the finalizer."""


class OneShotRenderer(PageRenderer):
    """Renders what a warm program declines, with a run of its own."""

    @abc.abstractmethod
    def render_raster(self, task: Task, path: str) -> RenderedFile:
        """Render a page's raster into ``path``; the file that the result names is not made yet."""
