"""``attributes.json``: what of a job may change: its place in the queue, who wants it, and where.

``job.json`` says what to draw and never changes; this is what qalter(1B) changes. Only whoever holds the
job's lease writes it; others ask (requests.py), or take the lease for a moment (standing.py).
"""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sshrender.errors import ExitCode, UserError
from sshrender.job import fenced
from sshrender.job.folder import JobFolder
from sshrender.job.leasefiles import EPOCHS

LOWEST, HIGHEST = -1024, 1023
"""Priorities, as in qsub(1B)."""

CANCELLED = "cancelled"

ALTERABLE = (
    "priority",
    "limit",
    "after",
    "not_before",
    "output",
    "output_host",
    "output_word",
    "wishes",
)
"""What ``alter`` changes."""


class Attributes(BaseModel):
    """Moments are written as in the journal; an empty text means that there is none.

    ``submitted``: since when it has been in the queue. ``held``: by whom. ``over``: how it ended (one of
    the states that status shows), empty while it is to be seen through; ``why``: in words. ``limit``:
    slots at once. ``after``: jobs that must be over before. Where its pages go (``output`` and what
    begins so) is delivery.py's. ``wishes``: settings of the submitter that bind whoever coordinates.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    schema_: int = 1
    owner: str = ""
    submitted: str = ""
    priority: int = Field(0, ge=LOWEST, le=HIGHEST)
    limit: int | None = Field(None, ge=1)
    after: tuple[str, ...] = ()
    not_before: str = ""
    held: str = ""
    over: str = ""
    why: str = ""
    output: str = ""
    output_host: str = ""
    output_word: str = ""
    wishes: dict[str, Any] = {}

    @property
    def is_queued(self) -> bool:
        """Whether it was submitted: whoever looks after the queue sees it through."""
        return bool(self.submitted)

    def changed(self, **changes: Any) -> Self:
        """With these fields. Raises ValueError for what no field can be."""
        fields = {**self.model_dump(), **changes}
        return type(self).model_validate_json(json.dumps(fields))

    def save(self, folder: JobFolder, epoch: int | None = None) -> None:
        """Write it. Needs the lease of ``epoch``; None: of a folder that is no job yet.

        Raises LeaseLost where another coordinator has the job by now, or OSError.
        """
        if epoch is None:
            epoch = fenced.newest_epoch(folder.path)
        fields = self.model_dump(mode="json")
        fields = {"schema": fields.pop("schema_"), "epoch": epoch, **fields}
        fenced.write(folder.attributes, (json.dumps(fields, indent=1) + "\n").encode(), epoch)


def load(folder: JobFolder) -> Attributes:
    """A job's attributes; a job without any has those of a plain render. Raises UserError or OSError."""
    try:
        fields = json.loads(fenced.read(folder.attributes))
        fields["schema_"] = fields.pop("schema")
        return Attributes.model_validate_json(json.dumps(fields))
    except FileNotFoundError:
        return Attributes()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        first = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            first = f"{error.error_count()} fields are wrong"
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.attributes} is damaged: {first}",
            f"rm -f {folder.attributes} {folder.path}/{EPOCHS}/{folder.attributes.name}.*"
            " makes it a job that waits for nobody; then render it again",
        ) from None


def load_or_none(folder: JobFolder) -> Attributes | None:
    """None where they are damaged: whoever is to change them is told. Raises OSError."""
    try:
        return load(folder)
    except UserError:
        return None
