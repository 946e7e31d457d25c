"""The record of an output folder: the document and the settings of its pages.

The folder has a record (outputrecordfiles.py), which is one JSON object. Of several the one with the
highest number counts, and one of several processes gets a number. So a folder passes from one job to
another at one moment, and a process that is killed leaves the old record or the new one.

Any process that can write into the folder can write a record: it is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from sshrender.document.facts import MAX_PAGES
from sshrender.job.fieldpatterns import Digest, Name, Text
from sshrender.job.output import outputrecordfiles
from sshrender.job.output.outputrecordfiles import Stored
from sshrender.job.output.publish import REMOVED, page_name
from sshrender.job.spec import JobSpec, RenderSettings
from sshrender.renderers.devices import DEVICES

_PAGE = re.compile(r"page-([0-9]{4,8})\.([A-Za-z0-9]{1,10})")
"""The names of publish.page_name."""

_LEFT = re.compile(rf"{re.escape(REMOVED)}[0-9a-f]{{32}}")
"""A file left by a process that was killed while it removed a page (publish.remove)."""

_EXTENSIONS = frozenset(device.extension for device in DEVICES.values())

_WHICH_PAGES = ("pages", "split")
"""Settings of a job that decide which pages it has and how it gets them, not how one looks."""

MAX_WORDS = 100
"""Characters of a name from a record in an error."""


_Assembled = Annotated[Name, Field(pattern=r"\.(pdf|tiff|zip|cbz)$")]
"""A file that ``--assemble`` makes: a forged record cannot have other files removed."""


class _Part(BaseModel):
    # Readers ignore fields that they do not know (docs/formats.md).
    # defer_build: a command that reads none builds none.
    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="ignore", strict=True, allow_inf_nan=False
    )


class Contents(_Part):
    """The origin of a folder's pages: a document with its number of ``pages``, and the settings.

    ``job`` is the first job that delivered them; other jobs of the same document and settings may have
    added pages. ``assembled``: names of files that ``--assemble`` made beside them. Without a document
    it stands for page files of unknown origin.
    """

    job: Text
    document: Text = ""
    sha256: Literal[""] | Digest = ""
    pages: int = Field(0, ge=0, le=MAX_PAGES)
    extension: str = Field("", pattern=r"^[A-Za-z0-9]{0,10}$")
    settings: dict[str, Any] = {}
    assembled: Annotated[tuple[_Assembled, ...], Field(max_length=100)] = ()

    @classmethod
    def of(cls, spec: JobSpec) -> Self:
        """Return the origin of a job's pages."""
        fields = spec.settings.model_dump(mode="json")
        made = [recipe.extension for recipe in spec.settings.recipes if not recipe.is_built_in]
        return cls(
            job=spec.name,
            document=spec.document.name,
            sha256=spec.document.sha256,
            pages=spec.document.pages,
            extension=made[0] if made else DEVICES[spec.settings.device].extension,
            # Which pages a job has makes no difference for one page: jobs with other page lists may
            # share a folder.
            settings={key: fields[key] for key in fields if key not in _WHICH_PAGES},
        )

    @property
    def is_known(self) -> bool:
        """Whether the document of the pages is known."""
        return bool(self.sha256)

    def is_same(self, other: Contents) -> bool:
        """Whether pages of both may be in one folder: the same document, and the same settings."""
        is_document = self.is_known and self.sha256 == other.sha256
        # Completed with defaults: a record of an earlier version lacks settings that came later.
        return is_document and _complete(self.settings) == _complete(other.settings)

    def files_in(self, names: Iterable[str]) -> list[str]:
        """Return which of the names in a folder are pages of these contents, or were made of them."""
        return [name for name in names if self._has(name)]

    def _has(self, name: str) -> bool:
        found = _PAGE.fullmatch(name)
        if found is None:
            return name in self.assembled
        if not self.is_known:
            # If the contents are unknown, every name of a page counts.
            return is_page(name)
        number = int(found.group(1))
        # Exactly the name that such a page has: ``page-00001.png`` is not one of a document of 20
        # pages.
        return 1 <= number <= self.pages and name == page_name(number, self.pages, self.extension)

    def in_words(self) -> str:
        """Return job, document and settings as a text for users."""
        if not self.is_known:
            return "an unknown document"
        settings = {key: _word(value) for key, value in _complete(self.settings).items()}
        shown = [settings.pop("device", ""), f"{settings.pop('dpi', '?')} dpi"]
        usual = {key: _word(value) for key, value in _defaults().items()}
        shown += [f"{key} {word}" for key, word in settings.items() if word != usual.get(key)]
        return f"job {_harmless(self.job)} ({_harmless(self.document)}, {', '.join(shown)})"


UNKNOWN = Contents(job="")
"""Files that have the names of pages, in a folder that has no record or a damaged one."""


class Record(_Part):
    """The record of a folder. ``owner``: the job that it belongs to.

    ``replaces``: whose pages the folder still holds: they are removed before the first page of the owner
    is delivered. ``is_adopted``: the folder was filled by a version that kept no record, so that files
    beside the pages may be of the owner, too.
    """

    schema_: Literal[1] = 1
    owner: Contents
    replaces: Contents | None = None
    is_adopted: bool = False

    @property
    def contents(self) -> Contents:
        """The owner of the pages that the folder holds now."""
        return self.replaces or self.owner

    def encode(self) -> bytes:
        """Return it as it is stored: without what is empty, as ext4 has little room for attributes."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({"schema": self.schema_, **fields}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Found:
    """The contents of a folder. ``newest``: the record that counts; None: there is none.

    ``record``: what it says; None for none, and for one that is damaged or of a later version.
    ``older``: others. ``names``: the files of the folder.
    """

    newest: Stored | None
    record: Record | None
    older: tuple[Stored, ...]
    names: tuple[str, ...]


def inspect(folder: Path) -> Found:
    """Return the contents of an output folder, which may not exist yet. Raises OSError."""
    stored, names = outputrecordfiles.find(folder)
    if not stored:
        return Found(None, None, (), tuple(names))
    *older, newest = stored
    return Found(newest, _decoded(outputrecordfiles.read(folder, newest)), tuple(older), tuple(names))


def _decoded(data: bytes) -> Record | None:
    try:
        fields = json.loads(data)
        text = json.dumps({**fields, "schema_": fields["schema"]})
        return Record.model_validate_json(text)  # strict mode takes a list as a tuple only in JSON
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def is_page(name: str) -> bool:
    """Whether a file has the name of a page of any job."""
    found = _PAGE.fullmatch(name)
    return found is not None and found.group(2) in _EXTENSIONS


def is_left(name: str) -> bool:
    """Return whether a file was left by the removal of a page."""
    return _LEFT.fullmatch(name) is not None


def _defaults() -> dict[str, Any]:
    """Return the settings that have a default, as they are stored."""
    return {
        name: to_jsonable_python(about.get_default(call_default_factory=True))
        for name, about in RenderSettings.model_fields.items()
        if not about.is_required() and name not in _WHICH_PAGES
    }


def _complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with those that did not exist when they were stored."""
    return {**_defaults(), **settings}


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return _word(value.get("name", "?"))
    if isinstance(value, (list, tuple)):
        return " ".join(_word(each) for each in value)
    return _harmless(f"{value:g}" if isinstance(value, float) else str(value))


def _harmless(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_WORDS])
