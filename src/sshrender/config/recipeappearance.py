"""Says how each recipe does what ``--antialias``, ``--box`` and the like ask for, or that it cannot.

The recipes that come with the program get words for it. A user's own recipe does it by a field in
braces, and is refused if it has none: pages that silently look otherwise would be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sshrender.renderers.appearance import Appearance


@dataclass(frozen=True, slots=True)
class AppearanceRequest:
    """The options that the user gave. Empty ``antialias`` and ``box``, and None elsewhere: not given.

    ``dpi`` is set if both directions differ, ``size`` is in pixels. ``device``: empty for the default.
    """

    antialias: str = ""
    box: str = ""
    dpi: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    jpeg_quality: int | None = None
    gs_options: bool = False
    device: str = ""

    def options(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return each option given: as typed, its name, and the fields that a recipe needs for it."""
        found: list[tuple[str, str, tuple[str, ...]]] = []
        if self.antialias:
            found.append((f"--antialias {self.antialias}", "antialias", ("antialias",)))
        if self.box:
            found.append((f"--box {self.box}", "box", ("box",)))
        if self.dpi is not None:
            found.append(("--dpi {:g}x{:g}".format(*self.dpi), "dpi", ("dpi_x", "dpi_y")))
        if self.size is not None:
            found.append(("--size", "size", ("width", "height")))
        if self.jpeg_quality is not None:
            found.append((f"--jpeg-quality {self.jpeg_quality}", "jpeg_quality", ("jpeg_quality",)))
        if self.gs_options:
            # No recipe can have switches of Ghostscript.
            found.append(("--gs-option", "gs_options", ()))
        if self.device:
            found.append((f"--device {self.device}", "device", ()))
        return found


class NoEqual(ValueError):
    """A recipe cannot do what an option asks for. ``option``: as typed; ``can``: values that work."""

    def __init__(self, option: str, recipe: str, can: Iterable[str] = ()) -> None:
        only = f", only of {' and '.join(can)}" if can else ""
        super().__init__(f"{option}: recipe {recipe} has no equal of it{only}")
        self.option = option


# MuPDF takes the number of bits; 0 is none.
_MUTOOL_BITS = {"none": "0", "2": "2", "4": "4"}
_POPPLER_YES = {"none": "no", "4": "yes"}
"""pdftoppm(1) smooths by 4 x 4 or not at all (SplashTypes.h, splashAASize)."""


DEFAULT_DEVICE = "png16m"
DEVICES = {
    "mutool": {DEFAULT_DEVICE: [], "pnggray": ["-c", "gray"]},
    "pdftoppm": {DEFAULT_DEVICE: [], "pnggray": ["-gray"], "pngmono": ["-mono"]},
}
"""The words with which each recipe makes the kind of image that a device of Ghostscript makes."""


def _mutool(request: AppearanceRequest, name: str) -> list[str]:
    """Return what replaces ``-r {dpi}`` (mutool(1), draw)."""
    if name == "antialias":
        return ["-r", "{dpi}", "-A", _MUTOOL_BITS[request.antialias]]
    if name == "box" and request.box == "crop":  # it renders the CropBox, and 1.21 nothing else
        return ["-r", "{dpi}"]
    if name == "size" and request.size is not None:  # with -r they would only be upper bounds
        return ["-w", str(request.size[0]), "-h", str(request.size[1])]
    # KeyError: no equal; adapted() turns it into an error with the option's name.
    raise KeyError(name)


def _pdftoppm(request: AppearanceRequest, name: str) -> list[str]:
    """Return what replaces ``-r {dpi}`` (pdftoppm(1))."""
    if name == "antialias":
        # KeyError for "2", which pdftoppm does not have.
        how = _POPPLER_YES[request.antialias]
        return ["-r", "{dpi}", "-aa", how, "-aaVector", how]
    if name == "box" and request.box in ("media", "crop"):  # the MediaBox is its default
        return ["-r", "{dpi}", *(["-cropbox"] if request.box == "crop" else [])]
    if name == "dpi" and request.dpi is not None:
        return ["-rx", f"{request.dpi[0]:g}", "-ry", f"{request.dpi[1]:g}"]
    raise KeyError(name)


_WORDS = {"mutool": _mutool, "pdftoppm": _pdftoppm}
_RESOLUTION = ["-r", "{dpi}"]


def adapted(
    fields: Mapping[str, Any], request: AppearanceRequest, *, is_shipped: bool
) -> dict[str, Any]:
    """Return a recipe, as jobs record it, that does what was asked for. Raises NoEqual."""
    # The words for the resolution; every other option either follows them or takes their place.
    recipe, words = str(fields["name"]), list(_RESOLUTION)
    found = dict(fields)
    for option, name, needed in request.options():
        if not is_shipped:
            # All fields: a recipe that uses the width and ignores the height does not do what was asked
            # for. The device may be meant for Ghostscript, in the same chain.
            if name == "device":
                continue
            if not needed or not all(uses(fields, field) for field in needed):
                raise NoEqual(option, recipe)
            continue
        if name == "device":
            # It is the last one, so these words follow those of the resolution.
            words += _of_device(request.device, recipe)
            continue
        try:
            more = _WORDS[recipe](request, name)
        except KeyError:
            raise NoEqual(option, recipe) from None
        # The invariant of the loop: ``words`` begins with the words for the resolution or the size.
        words = [*words, *more[2:]] if more[:2] == _RESOLUTION else [*more, *words[2:]]
    # Unchanged recipes stay as they are, so that their jobs keep their names.
    if is_shipped and words != _RESOLUTION:
        found["steps"] = [_with_words(step, words) for step in fields["steps"]]
    return found


def _of_device(device: str, recipe: str) -> list[str]:
    """Return the words with which a recipe makes what a device makes. Raises NoEqual."""
    known = DEVICES[recipe]
    if device not in known:
        raise NoEqual(f"--device {device}", recipe, known)
    return known[device]


def _with_words(step: list[str], words: list[str]) -> list[str]:
    # Recipes of the program have "-r" once.
    at = step.index("-r")
    return [*step[:at], *words, *step[at + 2 :]]


def uses(fields: Mapping[str, Any], field: str) -> bool:
    """Return whether a recipe refers to a field of a page."""
    if fields.get("shell"):
        # As Recipe.uses (renderers/recipe.py), of a recipe that is still a table.
        return re.search(rf"\$\{{?{field}\b", fields["shell"]) is not None
    return any(f"{{{field}}}" in word for step in fields.get("steps", ()) for word in step)


def page_fields(dpi: float, look: Appearance) -> dict[str, str]:
    """Return the values of those fields, as a runner fills them in."""
    width, height = look.size or (0, 0)
    return {
        "dpi_x": f"{dpi:g}",
        "dpi_y": f"{look.vertical_dpi or dpi:g}",
        "antialias": str(look.antialias),
        "box": look.box or "media",
        "width": str(width),
        "height": str(height),
        # 75 is the default of libjpeg and of Ghostscript (Devices.htm, JPEGQ).
        "jpeg_quality": str(75 if look.jpeg_quality is None else look.jpeg_quality),
    }
