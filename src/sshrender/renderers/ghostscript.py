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

NOWHERE = "/dev/null"

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_NUMBER = r"[-+0-9.eE]+"
_PAGE_SIZE = re.compile(r"\[\s*(" + _NUMBER + r")\s+(" + _NUMBER + r")\s*\]")


class Setup(NamedTuple):
    """What one Ghostscript process is started for.

    ``options`` are further Ghostscript switches; ``tag`` names the job in the host's process list.
    """

    program: str
    device: str
    dpi: str
    document: str
    folder: str
    options: Tuple[str, ...]
    tag: str


def command(setup: Setup) -> List[str]:
    """The argument list of a warm Ghostscript that may read one document and write one folder."""
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
        "--permit-file-write=" + setup.folder + "/",
        "-sOutputFile=" + NOWHERE,
    ]


def literal(text: str) -> str:
    """``text`` as a PostScript hexadecimal string: nothing in it can end the string early."""
    return "<" + text.encode("utf-8").hex() + ">"


def open_lines(document: str, password: Optional[str], token: str) -> List[str]:
    """Open the document; answered by ``token`` and its number of pages."""
    lines = []
    if password is not None:
        lines.append("/PDFPassword " + literal(password) + " def")
    lines += [
        "{ " + literal(document) + " (r) file runpdfbegin } stopped pop",
        _say(token) + " pdfpagecount == flush",
    ]
    return lines


def aim_lines(output: str, token: str) -> List[str]:
    """Send the next page to ``output``; answered by ``token`` and the pages that the device has shown.

    A ``%d`` in ``output`` becomes that number plus one (the device counts its own pages). EndPage is
    where the page's own size can be read: before the page it is the last one's, after it the
    default's. It is called with a reason too when the device is left (2), which is no page (PLRM
    6.2.6), and answers what PostScript's own default does.
    """
    return [
        "clear userdict /SSHRENDERsize null put << /OutputFile " + literal(output),
        "/EndPage { exch pop 2 ne dup",
        "  { userdict /SSHRENDERsize currentpagedevice /PageSize get put } if }",
        ">> setpagedevice",
        _say(token) + " currentpagedevice /PageCount get == flush",
    ]


def page_lines(number: int, token: str) -> List[str]:
    """Draw page ``number``, close its file; answered by ``token`` and the page's size in points.

    Setting another OutputFile is what closes the page's file. ``stopped`` proves nothing (it is false
    even for a page that does not exist), so its answer is thrown away.
    """
    return [
        "{ %d %d dopdfpages } stopped clear" % (number, number),
        "<< /OutputFile (" + NOWHERE + ") >> setpagedevice",
        _say(token) + " userdict /SSHRENDERsize get == flush",
    ]


def close_lines(token: str) -> List[str]:
    """Close the document; Ghostscript then tells which errors it met since it was opened."""
    return ["clear { runpdfend } stopped clear", _say(token) + " 0 == flush"]


def _say(token: str) -> str:
    return "(\\n" + token + " ) print"


def parse_page_size(answer: str) -> Optional[Tuple[float, float]]:
    """``[595.0 842.0]`` as (width, height) in points; None when it is anything else."""
    match = _PAGE_SIZE.fullmatch(answer.strip())
    if match is None:
        return None
    try:
        return float(match.group(1)), float(match.group(2))
    except ValueError:
        return None


def parse_version(text: str) -> Optional[Tuple[int, ...]]:
    """``10.00.0`` as (10, 0, 0); None when no version is in the text."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return tuple(int(part) for part in match.groups() if part is not None)


def is_supported(version: Tuple[int, ...]) -> bool:
    """Whether a Ghostscript of this version may render (see MINIMUM_VERSION)."""
    return version[:2] >= MINIMUM_VERSION
