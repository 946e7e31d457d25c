"""Renders pages of one slot as rasters instead of files, and decides when that is not possible.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
from typing import Callable, Optional

from sshrender.renderers import ghostscript
from sshrender.renderers.dialogue import PageResult
from sshrender.runner.host.rasterfolders import RasterFolders
from sshrender.runner.rendering import pageencoder
from sshrender.runner.rendering.rendererinterface import RasterFile
from sshrender.runner.rendering.warmsession import Session

PLAIN_PAGES = 16
"""Pages that are rendered without rasters after one that was too large: its neighbours probably are."""

MakeChunks = Callable[[ghostscript.RasterOutput], Optional[bytes]]


class Rasters:
    """The rasters of one slot's sessions."""

    def __init__(self, folders: Optional[RasterFolders], has_thumbnails: bool) -> None:
        self._folders = folders
        self._has_thumbnails = has_thumbnails
        # Pages that are still to be rendered without rasters, after one that was too large.
        self._plain_pages = 0
        # The number in the name of the last file that this slot has taken from the session.
        self._taken = 0

    def setup(self, setup: ghostscript.Setup) -> ghostscript.Setup:
        """Return the settings of a new session, with rasters if there is room for them."""
        self._taken = 0
        output = None
        # While plain pages are left, sessions are started without rasters.
        if self._folders is not None and self._plain_pages == 0:
            output = self._folders.output()
        # Thumbnails are made of the rasters: a second device could change the pages.
        return setup if output is None else setup._replace(raster=output, thumbnails="")

    def take(self, session: Session, page: PageResult, make_chunks: MakeChunks) -> Optional[RasterFile]:
        """Return the raster of a page; None if it must be rendered without, or did not come out."""
        if session.setup.raster is None or self._folders is None:
            # A page without a raster brings the return to rasters nearer by one.
            self._plain_pages = max(0, self._plain_pages - 1)
            return None
        self._taken = page.shown + 1
        if page.place is None or not page.is_to_be_encoded:
            return None
        path = ghostscript.output_name(session.setup, page.shown, page.place)
        if page.place == ghostscript.TOO_LARGE or not self._is_whole(path):
            self._plain_pages = PLAIN_PAGES
            return None
        chunks = self._folders.chunks(make_chunks)
        if chunks is None:
            _remove(path)
            return None
        is_large = page.place == ghostscript.FAR_AWAY
        return RasterFile(path, chunks, self._has_thumbnails, is_large)

    def may_return(self, session: Session, is_sent: bool) -> bool:
        """Return whether a session without rasters, not working now, should be replaced by one with."""
        # ``is_sent``: the session has been asked for a page, which would be lost with it.
        is_plain = session.setup.raster is None and not is_sent and self._plain_pages == 0
        return is_plain and self._folders is not None and self._folders.output() is not None

    def clear(self, session: Session) -> None:
        """Remove what a session that has ended left behind: of its last page, or the one ahead."""
        raster = session.setup.raster
        if raster is None:
            return
        # The name has one number, between prefix and suffix; files of other slots have another prefix.
        prefix, _, suffix = session.setup.output.partition("%d")
        for folder in (raster.folder, raster.large_folder):
            # A folder that cannot be listed is removed when the runner ends.
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    number = name[len(prefix) : len(name) - len(suffix)]
                    is_ours = name.startswith(prefix) and name.endswith(suffix) and number.isdigit()
                    # Those up to ``_taken`` belong to the finalizer, which removes them when they are
                    # encoded.
                    if is_ours and int(number) > self._taken:
                        _remove(os.path.join(folder, name))

    def _is_whole(self, path: str) -> bool:
        """Return whether a raster is whole. If one is cut off, the folder was full: no more go there."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            pageencoder.form_of(descriptor)
        except pageencoder.EncodingFailed:
            _remove(path)
            if self._folders is not None:
                # For all slots: the folder is full, whichever of them has noticed.
                self._folders.give_up()
            return False
        finally:
            os.close(descriptor)
        return True


def _remove(path: str) -> None:
    # Remaining files go with their folder when the runner ends.
    with contextlib.suppress(OSError):
        os.unlink(path)
