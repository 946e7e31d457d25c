"""Check recipes: programs that render pages instead of the warm Ghostscript, one run for each page.

A step is a list of words with fields in braces, and does not go through a shell. A recipe that asks for
a shell gets the fields as variables, so that a file's name cannot become a command.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sshrender.config.recipeappearance import AppearanceRequest, adapted
from sshrender.config.units import refuse_nul
from sshrender.config.validation import invalid

BUILT_IN = "ghostscript"
"""The name of the warm Ghostscript, which renders without a recipe and may be a fallback."""

FIELDS = {
    "document": "the PDF, or the part of it that holds the page",
    "page": "the page's number in that file",
    "number": "the page's number in the whole document",
    "dpi": "--dpi",
    "dpi_x": "the horizontal resolution, if --dpi has two",
    "dpi_y": "the vertical one",
    "device": "--device",
    "antialias": "bits of smoothing: 0, 2 or 4",
    "box": "--box: media, crop, trim, bleed or art",
    "width": "pixels of --size; 0 without it",
    "height": "as width",
    "jpeg_quality": "--jpeg-quality",
    "output": "the file to write",
    "stem": "that file without its extension",
    "scratch": "a folder for files between two steps",
    "password_file": "a file that holds the password",
}

Format = Literal["png", "jpeg", "tiff", "bmp", "pnm", "pcx", "psd", "pdf", "text", "xml", "any"]
VERIFICATIONS = get_args(Format)
"""The formats that an output file can be verified to have (job/verification)."""

_FORMATS = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "tif": "tiff",
    "tiff": "tiff",
    "bmp": "bmp",
    "ppm": "pnm",
    "pgm": "pnm",
    "pbm": "pnm",
    "pam": "pnm",
    "pdf": "pdf",
    "txt": "text",
    "svg": "xml",
    "hocr": "xml",
    "xml": "xml",
}
"""The format of a file by its extension, unless the recipe names it."""

Words = Annotated[list[str], Field(min_length=1)]


class RecipeSettings(BaseModel):
    """The keys of ``[recipes.NAME]``."""

    # defer_build: a command that reads none builds none.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)
    _refuse_nul = field_validator("extension", "shell", mode="before")(refuse_nul)

    command: Words | None = Field(None, description="program and arguments, with fields in braces")
    steps: list[Words] | None = Field(
        None, min_length=1, description="several commands, run in this order"
    )
    shell: str | None = Field(
        None, min_length=1, description="a script for sh instead, with the fields as variables"
    )
    extension: str = Field(pattern=r"^[A-Za-z0-9]{1,10}$", description="extension of the output files")
    format: Format | None = Field(None, description="their file format; default: that of the extension")
    warnings: str = Field(
        "(?i)error|warning", description="lines of output that match this make a page suspect"
    )
    fallback: list[str] = Field([], description="recipes for pages that this one cannot render")

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if sum(each is not None for each in (self.command, self.steps, self.shell)) != 1:
            raise ValueError("exactly one of command, steps and shell is needed")
        # Verification needs to know the format.
        if self.format is None and self.extension.lower() not in _FORMATS:
            raise ValueError(f"the format of .{self.extension} files is not known: add format")
        return self

    @field_validator("command", "steps")
    @classmethod
    def _fields_are_known(cls, value: Any) -> Any:
        # ``command`` is one list of words, ``steps`` a list of such lists.
        for words in value if value and isinstance(value[0], list) else [value or []]:
            for word in words:
                check_fields(word)
        return value

    @field_validator("warnings")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        import re

        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    def as_sent(self, name: str) -> dict[str, Any]:
        """Return the recipe as jobs record it and runners get it."""
        # One command is a recipe of one step.
        steps = self.steps or ([self.command] if self.command is not None else [])
        return {
            "name": name,
            "steps": [list(words) for words in steps],
            "shell": self.shell or "",
            "extension": self.extension,
            # The format is recorded, so that a later release with other defaults verifies the same.
            "format": self.format or _FORMATS[self.extension.lower()],
            "complaints": self.warnings,
        }


def check_fields(word: str) -> None:
    """Raise ValueError for an unknown field, or for braces that do not match."""
    try:
        # Formatter.parse knows doubled braces, so ``{{`` is no field.
        names = [name for _, name, _, _ in string.Formatter().parse(word) if name is not None]
    except ValueError as error:
        raise ValueError(f"{word}: {error}") from None
    for name in names:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f" (did you mean {{{near[0]}}}?)" if near else ""
            raise ValueError(f"{word}: unknown field {{{name}}}{hint}; write {{{{ for a brace")


SHIPPED = {
    "mutool": RecipeSettings(
        command=["mutool", "draw", "-q", "-r", "{dpi}", "-o", "{output}", "{document}", "{page}"],
        extension="png",
    ),
    "pdftoppm": RecipeSettings(
        command=[
            *("pdftoppm", "-png", "-singlefile", "-r", "{dpi}"),
            *("-f", "{page}", "-l", "{page}", "{document}", "{stem}"),
        ],
        extension="png",
    ),
}
"""Recipes that need no configuration. Hosts need Debian's mupdf-tools or poppler-utils for them."""


def chain(name: str | None, fallback: Iterable[str], own: Mapping[str, RecipeSettings]) -> list[str]:
    """Return the recipes to try, in order; none if only the built-in one is used. Raises UserError."""
    # A user's own recipe replaces one of the program that has the same name.
    known = {**SHIPPED, **own}
    first = name or BUILT_IN
    further = list(fallback)
    # The recipe's own fallbacks, unless the command names others.
    if not further and first in known:
        further = known[first].fallback
    # dict.fromkeys: a recipe that is its own fallback is tried once.
    names = list(dict.fromkeys([first, *further]))
    for each in names:
        if each != BUILT_IN and each not in known:
            near = difflib.get_close_matches(each, [*known, BUILT_IN], n=1)
            hint = f" (did you mean {near[0]}?)" if near else f"; there are {', '.join(known)}"
            raise invalid([f"unknown recipe {each}{hint}"], "sshrender config values recipe")
    # Ghostscript alone is not a chain: jobs without recipes stay the same jobs.
    return [] if names == [BUILT_IN] else names


def as_sent(
    names: Iterable[str], own: Mapping[str, RecipeSettings], request: AppearanceRequest | None = None
) -> list[dict[str, Any]]:
    """Return the recipes of a chain as jobs and runners have them; the built-in one has no steps.

    ``request``: what the pages are to look like. Raises NoEqual.
    """
    known, request = {**SHIPPED, **own}, request or AppearanceRequest()
    return [
        # The words of the program's own recipes fit only those; a user's recipe of that name has its
        # own.
        adapted(known[name].as_sent(name), request, is_shipped=name not in own)
        if name in known
        else {"name": name}
        for name in names
    ]
