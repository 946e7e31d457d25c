"""Write and read what an output folder remembers: of which document its pages are, and how rendered.

``.sshrender-job.00000001`` in the folder is one JSON object. Where there are several, the highest number
counts. A file is put there whole by link(2), which lets one of several processes have a number, on every
NFS if the link count is checked afterwards (open(2), O_EXCL). So a folder passes from one job to another
at one moment, and a process that is killed leaves the old record or the new one.

Whoever can write into the folder can write such a file: it is read up to a limit, and checked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from sshrender.document.facts import MAX_PAGES
from sshrender.job.fieldpatterns import Digest, Name, Text
from sshrender.job.publish import CANNOT_LINK, REMOVED, page_name
from sshrender.job.spec import JobSpec, RenderSettings
from sshrender.renderers.devices import DEVICES
from sshrender.storage.files import MAX_RECORD_BYTES, file_mode, read_plain, sync_folder

PREFIX = ".sshrender-job."
_RECORD = re.compile(r"\.sshrender-job\.([0-9]{8})")
LAST_NUMBER = 99_999_999

_PAGE = re.compile(r"page-([0-9]{4,8})\.([A-Za-z0-9]{1,10})")
"""The names of publish.page_name."""

_LEFT = re.compile(rf"{re.escape(REMOVED)}[0-9a-f]{{32}}")
"""What a process left that was killed while it removed a page (publish.remove)."""

_EXTENSIONS = frozenset(device.extension for device in DEVICES.values())

_WHICH_PAGES = ("pages", "split")
"""Settings of a job that decide which pages it has and how it gets them, not how one looks."""

MAX_WORDS = 100
"""Characters of a name from a record in an error."""


class _Part(BaseModel):
    # Readers ignore fields that they do not know (docs/formats.md).
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Contents(_Part):
    """What the pages of a folder are of: a document with its number of ``pages``, and the settings.

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
    assembled: Annotated[tuple[Name, ...], Field(max_length=100)] = ()

    @classmethod
    def of(cls, spec: JobSpec) -> Self:
        """Return what a job's pages are of."""
        fields = spec.settings.model_dump(mode="json")
        made = [recipe.extension for recipe in spec.settings.recipes if not recipe.is_built_in]
        return cls(
            job=spec.name,
            document=spec.document.name,
            sha256=spec.document.sha256,
            pages=spec.document.pages,
            extension=made[0] if made else DEVICES[spec.settings.device].extension,
            settings={key: fields[key] for key in fields if key not in _WHICH_PAGES},
        )

    @property
    def is_known(self) -> bool:
        """Whether it is known of which document the pages are."""
        return bool(self.sha256)

    def is_same(self, other: Contents) -> bool:
        """Whether pages of both may lie in one folder: the same document, and the same settings."""
        is_document = self.is_known and self.sha256 == other.sha256
        return is_document and _complete(self.settings) == _complete(other.settings)

    def files_in(self, names: Iterable[str]) -> list[str]:
        """Return which of the names in a folder are pages of these contents, or were made of them."""
        return [name for name in names if self._has(name)]

    def _has(self, name: str) -> bool:
        found = _PAGE.fullmatch(name)
        if found is None:
            return name in self.assembled
        if not self.is_known:
            return is_page(name)
        number = int(found.group(1))
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
    """What a folder remembers. ``owner``: whose it is.

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
        """Whose pages the folder holds now."""
        return self.replaces or self.owner

    def encode(self) -> bytes:
        """Return it as it is stored."""
        fields = self.model_dump(mode="json")
        return (json.dumps({"schema": fields.pop("schema_"), **fields}, indent=1) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a folder. ``record`` is None without one, or if the newest is damaged.

    ``number``: of the newest record, 0 for none. ``older``: the numbers of others. ``names``: what is
    not a record.
    """

    number: int
    record: Record | None
    older: tuple[int, ...]
    names: tuple[str, ...]


def look(folder: Path) -> Found:
    """Return what is in an output folder, which may not exist yet. Raises OSError.

    The folder is listed, never asked name by name: NFS caches that a name was not there.
    """
    numbers, names = [], []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            found = _RECORD.fullmatch(entry.name)
            if found is not None:
                numbers.append(int(found.group(1)))
            else:
                names.append(entry.name)
    number = max(numbers, default=0)
    older = tuple(each for each in numbers if each != number)
    record = _read(path_of(folder, number)) if numbers else None
    return Found(number, record, older, tuple(names))


def path_of(folder: Path, number: int) -> Path:
    """Return the file of a record."""
    return folder / f"{PREFIX}{number:08d}"


def _read(path: Path) -> Record | None:
    """Return a record; None for one that is damaged, or of a later version. Raises OSError."""
    try:
        fields = json.loads(read_plain(path, MAX_RECORD_BYTES))
        text = json.dumps({**fields, "schema_": fields["schema"]})
        return Record.model_validate_json(text)  # where a list is a tuple, strictly
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP, errno.EFBIG, errno.EACCES, errno.ENXIO):
            return None
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def append(folder: Path, number: int, record: Record) -> bool:
    """Give the folder its next record; return whether this process got the number. Raises OSError."""
    path = path_of(folder, number)
    own = folder / f".sshrender-{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _write(os.open(own, flags, file_mode(folder)), record)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(own, path)
            is_ours = own.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            # No links here. O_EXCL gives the number to one process, too; a reader may see half a record
            # for a moment, and refuse the folder.
            try:
                _write(os.open(path, flags, file_mode(folder)), record)
            except FileExistsError:
                return False
            is_ours = True
    finally:
        own.unlink(missing_ok=True)
    sync_folder(folder)
    return is_ours


def _write(descriptor: int, record: Record) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(record.encode())
        file.flush()
        os.fsync(file.fileno())


def remove(folder: Path, numbers: Iterable[int]) -> None:
    """Remove records that do not count any more: their jobs notice that. Raises OSError."""
    for number in numbers:
        path_of(folder, number).unlink(missing_ok=True)


def is_page(name: str) -> bool:
    """Whether a file has the name of a page of any job."""
    found = _PAGE.fullmatch(name)
    return found is not None and found.group(2) in _EXTENSIONS


def is_left(name: str) -> bool:
    """Whether a file is what is left of the removal of a page."""
    return _LEFT.fullmatch(name) is not None


def _defaults() -> dict[str, Any]:
    """Return the settings that have a default, as they are stored."""
    usual = RenderSettings(device="png16m", dpi=1, pages="1").model_dump(mode="json")
    needed = {name for name, about in RenderSettings.model_fields.items() if about.is_required()}
    return {key: usual[key] for key in usual if key not in needed and key not in _WHICH_PAGES}


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
