"""Recipes: other programs than the warm Ghostscript that draw a page, one run of them a page.

A step is a list of words in which fields stand in braces; nothing of it goes through a shell. A recipe
that asks for a shell gets the same fields as variables instead, so that no name can become a command.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sshrender.config.units import refuse_nul
from sshrender.config.validation import invalid

BUILT_IN = "ghostscript"
"""The warm Ghostscript: what draws where no recipe is named, and what may be fallen back to."""

FIELDS = {
    "document": "the PDF, or the part of it that holds the page",
    "page": "the page's number in that file",
    "number": "the page's number in the whole document",
    "dpi": "--dpi",
    "device": "--device",
    "output": "the file to write",
    "stem": "the same without its extension",
    "scratch": "a folder for what lies between two steps",
    "password_file": "a file that holds the password",
}

VERIFICATIONS = ("png", "jpeg", "tiff", "bmp", "pnm", "pcx", "psd", "pdf", "text", "xml", "any")
_PROOF_OF = {
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
"""What a file of such a name is proved to be, where the recipe does not say."""

Proof = Literal["png", "jpeg", "tiff", "bmp", "pnm", "pcx", "psd", "pdf", "text", "xml", "any"]
Words = Annotated[list[str], Field(min_length=1)]


class RecipeSettings(BaseModel):
    """One ``[recipes.NAME]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _refuse_nul = field_validator("extension", "shell", mode="before")(refuse_nul)

    command: Words | None = Field(None, description="program and arguments; fields in braces")
    steps: list[Words] | None = Field(None, min_length=1, description="several of them in a row")
    shell: str | None = Field(
        None, min_length=1, description="instead: a script for sh, fields as variables"
    )
    extension: str = Field(pattern=r"^[A-Za-z0-9]{1,10}$", description="of the files that it makes")
    proof: Proof | None = Field(None, description="what they must be; default: by the extension")
    complaints: str = Field("(?i)error|warning", description="lines of its that make a page suspect")
    fallback: list[str] = Field([], description="recipes for pages that this one cannot draw")

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if sum(each is not None for each in (self.command, self.steps, self.shell)) != 1:
            raise ValueError("one of command, steps and shell is needed, and only one")
        if self.proof is None and self.extension.lower() not in _PROOF_OF:
            raise ValueError(f"what a .{self.extension} is proved to be is not known: add proof")
        return self

    @field_validator("command", "steps")
    @classmethod
    def _fields_are_known(cls, value: Any) -> Any:
        for words in value if value and isinstance(value[0], list) else [value or []]:
            for word in words:
                check_fields(word)
        return value

    @field_validator("complaints")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        import re

        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    @property
    def format(self) -> str:
        """The proof."""
        return self.proof or _PROOF_OF[self.extension.lower()]

    def as_sent(self, name: str) -> dict[str, Any]:
        """What a job remembers, and a runner is told."""
        steps = self.steps or ([self.command] if self.command is not None else [])
        return {
            "name": name,
            "steps": [list(words) for words in steps],
            "shell": self.shell or "",
            "extension": self.extension,
            "format": self.format,
            "complaints": self.complaints,
        }


def check_fields(word: str) -> None:
    """Raises ValueError for a field that is not known, or braces that do not match."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(word) if name is not None]
    except ValueError as error:
        raise ValueError(f"{word}: {error}") from None
    for name in names:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f" (did you mean {{{near[0]}}}?)" if near else ""
            raise ValueError(f"{word}: there is no field {{{name}}}{hint}; a brace itself is {{{{")


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
"""Ready to use. mupdf-tools and poppler-utils have to be on the hosts."""


def chain(name: str | None, fallback: Iterable[str], own: Mapping[str, RecipeSettings]) -> list[str]:
    """The recipes to be tried, in order, without the built-in one if it is alone. Raises UserError."""
    known = {**SHIPPED, **own}
    first = name or BUILT_IN
    further = list(fallback)
    if not further and first in known:
        further = known[first].fallback
    names = list(dict.fromkeys([first, *further]))
    for each in names:
        if each != BUILT_IN and each not in known:
            near = difflib.get_close_matches(each, [*known, BUILT_IN], n=1)
            hint = f" (did you mean {near[0]}?)" if near else f": there are {', '.join(known)}"
            raise invalid([f"no recipe is called {each}{hint}"])
    return [] if names == [BUILT_IN] else names


def as_sent(names: Iterable[str], own: Mapping[str, RecipeSettings]) -> list[dict[str, Any]]:
    """The recipes of a chain as jobs and runners have them; the built-in one has no steps."""
    known = {**SHIPPED, **own}
    return [known[name].as_sent(name) if name in known else {"name": name} for name in names]
