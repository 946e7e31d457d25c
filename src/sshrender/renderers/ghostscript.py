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


class Setup(NamedTuple):
    """What one Ghostscript process is started for.

    ``output`` is the name of every page's file and holds ``%d``, which the device replaces by the
    number of pages that it has shown, this one included; only with it is each file closed when its
    page ends, and PSD devices insist on it. ``options`` are further Ghostscript switches; ``tag``
    names the job in the host's process list.
    """

    program: str
    device: str
    dpi: str
    document: str
    folder: str
    output: str
    options: Tuple[str, ...]
    tag: str


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


def open_lines(document: str, password: Optional[str], token: str) -> List[str]:
    """Open the document; answered by ``token`` and its number of pages.

    EndPage is where a page's own size can be read: before the page it is the last one's, after it
    the default's. It is called too when the device is left (reason 2), which is no page (PLRM 6.2.6),
    and answers what PostScript's own default does.
    """
    lines = [
        "<< /EndPage { exch pop 2 ne dup",
        "  { userdict /SSHRENDERsize currentpagedevice /PageSize get put } if } >> setpagedevice",
    ]
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


def parse_version(text: str) -> Optional[Tuple[int, ...]]:
    """``10.00.0`` as (10, 0, 0); None when no version is in the text."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return tuple(int(part) for part in match.groups() if part is not None)


def is_supported(version: Tuple[int, ...]) -> bool:
    """Whether a Ghostscript of this version may render (see MINIMUM_VERSION)."""
    return version[:2] >= MINIMUM_VERSION
