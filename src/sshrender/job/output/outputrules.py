"""Decide whether a job may have an output folder: what its next record is, or why it is refused.

A folder that holds pages of another document, or with other settings, is refused, or replaced if the
user said so (``--overwrite``). One into which a queued, held or running job is going to deliver is
refused in any case. In a folder that has no record, because it is new or an earlier version filled it,
page files have to be the job's own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from sshrender.errors import ExitCode, NeedsUser, UserError
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.output import outputlocation, publish
from sshrender.job.output.outputrecord import UNKNOWN, Contents, Found, Record
from sshrender.job.spec import JobSpec, load_spec, safe_stem

MAX_SIBLINGS = 1000
"""Jobs of documents with the same name that are looked at."""

_MAX_NAMES = 100_000
"""Names that are tried for a folder that does not exist yet."""


By = Literal["document", "job", "alter", "queue"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The place where a job shall deliver. ``may_replace``: may it replace the pages there.

    ``by``: what asks for it, for hints: a command that names the document, one that resumes the job, one
    that changes the job, or the queue. ``assemble``: the kind of the file of all pages that is to be
    made beside them; empty: none.
    """

    output: Path
    spec: JobSpec
    folder: JobFolder
    may_replace: bool = False
    by: By = "document"
    assemble: str = ""

    @property
    def is_own_folder(self) -> bool:
        """Whether pages stay in the job's own folder, which is no other job's."""
        return self.output == self.folder.pages

    @property
    def assembled(self) -> str:
        """The name of the file of all pages; empty if there is to be none."""
        stem = safe_stem(Path(self.spec.document.name).stem)
        return self.assemble and f"{stem}.{self.assemble}"

    @property
    def contents(self) -> Contents:
        """The document and the settings of the pages."""
        return Contents.of(self.spec)

    @property
    def other(self) -> str:
        """The words that name a folder which is free."""
        return f"-o {shlex.quote(shown(free_name(self.output)))}"

    def elsewhere(self) -> str:
        """Return how to deliver elsewhere, or to replace the old pages; a command at the end."""
        job = shlex.quote(self.spec.name)
        if self.by == "document":
            return f"add {self.other} to deliver elsewhere, or --overwrite to replace these pages"
        if self.by == "job":
            here = f"-o {shlex.quote(shown(self.output))} --overwrite"
            replace = f"to replace these pages instead, {here}"
            return f"{replace}; to deliver elsewhere: sshrender resume {job} {self.other}"
        if self.by == "alter":
            return f"to deliver elsewhere: sshrender alter {job} {self.other}"
        return f"release the job after this: sshrender alter {job} {self.other}"


def next_record(delivery: Delivery, found: Found) -> Record | None:
    """Return the record that claims the folder; None if the newest does already.

    Raises NeedsUser or OSError.
    """
    record = _next_record(delivery, found)
    in_force = record or found.record
    # Also if the record stays: the name may have been taken since.
    if delivery.assembled and in_force is not None:
        require_free(delivery, delivery.assembled, in_force)
    return record


def require_free(delivery: Delivery, name: str, record: Record) -> None:
    """Raise NeedsUser if a file of the folder has this name that no job of it made. Raises OSError.

    With ``-o .`` it may be the document itself.
    """
    target, document = delivery.output / name, delivery.spec.document
    if not os.path.lexists(target) or name in record.contents.assembled:
        return
    # The content is compared, not the path: -o may name the folder in another way.
    if _is_document(target, document.bytes, document.sha256):
        own = target.with_name(f"{target.stem}-pages")
        other = shlex.quote(shown(free_name(own) if os.path.lexists(own) else own))
        raise NeedsUser(
            ExitCode.STORAGE,
            f"{target} is the document: the file of all pages cannot have its name",
            f"choose another folder, as with -o {other}",
        )
    # In an adopted folder, the origin of the file is not known.
    if record.is_adopted:
        return
    here, aside = shlex.quote(str(target)), shlex.quote(str(target.with_name(f"{name}.aside")))
    raise NeedsUser(
        ExitCode.STORAGE,
        f"{target} exists, and no job of this folder made it",
        f"run the same command again after this: mv {here} {aside}",
    )


def _next_record(delivery: Delivery, found: Found) -> Record | None:
    own = delivery.contents
    # The order of the cases: no record, a damaged one, our own, one in use, and then what the folder
    # holds.
    if found.newest is None:
        return _first_record(delivery, own, found)
    if found.record is None:
        if not delivery.may_replace:
            raise _damaged(delivery)
        return Record(owner=own, replaces=UNKNOWN)
    if found.record.owner.is_same(own):
        return None
    user = _user_of(delivery, found.record.owner)
    if user is not None:
        raise _in_use(delivery, found.record.owner, user)
    old = found.record.contents
    # ``contents``: what the folder still holds, while ``owner`` has not delivered yet.
    if old.is_same(own):  # what was to replace our pages never delivered one
        return Record(owner=_with_files_of(own, old))
    # Nothing of the other contents is left, so nothing is replaced.
    if not old.files_in(found.names):
        return Record(owner=own)
    if not delivery.may_replace:
        raise _others(delivery, own, old)
    return Record(owner=own, replaces=old)


def _with_files_of(own: Contents, old: Contents) -> Contents:
    """Return our contents with the files that an earlier job of the same made beside the pages."""
    return own.model_copy(update={"assembled": old.assembled})


def _first_record(delivery: Delivery, own: Contents, found: Found) -> Record:
    """Return the record of a folder that has none: it is new, or an earlier version filled it."""
    pages = UNKNOWN.files_in(found.names) + own.files_in(found.names)
    if not pages:
        return Record(owner=own)
    unknown = _unknown(delivery, own, sorted(set(pages)))
    if not unknown:
        return Record(owner=own, is_adopted=True)
    if not delivery.may_replace:
        raise _of_unknown_origin(delivery, unknown)
    return Record(owner=own, replaces=UNKNOWN)


def _unknown(delivery: Delivery, own: Contents, pages: list[str]) -> list[str]:
    """Return the page files that are not known to be of these contents. Raises OSError."""
    folders = [delivery.folder.pages, *(job.pages for job, _ in _siblings(delivery, own))]
    is_ours = set(own.files_in(pages))
    unknown = []
    for name in pages:
        seen = file_at(delivery.output / name)
        if seen is None:  # a folder, or gone
            continue
        published = (file_at(folder / name) for folder in folders)
        # The same file, or a copy with its size and time of modification (publish.py).
        # Size and time of modification: [2:] leaves out device and inode, which a copy does not share.
        if name not in is_ours or not any(each and each[2:] == seen[2:] for each in published):
            unknown.append(name)
    return unknown


def _siblings(delivery: Delivery, contents: Contents) -> Iterator[tuple[JobFolder, JobSpec]]:
    """Yield the jobs in our shared folder whose pages are of these contents, but not our own.

    A safe stem has none of the characters that are special to glob.
    """
    san, stem = delivery.folder.path.parent, safe_stem(Path(contents.document).stem)
    for path in islice(san.glob(f"{stem}-????????/job.json"), MAX_SIBLINGS):
        folder = JobFolder(path.parent)
        if folder == delivery.folder:
            continue
        try:
            spec = load_spec(folder)
        except UserError:
            continue  # a damaged job delivers nothing
        if spec is not None and Contents.of(spec).is_same(contents):
            yield folder, spec


def _user_of(delivery: Delivery, owner: Contents) -> tuple[str, str] | None:
    """Return a job of these contents that still delivers into the folder, and whether it is queued.

    None if no such job is seen; what cannot be read is none.
    """
    output = os.path.realpath(delivery.output)
    for folder, _ in _siblings(delivery, owner):
        with contextlib.suppress(OSError):
            found = jobattributes.load_or_none(folder)
            place = None if found is None else outputlocation.place(found, folder)
            # A damaged job delivers nothing, and so does one whose folder is not seen here.
            if found is None or place is None or os.path.realpath(place) != output:
                continue
            # A lease first: a running job need not be queued.
            if lease.holders([folder.lease])[folder.lease] is not None:
                return folder.name, "running"
            if found.is_queued and not found.over:
                return folder.name, "held" if found.held else "queued"
    return None


def file_at(path: Path) -> publish.Identity | None:
    """Return which file has this name; None for a folder, or nothing. Raises OSError."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(status.st_mode) else publish.identity_of(status)


def _is_document(path: Path, size: int, sha256: str) -> bool:
    """Whether a file is the job's document. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:  # a link to nothing
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    # O_NONBLOCK: a FIFO may have taken the place of the regular file.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return publish.digest(descriptor, size) == sha256
    finally:
        os.close(descriptor)


# What users are told


def _others(delivery: Delivery, own: Contents, old: Contents) -> NeedsUser:
    if not old.is_known:
        return _of_unknown_origin(delivery, [])
    is_document = own.sha256 == old.sha256
    what = "with other settings" if is_document else "of another document"
    return _refused(
        delivery,
        f"{delivery.output} holds pages {what}: {old.in_words()}; this is {own.in_words()}",
    )


def _of_unknown_origin(delivery: Delivery, names: list[str]) -> NeedsUser:
    first = f": {names[0]}" if names else ""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return _refused(
        delivery,
        f"{delivery.output} holds pages that are not known to be of {delivery.contents.in_words()}"
        f"{first}{others}",
    )


def _damaged(delivery: Delivery) -> NeedsUser:
    return _refused(
        delivery,
        f"{delivery.output} does not say whose pages it holds:"
        " its record is damaged, or of a later version",
    )


def _refused(delivery: Delivery, what: str) -> NeedsUser:
    """Return the error for a folder that ``--overwrite`` would replace."""
    return NeedsUser(ExitCode.STORAGE, what, delivery.elsewhere())


def _in_use(delivery: Delivery, owner: Contents, state: tuple[str, str]) -> NeedsUser:
    """Return the error for a folder into which another job is going to deliver."""
    job, doing = state
    words, own = owner.model_copy(update={"job": job}).in_words(), delivery.contents.in_words()
    return NeedsUser(
        ExitCode.STORAGE,
        f"{delivery.output} belongs to {words}, which is {doing}; this is {own}",
        f"deliver elsewhere with {delivery.other}; or give the folder up:"
        f" sshrender cancel {shlex.quote(job)}",
    )


def free_name(folder: Path) -> Path:
    """Return a folder beside this one that does not exist yet."""
    for number in range(2, _MAX_NAMES):
        path = folder.with_name(f"{folder.name}-{number}")
        if not os.path.lexists(path):
            return path
    return folder


def shown(path: Path) -> str:
    """Return a path as a user would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
