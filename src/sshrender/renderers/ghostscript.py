"""The command line of Ghostscript, the PostScript that a warm one reads, and what it answers.

Ghostscript is started without a final ``-`` (with it, Ghostscript waits for a full input buffer) and
reads PostScript from standard input, line by line. Every file name is relative to the job's folder, so
that no folder name needs PostScript's or Ghostscript's own quoting.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional, Tuple

MINIMUM_VERSION = (10, 0)
"""The oldest accepted Ghostscript. All measurements of its PDF interpreter in C are of it (Debian
12)."""

_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
# PostScript prints small and large numbers with an exponent.
_NUMBER = r"[-+0-9.eE]+"
_PAGE_SIZE = re.compile(r"\[\s*(" + _NUMBER + r")\s+(" + _NUMBER + r")\s*\]")


THUMBNAIL = 224
"""Pixels of a thumbnail's longer side."""

OVERSAMPLED = 3
"""A thumbnail is rendered this many times larger and averaged, because its text would be noise
otherwise. With 2, 3 and 4 it took 5, 7 and 8 % of the page's time (261-page manual, 150 dpi, png16m)."""

THUMBNAIL_MARK = "~"
"""Follows the token in the answer for a thumbnail."""


class RasterOutput(NamedTuple):
    """The place of rasters instead of pages' files, and their device.

    ``bits``: of a pixel. A raster of up to ``limit`` bytes goes to ``folder``, one of up to
    ``large_limit`` to ``large_folder``; a larger page is not rasterized. The folders are absolute, and
    their names need no quoting.
    """

    device: str
    bits: int
    folder: str
    limit: int
    large_folder: str
    large_limit: int


NEAR_BY, FAR_AWAY, TOO_LARGE = 0, 1, 2
"""The place of a raster: in ``folder``, in ``large_folder``, or nowhere."""


class Setup(NamedTuple):
    """The settings of one warm renderer, a process of Ghostscript unless its dialogue says otherwise.

    ``output``: the name of the pages' files, with ``%d``, which the device replaces by the number of
    pages that it has shown, this one included. Only with ``%d`` is a file closed at the end of its page,
    and PSD devices require it. ``options``: further Ghostscript switches. ``tag``: names the job in the
    host's process list. ``thumbnails``: the device for thumbnails; empty: none are made. ``files``: what
    the options name in the job's folder. ``profile``: the device's ICC profile, as the user named it;
    and the file, one of ``files``. ``raster``: renders rasters instead of the device's files.
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
    files: Tuple[str, ...] = ()
    profile: Optional[Tuple[str, str]] = None
    raster: Optional[RasterOutput] = None


def command(setup: Setup) -> List[str]:
    """Return the command line of a warm Ghostscript that may read one document and write its pages.

    The switch for the output permits writing the names that it matches, with ``*`` for ``%d``, and no
    other file in that folder (measured, Ghostscript 10.00).
    """
    return [
        setup.program,
        "-dSAFER",
        "-dNOPAUSE",
        # Neither a pause after each page (-dNOPAUSE) nor a prompt of the interpreter (-dNOPROMPT).
        "-dNOPROMPT",
        # No switch of Ghostscript has this name: it is only seen in the command line
        # (loadmeasurement.py).
        "-sSSHRENDER=" + setup.tag,
        "-sDEVICE=" + (setup.raster.device if setup.raster else setup.device),
        "-r" + setup.dpi,
        # The user's switches name neither device, resolution nor output (switches.py), so they replace
        # none of ours.
        *setup.options,
        # Beside Ghostscript's own files -dSAFER permits reading only what is listed here.
        *("--permit-file-read=" + name for name in (setup.document, *setup.files)),
        *_permit_large(setup),
        "-sOutputFile=" + output_name(setup, None),
    ]


def _permit_large(setup: Setup) -> List[str]:
    if setup.raster is None:
        return []
    # The command line permits only the pattern of OutputFile; the second folder needs this one.
    return ["--permit-file-write=" + output_name(setup, None, FAR_AWAY).replace("%d", "*")]


def output_name(setup: Setup, shown: Optional[int], place: int = NEAR_BY) -> str:
    """Return the name of the file of the page after ``shown`` pages; None: for all pages, with ``%d``.

    It is relative to the job's folder, or absolute if it is a raster.
    """
    folder = setup.folder
    if setup.raster is not None:
        folder = setup.raster.large_folder if place == FAR_AWAY else setup.raster.folder
    # Ghostscript counts from 1: the file of the first page has the number 1.
    return folder + "/" + (setup.output if shown is None else setup.output % (shown + 1))


def literal(text: str) -> str:
    """Return ``text`` as a PostScript hexadecimal string, which no character can end early."""
    return "<" + text.encode("utf-8").hex() + ">"


_STORE_PAGE = [
    "currentpagedevice userdict /SSHRENDERsize 2 index /PageSize get put",
    "dup /PageUsesTransparency known",
    "{ dup /PageUsesTransparency get userdict exch /SSHRENDERblends exch put } if",
]
"""Stores each page's size, and whether it has transparency (page_lines). Only EndPage can read them:
before a page the device has those of the last one, and after it the default ones. Leaves the device's
parameters on the stack, because asking for them takes 0.07 ms (measured, 10.00)."""

_STORE_PAGE_SIZE = ["<< /EndPage { exch pop 2 ne dup {", *_STORE_PAGE, "pop } if } >> setpagedevice"]
"""EndPage is also called when the device is deactivated (reason 2); that is not a page (PLRM 6.2.6).
The procedure returns what PostScript's own default returns."""


def _place_raster(setup: Setup, raster: RasterOutput) -> List[str]:
    """Return the lines that store each page's size, and choose the file of its raster by its bytes.

    They follow from PageSize, because HWSize is that of an earlier page here (measured, 10.00). The
    device opens its file only when EndPage has returned true (gdevprn.c), so that another name can be
    given to it here. For a page that is too large EndPage returns false: it has been interpreted by
    then, and is not rasterized.
    """
    # Hexadecimal strings: a folder's name may hold brackets, which would end a PostScript string.
    names = [literal(output_name(setup, None, place)) for place in (NEAR_BY, FAR_AWAY)]
    return [
        "<< /EndPage { exch pop 2 ne dup {",
        *_STORE_PAGE,
        # Area in square points, times resolution and bits, over 8 * 72 * 72: bytes of the raster.
        "    dup /PageSize get aload pop mul",
        "    exch /HWResolution get aload pop mul mul %d mul %d div" % (raster.bits, 8 * 72**2),
        # mul gives a real number if an integer would overflow (PLRM, 8.2).
        "    dup %d gt" % raster.large_limit,
        "    { pop pop userdict /SSHRENDERplace %d put false }" % TOO_LARGE,
        "    { %d gt { %s %d } { %s %d } ifelse" % (raster.limit, names[1], FAR_AWAY, names[0], NEAR_BY),
        "      userdict exch /SSHRENDERplace exch put",
        "      mark exch /OutputFile exch currentdevice putdeviceprops pop } ifelse } if",
        "  } >> setpagedevice",
    ]


def open_lines(
    document: str, password: Optional[bytes], token: str, setup: Optional[Setup] = None
) -> List[str]:
    """Return the lines that open the document. Answer: ``token`` and its number of pages."""
    lines = list(_STORE_PAGE_SIZE)
    # Either of the two sets EndPage; the second contains what the first does.
    if setup is not None and setup.raster is not None:
        lines = _place_raster(setup, setup.raster)
    if password is not None:
        # In hexadecimal digits: a password may hold any byte.
        lines.append("/PDFPassword <" + password.hex() + "> def")
    lines += [
        # ``stopped`` keeps the interpreter alive on a broken file.
        "{ " + literal(document) + " (r) file runpdfbegin } stopped pop",
        _print_token(token) + " pdfpagecount == flush",
    ]
    return lines


def page_lines(number: int, token: str) -> List[str]:
    """Return the lines that render page ``number``.

    Answer: ``token``, the number of pages shown before it, where its raster is, and its size in points.
    The result of ``stopped`` is dropped, because it says nothing: it is false even for a page that does
    not exist.

    Ghostscript sets on the device whether the page has transparency, and takes that back at its end. If
    that changes something, the device is opened again both times, and the transforms of CMYK colours are
    computed again: an eighth of the time of a manual's rasters (measured, 10.00). So the device is given
    before a page what the page before has set. Each page still sets its own.
    """
    return [
        # clear: an error of the page before may have left operands.
        "clear userdict /SSHRENDERsize null put userdict /SSHRENDERplace %d put" % NEAR_BY,
        # Read before the page, so that the number of the file is known even if the page fails.
        "currentpagedevice userdict /SSHRENDERcount 2 index /PageCount get put",
        "{ userdict /SSHRENDERblends known {",
        "  /PageUsesTransparency get SSHRENDERblends ne",
        "  { << /PageUsesTransparency SSHRENDERblends >> setpagedevice } if } if } stopped clear",
        "{ %d %d dopdfpages } stopped clear" % (number, number),
        # =only prints without a newline, and flush makes the line arrive now.
        _print_token(token) + " SSHRENDERcount =only (/) print SSHRENDERplace =only ( ) print"
        " SSHRENDERsize == flush",
    ]


def profile_lines(name: str, folder: str, file: str) -> List[str]:
    """Return the lines that give the device its ICC profile. There is no answer.

    PNG files contain the profile's name as it was given, a path of the user's machine. Ghostscript looks
    for the name below ICCProfilesDir first, so ``folder``, which ends in a slash, contains a link of
    that whole name. If that is not permitted, the profile has the name of its ``file``.
    """
    return [
        # The folder is put back at the end: Ghostscript finds its own profiles there.
        "userdict /SSHRENDERprofiles currentuserparams /ICCProfilesDir get put",
        "{ << /ICCProfilesDir %s >> setuserparams" % literal(folder),
        "  << /OutputICCProfile %s >> setpagedevice } stopped" % literal(name),
        "{ { << /OutputICCProfile %s >> setpagedevice } stopped" % literal(file),
        # Without the user's profile pages would have other colours, so the process ends.
        "  { (the device cannot use the profile of -sOutputICCProfile) = flush quit } if } if",
        "clear { << /ICCProfilesDir SSHRENDERprofiles >> setuserparams } stopped clear",
    ]


def thumbnail_setup_lines(device: str, output: str) -> List[str]:
    """Return the lines that make a second, small device for thumbnails. There is no answer.

    It is a copy of the prototype: when both have the same name, finddevice returns the very device that
    renders the pages, and a copy of a device that is open crashes. ``output``: the name of the
    thumbnails' files, with ``%d``, as in Setup.
    """
    return [
        # Kept by name, because setdevice needs it after each thumbnail.
        "userdict /SSHRENDERlarge currentdevice put",
        "{ userdict /SSHRENDERsmall /%s findprotodevice copydevice put" % device,
        "  mark /OutputFile %s /DownScaleFactor %d" % (literal(output), OVERSAMPLED),
        "  SSHRENDERsmall putdeviceprops pop } stopped clear",
    ]


def thumbnail_lines(number: int, page: int, token: str) -> List[str]:
    """Return the lines that render page ``number`` once more, on the small device.

    Answer: ``token``, THUMBNAIL_MARK, ``page`` (its number in the whole document), the thumbnails shown
    before it, and the milliseconds of CPU time that it took. It is cheap because fonts and contents are
    loaded already. The resolution is set on the device itself, because ``-r`` fixes the one of
    setpagedevice. Switching back to the large device loses its page device dictionary and with it the
    EndPage procedure, which is therefore set again; the device's parameters stay.
    """
    return [
        "clear userdict /SSHRENDERtime usertime put userdict /SSHRENDERbefore 0 put",
        # null: no page came out, so there is nothing to show small.
        "SSHRENDERsize null ne {",
        # The longer side decides, so that a thumbnail of any page has the same size.
        "  { SSHRENDERsize aload pop 2 copy lt { exch } if pop",
        "    %d exch div dup 2 array astore userdict /SSHRENDERdpi 3 -1 roll put"
        % (OVERSAMPLED * THUMBNAIL * 72),
        "    mark /HWResolution SSHRENDERdpi SSHRENDERsmall putdeviceprops pop",
        "    SSHRENDERsmall setdevice",
        "    userdict /SSHRENDERbefore currentpagedevice /PageCount get put",
        "    %d %d dopdfpages" % (number, number),
        "  } stopped clear",
        "  SSHRENDERlarge setdevice",
        *_STORE_PAGE_SIZE,
        "} if",
        _print_token(token + THUMBNAIL_MARK)
        # usertime is in milliseconds (PLRM).
        + " %d =only ( ) print SSHRENDERbefore =only ( ) print usertime SSHRENDERtime sub == flush"
        % page,
    ]


def seek_lines(number: int, token: str) -> List[str]:
    """Return the lines that look up every page before ``number``. Answer: ``token``.

    A page object that is in the page tree twice is found a second time only after the pages before it
    have been looked up (measured, Ghostscript 10.00).
    """
    return [
        "clear { 1 1 %d { pdfgetpage pop } for } stopped clear" % (number - 1),
        _print_token(token) + " 0 == flush",
    ]


def blank_page_lines(token: str) -> List[str]:
    """Return the lines that write a small blank page. Answer: ``token``."""
    return [
        "{ << /PageSize [9 9] >> setpagedevice showpage } stopped clear",
        _print_token(token) + " 0 == flush",
    ]


def close_lines(token: str) -> List[str]:
    """Return the lines that close the document. Answer: the summary of errors, then ``token``."""
    return ["clear { runpdfend } stopped clear", _print_token(token) + " 0 == flush"]


def _print_token(token: str) -> str:
    # A newline first: the token must begin a line, also after output of the document without one.
    return "(\\n" + token + " ) print"


class PageAnswer(NamedTuple):
    """The answer to page_lines. ``size``: in points; None when no page came out."""

    shown: int
    size: Optional[Tuple[float, float]]
    place: int = NEAR_BY


def parse_page_answer(value: str) -> PageAnswer:
    """Parse ``12/0 [595.0 842.0]`` or ``12/0 null``. Raises ValueError for anything else."""
    shown, _, size = value.partition(" ")
    shown, _, place = shown.partition("/")
    # ``null`` is what page_lines stores before the page: no size means that no page came out.
    match = _PAGE_SIZE.fullmatch(size.strip())
    if match is None:
        return PageAnswer(int(shown), None)
    return PageAnswer(int(shown), (float(match.group(1)), float(match.group(2))), int(place or NEAR_BY))


class Thumbnail(NamedTuple):
    """The answer to thumbnail_lines. ``seconds``: CPU time."""

    page: int
    shown: int
    seconds: float


def parse_thumbnail(value: str) -> Thumbnail:
    """Parse ``7 12 5``. Raises ValueError for anything else."""
    page, shown, milliseconds = value.split()
    return Thumbnail(int(page), int(shown), int(milliseconds) / 1000.0)


def parse_version(text: str) -> Optional[Tuple[int, ...]]:
    """Return ``10.00.0`` as (10, 0, 0); None when the text contains no version."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return tuple(int(part) for part in match.groups() if part is not None)


def is_supported(version: Tuple[int, ...]) -> bool:
    """Return whether a Ghostscript of this version is accepted."""
    return version[:2] >= MINIMUM_VERSION
