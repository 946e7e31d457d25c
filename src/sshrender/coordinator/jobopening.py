"""From a PDF and settings to an opened job: found again on the SAN, or made there."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sshrender.coordinator import jobsigning, pagecount
from sshrender.coordinator.plan import JobPlan, RenderRequest
from sshrender.document import facts, pagelist, splitting, staging
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.files import sync_folder, user_in
from sshrender.job import attributes, identity
from sshrender.job.folder import JobFolder
from sshrender.job.history import History
from sshrender.job.journal import OldJournal
from sshrender.job.journalformat import timestamp
from sshrender.job.lease import LeaseLost
from sshrender.job.spec import (
    DocumentRecord,
    JobSpec,
    RenderSettings,
    damaged,
    job_name,
    load_signed_spec,
    safe_stem,
)
from sshrender.transports.messages import Inspected
from sshrender.utf8 import writable

Inspector = Callable[[Path, str], Inspected]
"""Asks a Ghostscript how many pages a staged document has: (SAN folder, file in it) -> pages."""


def open_job(wanted: RenderRequest, reading: Reading, inspect: Inspector) -> JobPlan:
    """The job on the SAN, made if it is not there. Nobody's lease is needed for that.

    Raises UserError.
    """
    if wanted.pages is not None:
        pagelist.check(wanted.pages)
    stamp = facts.check_file(wanted.source)
    reading.begin(wanted.source, wanted.password)
    require_san(wanted.san)
    try:
        return _open(wanted, stamp, reading, inspect)
    except OSError as error:
        raise storage_error(error, wanted.san) from None


def storage_error(error: OSError, san: Path) -> UserError:
    """An OSError on the SAN, as the user meets it."""
    where, quoted = error.filename or san, shlex.quote(str(san))
    hints = {
        errno.ENOSPC: f"df -h {quoted} shows the space; the job resumes when there is some",
        errno.EDQUOT: f"quota and df -h {san} show the space; the job resumes when there is some",
        errno.EROFS: f"mount | grep -F {quoted} shows how it is mounted",
        errno.EACCES: f"ls -ld {quoted}; this user must be able to write there",
        errno.EPERM: f"ls -ld {quoted}; this user must be able to write there",
    }
    if isinstance(error, OldJournal):
        folder = shlex.quote(str(Path(where).parent))
        hints[errno.EPROTONOSUPPORT] = f"rm -r {folder} removes the job; then render the document again"
    hint = hints.get(error.errno or 0, f"ls -ld {quoted}; is the SAN mounted?")
    return UserError(ExitCode.STORAGE, f"{where}: {error.strerror}", hint)


def deadline_passed() -> UserError:
    """The deadline passed before there was a run that could end by it."""
    return UserError(
        ExitCode.DEADLINE,
        "the deadline passed before the first page was rendered",
        "run the same command again with a longer --deadline",
    )


def require_san(san: Path) -> None:
    """Raises UserError where the shared folder is not there."""
    if not san.is_dir():
        raise UserError(
            ExitCode.STORAGE,
            f"the SAN folder {san} is not there",
            "mount the SAN, or name its folder with --san DIR"
            f" (mkdir {shlex.quote(str(san))} if it is new)",
        )


@dataclass(slots=True)
class _Source:
    """The document that is wanted: on the SAN under a temporary name once it is needed there."""

    wanted: RenderRequest
    user: int
    earlier: list[JobFolder]
    sha256: str
    staged: staging.Staged | None = None

    @classmethod
    def begin(cls, wanted: RenderRequest) -> _Source:
        """A document that is likely there already is not copied again. Raises UserError or OSError."""
        user = user_in(wanted.san)
        earlier = _earlier_jobs(wanted, user)
        if earlier:
            return cls(wanted, user, earlier, staging.digest(wanted.source))
        staged = staging.Staged(wanted.source, wanted.san)
        return cls(wanted, user, earlier, staged.sha256, staged)

    def get(self) -> staging.Staged:
        """Stage it, unless it is. Raises UserError or OSError."""
        if self.staged is None:
            self.staged = staging.Staged(self.wanted.source, self.wanted.san)
            if self.staged.sha256 != self.sha256:
                raise facts.changed_meanwhile(self.wanted.source)
        return self.staged

    def clear(self) -> None:
        """Remove it, unless it became a job's document."""
        if self.staged is not None:
            self.staged.clear()


def _open(wanted: RenderRequest, stamp: facts.Stamp, reading: Reading, inspect: Inspector) -> JobPlan:
    staging.clear_stale(wanted.san)
    source = _Source.begin(wanted)
    asked = functools.cache(lambda: inspect(wanted.san, source.get().path.name))

    def ask() -> int:
        return asked().pages

    try:
        seen = pagecount.look(reading, ask, wanted.password is not None)
        total = _known_count(source) or pagecount.count(reading, seen, ask)
        if total == 0:
            raise facts.beyond_repair(wanted.source, asked().said)
        if total > facts.MAX_PAGES:
            raise facts.too_many_pages(wanted.source)
        _check_recipes(wanted, seen.needs_password)
        facts.require_unchanged(wanted.source, stamp)  # what was read is what was staged
        may_split = seen.pages == total and reading.is_sound()
        spec = describe(wanted, stamp.bytes, seen, source.sha256, total, may_split)
        folder = JobFolder(wanted.san / spec.name)
        spec, settled = _settle_in(folder, spec, source)
    finally:
        source.clear()
    return _plan(wanted, reading, spec, folder, settled)


def reopen_job(wanted: RenderRequest, reading: Reading, folder: JobFolder, spec: JobSpec) -> JobPlan:
    """A job that is there, from its folder alone: ``wanted.source`` is its document.

    Raises UserError, also where the folder holds another document or job than it was made for.
    """
    try:
        facts.check_file(folder.source)
        reading.begin(folder.source, wanted.password)
        stamp = identity.require(folder, spec)
        if spec.document.needs_password and wanted.password is None:
            raise UserError(
                ExitCode.DOCUMENT,
                f"the document of {spec.name} needs a password",
                "add --password-file FILE",
            )
        return _plan(wanted, reading, spec, folder, stamp)
    except OSError as error:
        raise storage_error(error, folder.path.parent) from None


def _earlier_jobs(wanted: RenderRequest, user: int) -> list[JobFolder]:
    """Our jobs of documents of this name. A safe stem holds none of the characters that glob knows."""
    found = wanted.san.glob(f"{safe_stem(wanted.source.stem)}-????????/job.json")
    folders = [JobFolder(path.parent) for path in found]
    return [folder for folder in folders if folder.belongs_to(user)]


def _known_count(source: _Source) -> int | None:
    """The number of pages that an earlier job found in this very document."""
    for folder in source.earlier:
        with contextlib.suppress(UserError):  # another job's damage is not ours
            spec = load_signed_spec(folder)
            if spec is not None and spec.document.sha256 == source.sha256:
                return spec.document.pages
    return None


def _check_recipes(wanted: RenderRequest, needs_password: bool) -> None:
    """Raises UserError: one of them cannot open the document."""
    for recipe in wanted.recipes:
        if needs_password and not recipe.is_built_in and not recipe.uses("password_file"):
            raise UserError(
                ExitCode.USAGE,
                f"the document needs a password, and recipe {recipe.name} has no {{password_file}}",
                "leave --recipe out: Ghostscript gets it unseen; or add that field to the recipe",
            )


def describe(
    wanted: RenderRequest, size: int, seen: facts.DocumentFacts, sha256: str, total: int, may_split: bool
) -> JobSpec:
    """The job that these wishes and this document make. Raises UserError: the page list."""
    selected = pagelist.parse(wanted.pages, total) if wanted.pages else range(1, total + 1)
    settings = RenderSettings(
        device=wanted.device,
        dpi=wanted.dpi,
        pages=pagelist.canonical(selected),
        # pypdf's parts of a document that it had to repair may hold other pages than Ghostscript's.
        split=_split(wanted, seen, size, total) if may_split else 0,
        options=wanted.options,
        recipes=wanted.recipes,
    )
    return JobSpec(
        name=job_name(wanted.source.stem, sha256, settings),
        created=timestamp(time.time()),
        document=DocumentRecord(
            name=writable(wanted.source.name),
            bytes=size,
            sha256=sha256,
            pages=total,
            needs_password=seen.needs_password,
        ),
        settings=settings,
        id=secrets.token_hex(16),
    )


def _split(wanted: RenderRequest, seen: facts.DocumentFacts, size: int, total: int) -> int:
    return splitting.part_size_for(seen.revision, wanted.split, size, total)


def _settle_in(folder: JobFolder, spec: JobSpec, source: _Source) -> tuple[JobSpec, facts.Stamp]:
    """Give the job its folder and document; ``job.json`` comes last and makes it a job.

    Returns the stamp of the document there too.
    """
    with contextlib.suppress(FileExistsError):
        folder.path.mkdir(mode=0o700)
    if not folder.belongs_to(source.user):
        raise UserError(
            ExitCode.STORAGE,
            f"the job's folder {folder.path} was made by another user",
            f"ls -ld {shlex.quote(str(folder.path))}; ask its owner, or use another shared folder"
            " (--san DIR)",
        )
    if jobsigning.is_of_old_form(folder):
        stamp = jobsigning.heal(folder, spec, source.wanted.attributes, source.get)
        source.wanted.remark(
            f"{folder.name} was not signed; it is made anew from {source.wanted.source}"
        )
        return spec, stamp
    found = load_signed_spec(folder)
    if found is not None and _identity(found) != _identity(spec):
        raise damaged(folder.spec, "it describes another job than its name")
    if found is not None and os.path.lexists(folder.source):
        stamp = identity.require(folder, found)
        _require_attributes(folder, source.wanted, found)
        return found, stamp
    folder.create()
    stamp = identity.stamp_of(folder, spec) or source.get().settle(folder.source)
    if found is not None:
        _require_attributes(folder, source.wanted, found)
    else:
        source.wanted.attributes.changed(job=spec.id).save(folder)
        spec.save(folder)
        sync_folder(folder.path.parent)
    return spec, stamp


def _require_attributes(folder: JobFolder, wanted: RenderRequest, spec: JobSpec) -> None:
    """Make those of a job that lost them, as of a new one: its owner says here what it is to have.

    Raises UserError or OSError.
    """
    if not attributes.is_there(folder):
        with contextlib.suppress(LeaseLost):  # another process has the job, and says so when it runs
            wanted.attributes.changed(job=spec.id).save(folder)


def _identity(spec: JobSpec) -> tuple[str, int, RenderSettings]:
    return spec.document.sha256, spec.document.bytes, spec.settings


def _plan(
    wanted: RenderRequest, reading: Reading, spec: JobSpec, folder: JobFolder, stamp: facts.Stamp
) -> JobPlan:
    """Raises UserError or OSError."""
    folder.complete()
    total = spec.document.pages
    return JobPlan(
        spec=spec,
        folder=folder,
        output=wanted.output,
        pages=pagelist.parse(spec.settings.pages, total),
        reading=reading,
        history=History(),
        stamp=stamp,
        password=wanted.password,
        limits=wanted.limits,
        policy=wanted.policy,
        strict=wanted.strict,
        has_overview=wanted.has_overview,
        pins=_pinned(wanted, total),
        changes=wanted.changes,
        wished=wanted.wished,
        is_delivered_as_asked=wanted.is_delivered_as_asked,
        is_from_queue=wanted.is_from_queue,
        known_dead=wanted.known_dead,
    )


def _pinned(wanted: RenderRequest, total: int) -> dict[int, frozenset[str]]:
    """The hosts that a page may go to, by page; of two pins the last one counts."""
    return {page: pin.hosts for pin in wanted.pins for page in pagelist.parse(pin.pages, total)}


def require_output(output: Path) -> None:
    """Make the output folder and see that it can be written. Raises UserError."""
    probe = output / f".sshrender-{secrets.token_hex(4)}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(error, output) from None


def output_error(error: OSError, output: Path) -> UserError:
    """An OSError in the output folder, as the user meets it."""
    return UserError(
        ExitCode.STORAGE,
        f"cannot write to the output folder {output}: {error.strerror}",
        "name another folder with -o DIR",
    )


def require_time(plan: JobPlan) -> None:
    """Raises UserError where the deadline has passed."""
    if plan.policy.deadline is not None and time.monotonic() >= plan.policy.deadline:
        raise deadline_passed()
