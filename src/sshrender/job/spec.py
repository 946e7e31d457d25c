"""``job.json``: what to render. Written once, never changed; what a resume goes by."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sshrender.errors import ExitCode, UserError
from sshrender.files import write_whole
from sshrender.job.folder import JobFolder

MAX_STEM, MAX_STEM_BYTES = 80, 200
"""Of a document's name in a job's name: file names end at 255 bytes, and have ours around them."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Document(_Frozen):
    """The document as it was when the job was made. ``pages`` counts the whole document."""

    name: str
    bytes: int
    sha256: str
    pages: int
    needs_password: bool = False


class Settings(_Frozen):
    """What decides how the pages look: part of the job's identity. ``pages`` is a canonical list."""

    device: str
    dpi: float
    pages: str
    split: int = 0
    options: tuple[str, ...] = ()


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
    identity = json.dumps([sha256, settings.model_dump(mode="json")], sort_keys=True)
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
        fields = json.loads(folder.spec.read_text(encoding="utf-8"))
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
