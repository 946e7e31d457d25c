"""Write and read ``job.json``: what to render. It is written once, and every later run uses it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sshrender.config import keyfile
from sshrender.config import recipes as recipe_forms
from sshrender.document import pagelist
from sshrender.document.facts import MAX_PAGES
from sshrender.errors import ExitCode, UserError
from sshrender.job import iccprofiles, signature
from sshrender.job.fieldpatterns import Digest, Moment, Name, Text, in_words
from sshrender.job.folder import JobFolder
from sshrender.job.signature import Purpose
from sshrender.renderers import switches
from sshrender.renderers.appearance import Appearance
from sshrender.renderers.devices import DEVICES
from sshrender.renderers.mutool import look_of
from sshrender.renderers.recipe import Recipe
from sshrender.storage.files import read_plain, write_whole

MAX_STEM, MAX_STEM_BYTES = 80, 200
"""Most characters and bytes of a document's name in a job's name: a file name has at most 255 bytes."""


SCHEMA = 1
"""Version of ``job.json``."""

_JOB_NAME = re.compile(r"[\w+][\w.+-]*-[0-9a-f]{8}")
"""The form of a job's name (job_name). Only such names are shown or used in commands."""

_PAGES = re.compile(r"[0-9]{1,8}(-[0-9]{1,8})?(,[0-9]{1,8}(-[0-9]{1,8})?)*")
"""The form of a canonical page list (pagelist.canonical)."""


PixelCount = Annotated[int, Field(ge=1, le=65_000)]
"""Pixels of a side (config/pagesizes.py)."""


class _Frozen(BaseModel):
    # forbid: an unknown field may change how pages look. Attributes ignore them.
    # defer_build: a command that reads none builds none.
    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


class DocumentRecord(_Frozen):
    """The document as it was when the job was made. ``pages`` counts the whole document."""

    name: Annotated[Text, Field(min_length=1, pattern=r"^[^/]*$")]
    bytes: int = Field(ge=0, lt=1 << 62)
    sha256: Digest
    pages: int = Field(ge=1, le=MAX_PAGES)
    needs_password: bool = False


class RecipeRecord(_Frozen):
    """A way to render a page (config/recipes.py), as it was when the job was made.

    One without an extension is the built-in one.
    """

    name: Text
    steps: tuple[tuple[Text, ...], ...] = ()
    shell: str = ""
    extension: str = Field("", pattern=r"^[A-Za-z0-9]{0,10}$")
    format: str = ""
    complaints: str = ""

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, value: str) -> str:
        # A format without a verification would let any file pass.
        if value and value not in recipe_forms.VERIFICATIONS:
            raise ValueError("a recipe makes files of a known kind")
        return value

    @field_validator("steps")
    @classmethod
    def _fields_are_known(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for words in value:
            if not words:
                raise ValueError("a step has words")
            for word in words:
                recipe_forms.check_fields(word)
        return value

    @field_validator("shell", "complaints")
    @classmethod
    def _has_no_nul(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("it holds a NUL byte")
        return value

    @property
    def is_of_mutool(self) -> bool:
        """Whether a warm MuPDF renders its pages."""
        recipe = None if self.is_built_in else Recipe.of(self.model_dump(mode="json"))
        return recipe is not None and look_of(recipe) is not None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return the record of a recipe of the configuration."""
        steps = tuple(tuple(words) for words in fields.get("steps", ()))
        return cls(**{**fields, "steps": steps})

    @property
    def is_built_in(self) -> bool:
        """Whether the warm Ghostscript renders."""
        return not self.extension

    def uses(self, field: str) -> bool:
        """Whether the recipe contains a field of a page."""
        return f"{{{field}}}" in str(self.steps) or field in self.shell


class RenderSettings(_Frozen):
    """The settings that decide how pages look: part of the job's identity. ``pages``: a canonical list.

    ``recipes`` are tried in this order; none: Ghostscript renders. The fields of an Appearance are as
    there (renderers/appearance.py). ``options`` are further switches of Ghostscript; an ICC profile that
    one names is a file in the job's folder (iccprofiles.py). ``profile_name``: how the user named the
    one of the device, which PNG files contain. ``encoder``: what makes PNG files of rasters
    (renderers/encoding.py); one that is not recorded is ``auto``: the pixels are the same.
    """

    device: str
    dpi: float = Field(gt=0, le=14400, allow_inf_nan=False)
    vertical_dpi: float = Field(0, ge=0, le=14400, allow_inf_nan=False)
    antialias: Literal[0, 2, 4] = 0
    box: Literal["", "media", "crop", "trim", "bleed", "art"] = ""
    jpeg_quality: int | None = Field(None, ge=0, le=100)
    size: tuple[PixelCount, PixelCount] | None = None
    pages: str
    split: int = Field(0, ge=0, le=MAX_PAGES)
    options: tuple[Text, ...] = ()
    profile_name: str = Field("", max_length=switches.MAX_LENGTH)
    recipes: tuple[RecipeRecord, ...] = ()
    encoder: Literal["auto", "ghostscript"] = "auto"

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, name: str) -> str:
        # DEVICES has only devices that write one file for each page.
        if name not in DEVICES:
            raise ValueError("the device is not a raster device that writes one file a page")
        return name

    @field_validator("options")
    @classmethod
    def _options_set_parameters(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for _, name in switches.profiles(options):
            # A path in a switch would name a file of each host.
            if iccprofiles.NAME.fullmatch(name) is None:
                raise ValueError("an option names a profile that is not in the job's folder")
        return options

    @field_validator("profile_name")
    @classmethod
    def _profile_name_stays_below(cls, name: str) -> str:
        # The name becomes part of a path on hosts.
        if not name.isprintable() or ".." in name.split("/") or name.endswith("/"):
            raise ValueError("the name of a profile is a path without ..")
        return name

    @property
    def output_profile(self) -> tuple[str, str] | None:
        """The name that the user gave to the device's profile, and its file; None if there is none."""
        file = switches.output_profile(self.options)
        return (self.profile_name, file) if self.profile_name and file else None

    @property
    def sent_options(self) -> tuple[str, ...]:
        """The switches for the command line: without the profile that is set by its user's name."""
        return switches.without_output_profile(self.options) if self.output_profile else self.options

    @property
    def appearance(self) -> Appearance:
        """The appearance of the pages, apart from device and resolution."""
        return Appearance(**{name: getattr(self, name) for name in Appearance._fields})

    @property
    def resolutions(self) -> tuple[float, float]:
        """The horizontal and the vertical resolution of the files, in dots per inch."""
        shrink = switches.downscale(self.options)
        return self.dpi / shrink, (self.vertical_dpi or self.dpi) / shrink


class JobSpec(_Frozen):
    """A job."""

    schema_: Literal[1] = 1
    name: Name
    created: Moment
    document: DocumentRecord
    settings: RenderSettings
    id: str = Field("", pattern=r"^([0-9a-f]{32})?$")
    """Random, so that a signature for a job is not valid for a later job of the same name."""

    @model_validator(mode="after")
    def _pages_are_of_the_document(self) -> Self:
        """Check the page list without expanding it: a file that a host wrote may claim millions."""
        pages = self.settings.pages
        if _PAGES.fullmatch(pages) is None:
            raise ValueError("the page list is not in its shortest form")
        numbers = [int(number) for number in re.findall("[0-9]+", pages)]
        if not 1 <= min(numbers) <= max(numbers) <= self.document.pages:
            raise ValueError("the page list names a page that the document does not have")
        # Ascending numbers without repetition: also the two ends of a range.
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise ValueError("the page list names a page twice")
        return self

    def save(self, folder: JobFolder) -> None:
        """Write ``job.json``, signed. Raises UserError or OSError.

        It is not signed if the key ends with this process: then the next render of the document may
        write it again (coordinator/unsignedjobs.py), while a MAC by an unknown key would be refused for
        ever.
        """
        fields = self.model_dump(mode="json")
        fields = {"schema": fields.pop("schema_"), **fields}
        if not keyfile.is_in_memory():
            fields = signature.signed(folder, Purpose.JOB, fields)
        # Written last of a job's files (coordinator/jobopening.py).
        write_whole(folder.spec, (json.dumps(fields, indent=1) + "\n").encode())


def require_pages(spec: JobSpec, numbers: Iterable[int]) -> None:
    """Raise UserError for a page of the document that the job does not render."""
    own = set(pagelist.parse(spec.settings.pages, spec.document.pages))
    foreign = sorted(set(numbers) - own)
    if foreign:
        noun = "page" if len(foreign) == 1 else "pages"
        raise UserError(
            ExitCode.USAGE,
            f"{spec.name} does not render {noun} {pagelist.canonical(foreign)}",
            f"its pages are {spec.settings.pages}: sshrender status {shlex.quote(spec.name)}",
        )


def job_name(stem: str, sha256: str, settings: RenderSettings) -> str:
    """Return ``<stem>-<8 hexadecimal digits>`` of a digest over document and settings."""
    fields = settings.model_dump(mode="json")
    for name in ("recipes", "profile_name", "encoder", *Appearance._fields):
        # Jobs keep the names that they had before there was such a setting.
        if fields[name] in (RenderSettings.model_fields[name].get_default(), []):
            del fields[name]
    # sort_keys: the name must not depend on the order of the fields.
    identity = json.dumps([sha256, fields], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"{safe_stem(stem)}-{digest[:8]}"


def safe_stem(stem: str) -> str:
    """Return a document's name as part of a folder's name, harmless in a shell, a terminal or a path."""
    safe = re.sub(r"[^\w.+-]+", "_", stem)[:MAX_STEM]
    # Cut by bytes; a character that is cut in the middle is left out.
    short = safe.encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    return short.strip("._-") or "document"


def load_spec(folder: JobFolder) -> JobSpec | None:
    """Return the job in this folder; None when there is none. Raises UserError when it is damaged.

    For readers: every machine that has the owner's user could have written it.
    """
    return _load(folder, is_run=False)


def load_signed_spec(folder: JobFolder) -> JobSpec | None:
    """Return the job of this folder, to be run; None when there is none.

    Raises UserError if it is damaged, not signed with this user's key, or not the one that the folder is
    named after.
    """
    return _load(folder, is_run=True)


def _load(folder: JobFolder, *, is_run: bool) -> JobSpec | None:
    try:
        fields = json.loads(read_plain(folder.spec))
        signature.require_schema(folder.spec, fields, SCHEMA)
        # ``schema`` is a reserved name in pydantic: the field is schema_.
        bare = {name: value for name, value in fields.items() if name not in ("schema", signature.FIELD)}
        text = json.dumps({**bare, "schema_": fields["schema"]})
        spec = JobSpec.model_validate_json(text)  # strict mode takes a list as a tuple only in JSON
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder.spec, in_words(error)) from None
    if spec.name != folder.name or _JOB_NAME.fullmatch(spec.name) is None:
        raise damaged(folder.spec, "it describes another job than its name")
    if is_run:
        # After the form was checked, so that ``fields`` is an object.
        signature.require(folder, Purpose.JOB, fields, folder.spec)
        check_name(folder, spec)
    return spec


def require_signed_spec(folder: JobFolder) -> str:
    """Return the job's id.

    Raises UserError if ``job.json`` is damaged or not signed with this user's key, or OSError. A process
    whose key is in memory has written its job unsigned (JobSpec.save): there the id counts.
    """
    try:
        fields = json.loads(read_plain(folder.spec))
        # First: a newer version may sign in another way.
        signature.require_schema(folder.spec, fields, SCHEMA)
        if not keyfile.is_in_memory():
            signature.require(folder, Purpose.JOB, fields, folder.spec)
        return str(fields.get("id", ""))
    except (ValueError, AttributeError, RecursionError) as error:
        raise damaged(folder.spec, str(error)) from None


def signed_id(folder: JobFolder) -> str:
    """Return the job's id; empty if there is no ``job.json``. Raises UserError or OSError."""
    try:
        return require_signed_spec(folder)
    except FileNotFoundError:
        return ""


def check_name(folder: JobFolder, spec: JobSpec) -> None:
    """Raise UserError if document and settings make another name than the folder's."""
    # A name that is not UTF-8 stands in the document's as question marks, which no name of a job has.
    identity = job_name(Path(spec.document.name).stem, spec.document.sha256, spec.settings)
    if not folder.name == spec.name == identity:
        raise damaged(folder.spec, "it describes another job than its name")


def damaged(path: Path, why: str) -> UserError:
    """Return the error for a damaged ``job.json``."""
    first = (why.splitlines() or ["unreadable"])[0]
    return UserError(
        ExitCode.STORAGE,
        f"{path} is damaged: {first}; {signature.THEN}",
        signature.set_aside(JobFolder(path.parent)),
    )
