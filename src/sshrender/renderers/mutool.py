"""The dialogue with a warm MuPDF: ``mutool run`` with a script of ours (mutoolscript.py).

If the script can replace all words of a recipe, which are those of ``mutool draw``, it renders the
pages, with the same pixels. With any other word ``mutool draw`` is run for each page.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import re
import struct
from typing import Dict, List, NamedTuple, Optional

from sshrender.renderers import recipe as recipes
from sshrender.renderers.dialogue import Dialogue, PageResult
from sshrender.renderers.encoders.png import chunk
from sshrender.renderers.ghostscript import FAR_AWAY, NEAR_BY, THUMBNAIL_MARK, Setup
from sshrender.renderers.mutoolscript import SCRIPT
from sshrender.renderers.recipe import Recipe

SCRIPT_NAME = "mutool.js"

COPY_NAME = "decrypted.pdf"
"""A copy of a document that has a password, for ``mutool draw``: it takes one in its arguments only."""

_CHARACTERS_PER_LINE = 24
"""Characters of a password in one line: at most eight bytes each, of 255 (mutoolscript.py)."""

_BEGINNING = ["mutool", "draw", "-q"]
_END = ["-o", "{output}", "{document}", "{page}"]

_MARK = re.compile(r"\(1[0-9]{6} 0 R\)")
"""Ends the lines that the script itself causes (mutoolscript.py)."""


class Look(NamedTuple):
    """The appearance of pages.

    ``antialias``: bits; empty: MuPDF's own. ``size``: ``WxH`` pixels to fit into.
    ``colours``: ``gray``; empty: RGB.
    """

    antialias: str = ""
    size: str = ""
    colours: str = ""


def look_of(recipe: Recipe) -> Optional[Look]:
    """Return the look that a recipe's words ask for; None if a warm MuPDF cannot replace them."""
    if recipe.shell or len(recipe.steps) != 1 or recipe.extension != "png":
        return None
    words = recipe.steps[0]
    # Between the fixed beginning and the fixed end there must be pairs of an option and its value.
    middle = words[len(_BEGINNING) : len(words) - len(_END)]
    if words != _BEGINNING + middle + _END or len(middle) % 2:
        return None
    found = dict(zip(middle[::2], middle[1::2]))
    # An option that is given twice would count once here, and mutool takes the last.
    if len(found) != len(middle) // 2:
        return None
    bits, dpi = found.pop("-A", ""), found.pop("-r", "")
    width, height = found.pop("-w", ""), found.pop("-h", "")
    colours = found.pop("-c", "")
    # Any other option is left to a run of its own.
    if found or colours not in ("", "gray") or (bits and re.fullmatch("[0-8]", bits) is None):
        return None
    # A resolution, or both sides of a size in pixels.
    if dpi == "{dpi}" and not width and not height:
        return Look(bits, "", colours)
    if not dpi and all(re.fullmatch("[1-9][0-9]{0,5}", side) for side in (width, height)):
        return Look(bits, "%sx%s" % (width, height), colours)
    return None


def has_written_page(command: List[str], status: int, lines: List[str]) -> bool:
    """Return whether ``mutool draw`` ended so because of errors in a page that it has written.

    It ends with 1 after any error in the contents, and says "cannot draw" if it gave up the page, and
    "Rendering failed" if it gave up everything, as without a place for the file (1.21, mudraw.c).
    Ghostscript ends with 0 after such errors, and so does the warm MuPDF.
    """
    is_draw = command[:2] == _BEGINNING[:2]
    has_given_up = any(line.startswith(("error: cannot draw", "Rendering failed")) for line in lines)
    return is_draw and status == 1 and bool(lines) and not has_given_up


class MutoolDialogue(Dialogue):
    """See Dialogue. ``recipe``: says which lines make a page suspect. ``password``: of the document."""

    name = "mutool"
    # The name gets the number of the page in its writer behind it, which is 1 (mutoolscript.py).
    output_suffix = ".1"

    def __init__(self, look: Look, recipe: Recipe, password: Optional[str] = None) -> None:
        self._look = look
        self._recipe = recipe
        self._password = password or ""

    def command(self, setup: Setup, scratch: str) -> List[str]:
        """See Dialogue.command. The numbers are in single precision, as MuPDF computes."""
        # 72: with a size in pixels the scale follows from the page, in the script.
        dpi = 72.0 if self._look.size else float(setup.dpi)
        return [
            "mutool",
            "run",
            scratch + "/" + SCRIPT_NAME,
            setup.document,
            # Twice rounded: MuPDF keeps the resolution in single precision and divides it in single
            # precision.
            repr(_single(_single(dpi) / 72)),
            self._look.size,
            # Empty words stay in their places: the script reads its arguments by position.
            self._look.antialias,
            repr(dpi),
            *self._places(setup),
            scratch + "/" + COPY_NAME,
            self._look.colours,
            # Read by no program: it names the job in the host's process list.
            setup.tag,
        ]

    def _places(self, setup: Setup) -> List[str]:
        """Return how the names of rasters and files begin, and how large rasters may be."""
        begin = setup.output.partition("%d")[0]
        words = ["%s/%s" % (setup.folder, begin)]
        if setup.raster is None:
            # Limits of 0: no raster is small enough, and the script writes files.
            return [*words, "", "0", "", "0"]
        for folder, limit in (
            (setup.raster.folder, setup.raster.limit),
            (setup.raster.large_folder, setup.raster.large_limit),
        ):
            words += ["%s/%s" % (folder, begin), str(limit)]
        return words

    def files(self) -> Dict[str, str]:
        """See Dialogue.files."""
        return {SCRIPT_NAME: SCRIPT}

    # The command line names the document. MuPDF encodes a password itself, so its characters are sent.
    def open_lines(
        self,
        setup: Setup,  # noqa: ARG002 - as Dialogue
        password: Optional[bytes],  # noqa: ARG002 - as Dialogue
        token: str,
    ) -> List[str]:
        """See Dialogue.open_lines."""
        codes = [str(ord(character)) for character in self._password]
        starts = range(0, len(codes), _CHARACTERS_PER_LINE)
        lines = ["password " + ",".join(codes[at : at + _CHARACTERS_PER_LINE]) for at in starts]
        return [*lines, "open " + token]

    def close_lines(self, token: str) -> List[str]:
        """See Dialogue.close_lines."""
        return ["close " + token]

    def page_lines(self, number: int, token: str) -> List[str]:
        """See Dialogue.page_lines."""
        return ["page %s %d" % (token, number)]

    def thumbnail_lines(self, number: int, page: int, token: str) -> List[str]:  # noqa: ARG002 - as Dialogue
        """See Dialogue.thumbnail_lines. Of the page before, if the script has written its file."""
        return ["thumbnail %s%s %d" % (token, THUMBNAIL_MARK, page)]

    def page_result(self, value: str, lines: List[str]) -> PageResult:  # noqa: ARG002 - the value says it
        """See Dialogue.page_result."""
        number, kind = value.split()
        is_declined = kind.startswith("declined")
        # The place where there is room for the page's raster, which is still to be made.
        if is_declined:
            kind = kind[len("declined") :].lstrip("-") or "declined"
        place = {"near": NEAR_BY, "far": FAR_AWAY}.get(kind)
        # Anything else is not an answer of our script.
        if place is None and kind not in ("file", "declined", "failed"):
            raise ValueError("%s: not an answer of the script" % kind)
        # Files are numbered from 1, like Ghostscript's.
        return PageResult(
            int(number) - 1,
            is_rendered=not is_declined and (place is not None or kind == "file"),
            place=place,
            is_to_be_encoded=place is not None,
            is_declined=is_declined,
        )

    def warnings(self, lines: List[str]) -> List[str]:
        """See Dialogue.warnings."""
        # The marks end the output of a page and are warnings of our own making.
        return recipes.warnings(self._recipe, (line for line in lines if not _MARK.search(line)))


def raster_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe for the raster of a page, with the pixels of the file that a recipe makes."""
    words = recipe.steps[0]
    # PNG files are RGB by default, and PAM files have an alpha channel then (mutool(1), draw).
    colours = [] if "-c" in words else ["-c", "rgb"]
    at = len(words) - len(_END)
    return recipe._replace(steps=[[*words[:at], *colours, "-F", "pam", *words[at:]]])


def is_resolution(dpi: str) -> bool:
    """Return whether this is one number: MuPDF has no second resolution."""
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", dpi) is not None


def resolution_chunk(look: Look, dpi: str) -> bytes:
    """Return the chunk pHYs as mutool writes it: whole pixels per metre (1.21, output-png.c)."""
    # The integer part of the resolution, as mutool itself does; a size in pixels counts as 72.
    per_metre = int((72 if look.size else int(float(dpi))) * 100 / 2.54 + 0.5)
    return chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))


def _single(number: float) -> float:
    """Return the nearest number of single precision."""
    # struct rounds to the nearest single, ties to even, as the processor does.
    return float(struct.unpack("f", struct.pack("f", number))[0])
