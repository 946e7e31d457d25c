"""``job.json``: what to render. Written once, never changed; what a resume goes by."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from sshrender.document.facts import MAX_PAGES
from sshrender.errors import ExitCode, UserError
from sshrender.files import read_plain, write_whole
from sshrender.job.folder import JobFolder

MAX_STEM, MAX_STEM_BYTES = 80, 200
"""Of a document's name in a job's name: file names end at 255 bytes, and have ours around them."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Document(_Frozen):
    """The document as it was when the job was made. ``pages`` counts the whole document."""

    name: str
    bytes: int = Field(ge=0, lt=1 << 62)
    sha256: str
    pages: int = Field(ge=1, le=MAX_PAGES)
    needs_password: bool = False


class Recipe(_Frozen):
    """A way to draw a page (config/recipes.py), as it was when the job was made.

    One without an extension is the built-in one.
    """

    name: str
    steps: tuple[tuple[str, ...], ...] = ()
    shell: str = ""
    extension: str = ""
    format: str = ""
    complaints: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From what a configuration says."""
        steps = tuple(tuple(words) for words in fields.get("steps", ()))
        return cls(**{**fields, "steps": steps})

    @property
    def is_built_in(self) -> bool:
        """Whether the warm Ghostscript draws."""
        return not self.extension

    def uses(self, field: str) -> bool:
        """Whether a field of a page stands in it."""
        return f"{{{field}}}" in str(self.steps) or field in self.shell


class Settings(_Frozen):
    """What decides how the pages look: part of the job's identity. ``pages`` is a canonical list.

    ``recipes`` are tried in this order; none: Ghostscript draws.
    """

    device: str
    dpi: float
    pages: str
    split: int = 0
    options: tuple[str, ...] = ()
    recipes: tuple[Recipe, ...] = ()


class JobSpec(_Frozen):
    """A job."""

    schema_: int = 1
    name: str
    created: str
    document: Document
    settings: Settings

    def save(self, folder: JobFolder) -> None:
        """Write ``job.json``."""
        fields = self.model_dump(mode="json")
        fields = {"schema": fields.pop("schema_"), **fields}
        write_whole(folder.spec, (json.dumps(fields, indent=1) + "\n").encode())


def job_name(stem: str, sha256: str, settings: Settings) -> str:
    """``<stem>-<8 hexadecimal digits>`` of a digest over document and settings."""
    fields = settings.model_dump(mode="json")
    if not settings.recipes:
        del fields["recipes"]  # such jobs keep the names that they had before there were recipes
    identity = json.dumps([sha256, fields], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"{safe_stem(stem)}-{digest[:8]}"


def safe_stem(stem: str) -> str:
    """A document's name as a folder's name: nothing a shell, a terminal or a path could trip over."""
    safe = re.sub(r"[^\w.+-]+", "_", stem)[:MAX_STEM]
    short = safe.encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    return short.strip("._-") or "document"


def load_spec(folder: JobFolder) -> JobSpec | None:
    """The job in this folder; None when there is none. Raises UserError when it is damaged."""
    try:
        fields = json.loads(read_plain(folder.spec))
        fields["schema_"] = fields.pop("schema")
        return JobSpec.model_validate_json(json.dumps(fields))  # where a list is a tuple, strictly
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder.spec, str(error)) from None


def damaged(path: Path, why: str) -> UserError:
    """``job.json`` is not what was written."""
    first = (why.splitlines() or ["unreadable"])[0]
    return UserError(
        ExitCode.STORAGE,
        f"{path} is damaged: {first}",
        f"move the folder {path.parent} away and run the same command again",
    )
