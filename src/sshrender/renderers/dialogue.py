"""The dialogue with a warm renderer: lines to send, and how to read its answers, for any program.

An answer is a line that begins with a token of ours; what comes before it, on both outputs, is the
program's output for that request. warmsession.py holds the conversation.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import abc
from typing import Dict, List, NamedTuple, Optional, Tuple

from sshrender.renderers.ghostscript import Setup


class PageResult(NamedTuple):
    """The program's answer for a page.

    ``shown``: number of the page's output in this process. ``size``: in points; None: not known.
    ``place``: where its raster is (ghostscript.py, NEAR_BY), if the session makes rasters; None: it
    wrote the page's file. ``is_to_be_encoded``: the raster is one of this page. ``is_missing``: the
    program did not find the page, and may after ``seek``. ``is_declined``: it cannot render it warm.
    """

    shown: int
    size: Optional[Tuple[float, float]] = None
    is_rendered: bool = True
    place: Optional[int] = None
    is_to_be_encoded: bool = False
    is_missing: bool = False
    is_declined: bool = False
    has_substituted_fonts: bool = False


class Dialogue(abc.ABC):
    """The way to ask one program for pages. Pure: neither process nor file is touched here."""

    name = ""
    """The name of the program, as users know it."""

    output_suffix = ""
    """Follows the number in the names of its files."""

    @abc.abstractmethod
    def command(self, setup: Setup, scratch: str) -> List[str]:
        """Return the command line. ``scratch``: folder with the ``files``; empty: there is none."""

    # Most programs read no file of ours.
    def files(self) -> Dict[str, str]:
        """Return the files, by name, that the program reads in its folder for temporary files."""
        return {}

    def setup_lines(self, setup: Setup, profiles: str, thumbnails: str) -> List[str]:  # noqa: ARG002 - for others
        """Return what is sent once, before the document is opened. There is no answer.

        ``profiles``: folder of the device's ICC profile. ``thumbnails``: name of their files, with
        ``%d``; empty: there are none.
        """
        return []

    @abc.abstractmethod
    def open_lines(self, setup: Setup, password: Optional[bytes], token: str) -> List[str]:
        """Return the lines that open the document. Answer: its number of pages."""

    @abc.abstractmethod
    def close_lines(self, token: str) -> List[str]:
        """Return the lines that close the document; its last output precedes the answer."""

    @abc.abstractmethod
    def page_lines(self, number: int, token: str) -> List[str]:
        """Return the lines that render a page."""

    def seek_lines(self, number: int, token: str) -> List[str]:
        """Return the lines that look up every page before ``number``."""
        raise NotImplementedError

    def thumbnail_lines(self, number: int, page: int, token: str) -> List[str]:
        """Return the lines that render a page once more, small."""
        raise NotImplementedError

    @abc.abstractmethod
    def page_result(self, value: str, lines: List[str]) -> PageResult:
        """Read the answer to ``page_lines`` and the output before it. Raises ValueError."""

    @abc.abstractmethod
    def warnings(self, lines: List[str]) -> List[str]:
        """Return the lines of output that report a problem."""
