"""Read and write ``attributes.json``: the data of a job that may change, such as its priority.

``job.json`` says what to render and never changes; this file has what qalter(1B) changes. Only the
process that holds the job's lease writes it; others send requests (requests.py), or take the lease for
a moment (queueoperations.py).
"""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sshrender.errors import ExitCode, UserError
from sshrender.job import fencedfiles, fieldpatterns, signature
from sshrender.job.fieldpatterns import Marker, Moment, Name, Text
from sshrender.job.folder import JobFolder
from sshrender.job.signature import Purpose
from sshrender.job.spec import signed_id

LOWEST, HIGHEST = -1024, 1023
"""Priorities, as in qsub(1B)."""

CANCELLED = "cancelled"
DONE = "done"

ON_SAN = "the SAN"
"""The value of ``output_host`` if the output path is relative to the shared folder."""

MAX_HANDLED = 256
"""Requests whose ids are remembered. Once there are more, those older than the oldest are refused."""

ALTERABLE = (
    "priority",
    "limit",
    "after",
    "not_before",
    "output",
    "output_host",
    "output_marker",
    "wishes",
)
"""The attributes that ``alter`` can change."""


class Attributes(BaseModel):
    """The data of a job that may change. Times are as in the journal; an empty text means none.

    ``submitted``: since when it has been in the queue. ``held``: by which user. ``over``: its terminal
    state (one of those that status shows), empty while it is unfinished; ``why``: in words. ``limit``:
    slots at once. ``after``: jobs that have to finish first. Where its pages go (``output`` and what
    begins so): see outputlocation.py. ``wishes``: settings of the submitter that bind every coordinator.
    ``handled``: ids of requests that were handled, sorted; ``handled_before``: all up to this id were.
    ``job``: the id of the job (spec.py).
    """

    # defer_build: a command that reads none builds none.
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", strict=True)

    schema_: Literal[1] = 1
    owner: Text = ""
    submitted: Moment = ""
    priority: int = Field(0, ge=LOWEST, le=HIGHEST)
    limit: int | None = Field(None, ge=1)
    after: tuple[Name, ...] = ()
    not_before: Moment = ""
    held: Text = ""
    over: Literal["", "done", "partial", "failed", "cancelled"] = ""
    why: Text = ""
    output: Text = ""
    output_host: Text = ""
    output_marker: Marker = ""
    wishes: dict[str, Any] = {}
    handled: tuple[Text, ...] = ()
    handled_before: Text = ""
    job: Text = ""

    @model_validator(mode="after")
    def _output_is_a_path(self) -> Self:
        # Checked here as well as on use: a signed file may have been written by another version.
        if self.output_host == ON_SAN and not fieldpatterns.is_below(self.output):
            raise ValueError("the output leads out of the shared folder")
        return self

    @property
    def is_queued(self) -> bool:
        """Whether it was submitted, so that ``coordinate`` runs it."""
        return bool(self.submitted)

    def changed(self, **changes: Any) -> Self:
        """Return the attributes with these fields changed. Raises ValueError for an invalid value."""
        fields = {**self.model_dump(), **changes}
        # Through JSON, because strict mode takes a list as a tuple only there.
        return type(self).model_validate_json(json.dumps(fields))

    def has_handled(self, request: str) -> bool:
        """Whether a request of this id was handled: a copy of it has no effect."""
        # Ids begin with a time, so comparing them as texts compares their age.
        return request in self.handled or request <= self.handled_before

    def handling(self, request: str) -> Self:
        """Return the attributes with this id among those handled."""
        ids = sorted({*self.handled, request})
        # The oldest id that is dropped becomes the limit: every id up to it counts as handled.
        before = ids[-MAX_HANDLED - 1] if len(ids) > MAX_HANDLED else self.handled_before
        return self.changed(handled=tuple(ids[-MAX_HANDLED:]), handled_before=before)

    def save(self, folder: JobFolder, epoch: int | None = None) -> None:
        """Write them, signed. Needs the lease of ``epoch``; None: of a folder that is not a job yet.

        Raises LeaseLost if another coordinator has the job by now, UserError or OSError.
        """
        if epoch is None:
            epoch = fencedfiles.newest_epoch(folder.path)
        fields = self.model_dump(mode="json")
        # The epoch is the second field, within the bytes that fencedfiles.py reads.
        fields = {"schema": fields.pop("schema_"), "epoch": epoch, **fields}
        fields = signature.signed(folder, Purpose.ATTRIBUTES, fields)
        fencedfiles.write(folder.attributes, (json.dumps(fields, indent=1) + "\n").encode(), epoch)


def is_there(folder: JobFolder) -> bool:
    """Whether the job has attributes. Raises OSError."""
    try:
        fencedfiles.read(folder.attributes)
    except FileNotFoundError:
        return False
    return True


def load(folder: JobFolder) -> Attributes:
    """Return a job's attributes; a job without any has those of a plain render.

    Raises UserError or OSError. For readers: every machine that has the owner's user could have written
    them.
    """
    return _load(folder, is_run=False)


def load_signed(folder: JobFolder, job: str | None = None) -> Attributes:
    """Return a job's attributes, signed with this user's key.

    Raises Unsigned if they are not, or there are none. ``job``: the id of the job, if it is known.
    """
    found = _load(folder, is_run=True)
    # An old signed file of an earlier job with this name would be valid otherwise.
    if found.job != (signed_id(folder) if job is None else job):
        raise signature.of_another(folder, folder.attributes)
    return found


def _load(folder: JobFolder, *, is_run: bool) -> Attributes:
    try:
        fields = json.loads(fencedfiles.read(folder.attributes), object_pairs_hook=_once_each)
        signature.require_schema(folder.attributes, fields, 1)
        found = Attributes.model_validate_json(json.dumps({**fields, "schema_": fields["schema"]}))
    except FileNotFoundError:
        if is_run:  # any host could have removed them: what the owner allowed is not known
            raise signature.missing(folder, folder.attributes) from None
        return Attributes()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.attributes} is damaged: {fieldpatterns.in_words(error)}; {signature.THEN}",
            signature.set_aside(folder),
        ) from None
    # After the form was checked: what is verified is what was parsed.
    if is_run:
        signature.require(folder, Purpose.ATTRIBUTES, fields, folder.attributes)
    return found


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises ValueError if two members have one name.

    The signature would cover one of them, and the epoch might be read from the other (fencedfiles.py).
    """
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("two members have one name")
    return found


def load_or_none(folder: JobFolder) -> Attributes | None:
    """Return a job's attributes; None if they are damaged. Raises OSError."""
    try:
        return load(folder)
    except UserError:
        return None
