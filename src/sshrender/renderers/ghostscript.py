"""The dialogue with one warm Ghostscript: the lines it is told and what its answers mean.

Ghostscript is started without a final ``-`` (with it, Ghostscript waits for a full input buffer) and
reads PostScript from standard input, a line at a time. Every file name is relative to the job's
folder, so no folder name, however odd, ever meets PostScript's or Ghostscript's own quoting.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional, Tuple

MINIMUM_VERSION = (10, 0)
"""The oldest Ghostscript accepted: the first whose C PDF interpreter was measured (Debian 12)."""

_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
_NUMBER = r"[-+0-9.eE]+"
_PAGE_SIZE = re.compile(r"\[\s*(" + _NUMBER + r")\s+(" + _NUMBER + r")\s*\]")


THUMBNAIL = 224
"""Pixels on a thumbnail's longer side."""

OVERSAMPLED = 3
"""A thumbnail is drawn so many times larger and averaged, or its text would be noise. With 2, 3 and 4
the second drawing of a page took 5, 7 and 8 % of the first (261-page manual, 150 dpi, png16m)."""

PICTURE_MARK = "~"
"""Stands behind the token where a thumbnail is answered for."""


class Setup(NamedTuple):
    """What one Ghostscript process is started for.

    ``output`` is the name of every page's file and holds ``%d``, which the device replaces by the
    number of pages that it has shown, this one included; only with it is each file closed when its
    page ends, and PSD devices insist on it. ``options`` are further Ghostscript switches; ``tag``
    names the job in the host's process list. ``thumbnails``: the device that draws them, if any.
    """

    program: str
    device: str
    dpi: str
    document: str
    folder: str
    output: str
    options: Tuple[str, ...]
    tag: str
    thumbnails: str = ""


def command(setup: Setup) -> List[str]:
    """The argument list of a warm Ghostscript that may read one document and write its own pages.

    What the name of the output matches, with ``*`` for its ``%d``, is permitted by itself, and nothing
    else in that folder (measured, Ghostscript 10.00).
    """
    return [
        setup.program,
        "-dSAFER",
        "-dNOPAUSE",
        "-dNOPROMPT",
        "-sSSHRENDER=" + setup.tag,
        "-sDEVICE=" + setup.device,
        "-r" + setup.dpi,
        *setup.options,
        "--permit-file-read=" + setup.document,
        "-sOutputFile=" + setup.folder + "/" + setup.output,
    ]


def literal(text: str) -> str:
    """``text`` as a PostScript hexadecimal string: nothing in it can end the string early."""
    return "<" + text.encode("utf-8").hex() + ">"


_HOOK = [
    "<< /EndPage { exch pop 2 ne dup",
    "  { userdict /SSHRENDERsize currentpagedevice /PageSize get put } if } >> setpagedevice",
]
"""EndPage is where a page's own size can be read: before the page it is the last one's, after it the
default's. It is called too when the device is left (reason 2), which is no page (PLRM 6.2.6), and
answers what PostScript's own default does."""


def open_lines(document: str, password: Optional[str], token: str) -> List[str]:
    """Open the document; answered by ``token`` and its number of pages."""
    lines = list(_HOOK)
    if password is not None:
        lines.append("/PDFPassword " + literal(password) + " def")
    lines += [
        "{ " + literal(document) + " (r) file runpdfbegin } stopped pop",
        _say(token) + " pdfpagecount == flush",
    ]
    return lines


def page_lines(number: int, token: str) -> List[str]:
    """Draw page ``number``; answered by ``token``, the pages shown before it, and its size in points.

    ``stopped`` proves nothing (it is false even for a page that does not exist), so its answer is
    thrown away.
    """
    return [
        "clear userdict /SSHRENDERsize null put",
        "userdict /SSHRENDERcount currentpagedevice /PageCount get put",
        "{ %d %d dopdfpages } stopped clear" % (number, number),
        _say(token) + " SSHRENDERcount =only ( ) print SSHRENDERsize == flush",
    ]


def thumbnail_setup_lines(device: str, output: str) -> List[str]:
    """Make a second, small device beside the one that draws the pages. Not answered.

    A copy: what finddevice answers is the very device that draws, where that is of the same name.

    ``output`` is the name of the thumbnails' files and holds ``%d``, as in Setup.
    """
    return [
        "userdict /SSHRENDERlarge currentdevice put",
        "{ userdict /SSHRENDERsmall /%s finddevice copydevice put" % device,
        "  mark /OutputFile %s /DownScaleFactor %d" % (literal(output), OVERSAMPLED),
        "  SSHRENDERsmall putdeviceprops pop } stopped clear",
    ]


def thumbnail_lines(number: int, page: int, token: str) -> List[str]:
    """Draw page ``number``, which was just drawn, once more on the small device.

    Answered by ``token``, PICTURE_MARK, ``page`` (what others call it), the thumbnails shown before
    it, and the milliseconds of CPU time that it took. Everything that the first drawing loaded is
    still there, which is why the second is cheap. The resolution is given to the device itself,
    because ``-r`` fixes that of setpagedevice. Leaving the large device forgets its page device
    dictionary, and with it the hook; its parameters stay.
    """
    return [
        "clear userdict /SSHRENDERtime usertime put userdict /SSHRENDERbefore 0 put",
        "SSHRENDERsize null ne {",
        "  { SSHRENDERsize aload pop 2 copy lt { exch } if pop",
        "    %d exch div dup 2 array astore userdict /SSHRENDERdpi 3 -1 roll put"
        % (OVERSAMPLED * THUMBNAIL * 72),
        "    mark /HWResolution SSHRENDERdpi SSHRENDERsmall putdeviceprops pop",
        "    SSHRENDERsmall setdevice",
        "    userdict /SSHRENDERbefore currentpagedevice /PageCount get put",
        "    %d %d dopdfpages" % (number, number),
        "  } stopped clear",
        "  SSHRENDERlarge setdevice",
        *_HOOK,
        "} if",
        _say(token + PICTURE_MARK)
        + " %d =only ( ) print SSHRENDERbefore =only ( ) print usertime SSHRENDERtime sub == flush"
        % page,
    ]


def seek_lines(number: int, token: str) -> List[str]:
    """Look up every page before ``number``.

    A page object that stands in the tree twice is found a second time only behind the pages before it
    (measured, Ghostscript 10.00).
    """
    return [
        "clear { 1 1 %d { pdfgetpage pop } for } stopped clear" % (number - 1),
        _say(token) + " 0 == flush",
    ]


def close_lines(token: str) -> List[str]:
    """Close the document; Ghostscript then tells which errors it met since it was opened."""
    return ["clear { runpdfend } stopped clear", _say(token) + " 0 == flush"]


def _say(token: str) -> str:
    return "(\\n" + token + " ) print"


class PageAnswer(NamedTuple):
    """What page_lines is answered with. ``size`` is None when no page came out."""

    shown: int
    size: Optional[Tuple[float, float]]


def parse_page_answer(value: str) -> PageAnswer:
    """``12 [595.0 842.0]``. Raises ValueError when it is anything else."""
    shown, _, size = value.partition(" ")
    match = _PAGE_SIZE.fullmatch(size.strip())
    if match is None:
        return PageAnswer(int(shown), None)
    return PageAnswer(int(shown), (float(match.group(1)), float(match.group(2))))


class Thumbnail(NamedTuple):
    """What thumbnail_lines is answered with. ``seconds`` of CPU time."""

    page: int
    shown: int
    seconds: float


def parse_thumbnail(value: str) -> Thumbnail:
    """``7 12 5``. Raises ValueError when it is anything else."""
    page, shown, milliseconds = value.split()
    return Thumbnail(int(page), int(shown), int(milliseconds) / 1000.0)


def parse_version(text: str) -> Optional[Tuple[int, ...]]:
    """``10.00.0`` as (10, 0, 0); None when no version is in the text."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return tuple(int(part) for part in match.groups() if part is not None)


def is_supported(version: Tuple[int, ...]) -> bool:
    """Whether a Ghostscript of this version may render (see MINIMUM_VERSION)."""
    return version[:2] >= MINIMUM_VERSION
