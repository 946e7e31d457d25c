"""Opens the job for a PDF and settings: an existing one on the SAN, or a new one."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sshrender.coordinator import pagecount, unsignedjobs
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.renderrequest import RenderRequest
from sshrender.coordinator.storageerrors import output_error, storage_error
from sshrender.document import facts, pagelist, splitting, staging
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.job import documentidentity, iccprofiles, jobattributes
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.journal.history import History
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.lease import LeaseLost
from sshrender.job.output import outputclaim
from sshrender.job.output.outputclaim import OutputClaim
from sshrender.job.output.outputrules import Delivery
from sshrender.job.spec import (
    DocumentRecord,
    JobSpec,
    RenderSettings,
    damaged,
    job_name,
    load_signed_spec,
    require_pages,
    safe_stem,
)
from sshrender.renderers.appearance import page_box
from sshrender.storage.files import sync_folder, user_in
from sshrender.storage.hangguard import guarded_call
from sshrender.storage.newfiles import folder_mode
from sshrender.transports.messages import Inspected
from sshrender.utf8 import writable

PageCounter = Callable[[Path, str], Inspected]
"""Has Ghostscript count the pages of a staged document: (SAN folder, file in it) -> pages."""


def open_job(request: RenderRequest, reading: Reading, count_pages: PageCounter) -> JobPlan:
    """Open the job on the SAN; create it if it does not exist. No lease is needed for that.

    Raises UserError.
    """
    if request.pages is not None:
        pagelist.check(request.pages)
    stamp = facts.check_file(request.source)
    reading.begin(request.source, request.password, page_box(request.appearance, request.options))
    require_san(request.san)
    try:
        return _open(request, stamp, reading, count_pages)
    except OSError as error:
        raise storage_error(error, request.san) from None


def deadline_passed() -> UserError:
    """Return the error for the user of a deadline that passed before the run started."""
    return UserError(
        ExitCode.DEADLINE,
        "the deadline passed before the first page was rendered",
        "run the same command again with a longer --deadline",
    )


@dataclass(slots=True)
class _Source:
    """The document to render: copied to the SAN, under a temporary name, once it is needed there."""

    request: RenderRequest
    user: int
    earlier: list[JobFolder]
    sha256: str
    staged: staging.Staged | None = None

    @classmethod
    def begin(cls, request: RenderRequest) -> _Source:
        """Digest the document, and stage it unless an earlier job probably has it.

        Raises UserError or OSError.
        """
        user = user_in(request.san)
        earlier = _earlier_jobs(request, user)
        if earlier:
            # Only its digest: if an earlier job has the document, no copy is needed.
            read = _Percent(request, "comparing the document with that of an earlier job")
            return cls(request, user, earlier, staging.digest(request.source, read))
        staged = _stage(request)
        return cls(request, user, earlier, staged.sha256, staged)

    def get(self) -> staging.Staged:
        """Return the staged document; stage it first if needed. Raises UserError or OSError."""
        if self.staged is None:
            # The file was read before, for its digest: it may have changed in between.
            self.staged = _stage(self.request)
            if self.staged.sha256 != self.sha256:
                raise facts.changed_meanwhile(self.request.source)
        return self.staged

    def clear(self) -> None:
        """Remove the staged copy, unless it became a job's document."""
        if self.staged is not None:
            self.staged.clear()


class _Percent:
    """Tells the user how much of the document was read, at each tenth of it."""

    def __init__(self, request: RenderRequest, words: str) -> None:
        self._stage = request.stage
        self._words = words
        self._size = max(1, request.source.stat().st_size)
        self._next = 0
        self(0)

    def __call__(self, read: int) -> None:
        """Take the number of bytes that were read so far."""
        percent = 100 * read // self._size
        if percent >= self._next:
            self._next = percent - percent % 10 + 10
            self._stage(f"{self._words}: {percent} % of {self._size / 1e6:,.0f} MB")


def _stage(request: RenderRequest) -> staging.Staged:
    copied = _Percent(request, "copying the document to the shared folder")
    return staging.Staged(request.source, request.san, copied)


def _open(
    request: RenderRequest, stamp: facts.Stamp, reading: Reading, count_pages: PageCounter
) -> JobPlan:
    staging.clear_stale(request.san)
    source = _Source.begin(request)
    # Cached: two questions may need the count, and a Ghostscript on a host takes seconds.
    counted = functools.cache(lambda: count_pages(request.san, source.get().path.name))

    def count() -> int:
        return counted().pages

    try:
        request.stage("reading the document's first pages")
        known = pagecount.read_facts(reading, count, request.password is not None)
        pages = "the pages" if known.pages is None else f"the {known.pages:,} pages that it claims"
        request.stage(f"counting {pages}")
        # A document that an earlier job had, by its digest, has the number of pages that was found
        # then.
        total = _known_count(source) or pagecount.page_count(reading, known, count)
        if total == 0:
            raise facts.no_pages(request.source, counted().diagnostics, request.password)
        if total > facts.MAX_PAGES:
            raise facts.too_many_pages(request.source)
        _check_recipes(request, known.needs_password)
        facts.require_unchanged(request.source, stamp)  # so that what was read is what was staged
        # Parts are cut by qpdf, so it has to see the pages that Ghostscript sees.
        may_split = known.pages == total and reading.is_sound()
        spec = describe(request, stamp.bytes, known, source.sha256, total, may_split)
        folder = JobFolder(request.san / spec.name)
        # Before there is a job: one that cannot deliver is not worth a folder.
        output = folder.pages if request.stays_in_job else request.output
        delivery = Delivery(output, spec, folder, request.may_replace, assemble=request.assemble)
        check_output(delivery)
        request.stage(f"creating the job of {total:,} pages")
        spec, document_stamp = _create_or_find(folder, spec, source)
    # Also if the copy became the job's document: clear() leaves that alone.
    finally:
        source.clear()
    return _plan(request, reading, spec, folder, document_stamp)


def reopen_job(request: RenderRequest, reading: Reading, folder: JobFolder, spec: JobSpec) -> JobPlan:
    """Open an existing job from its folder alone; ``request.source`` is its document.

    Raises UserError, also if the folder holds another document or job than it was created for.
    """
    try:
        facts.check_file(folder.source)
        settings = spec.settings
        reading.begin(folder.source, request.password, page_box(settings.appearance, settings.options))
        stamp = documentidentity.require(folder, spec)
        if spec.document.needs_password and request.password is None:
            raise UserError(
                ExitCode.DOCUMENT,
                f"the document of {spec.name} needs a password",
                "add --password-file FILE",
            )
        return _plan(request, reading, spec, folder, stamp, is_reopened=True)
    except OSError as error:
        raise storage_error(error, folder.path.parent) from None


def _earlier_jobs(request: RenderRequest, user: int) -> list[JobFolder]:
    """Return this user's jobs of documents with this name.

    A safe stem has none of the characters that are special to glob.
    """
    found = request.san.glob(f"{safe_stem(request.source.stem)}-????????/job.json")
    folders = [JobFolder(path.parent) for path in found]
    return [folder for folder in folders if folder.belongs_to(user)]


def _known_count(source: _Source) -> int | None:
    """Return the number of pages that an earlier job found in this same document; None if none did."""
    for folder in source.earlier:
        with contextlib.suppress(UserError):  # a damaged job is not a source, and no reason to fail
            spec = load_signed_spec(folder)
            if spec is not None and spec.document.sha256 == source.sha256:
                return spec.document.pages
    return None


def _password_bytes(password: str | None, reading: Reading) -> str | None:
    """Return the password as Ghostscript needs it. Waits for the reading of an encrypted document."""
    if password is None:
        return None
    return facts.encoded_password(password, reading.facts().revision).hex()


def _check_recipes(request: RenderRequest, needs_password: bool) -> None:
    """Raise UserError if a recipe cannot open the document."""
    for recipe in request.recipes:
        # The two warm programs read it from standard input.
        is_warm = recipe.is_built_in or recipe.is_of_mutool
        if needs_password and not is_warm and not recipe.uses("password_file"):
            raise UserError(
                ExitCode.USAGE,
                f"the document needs a password, and recipe {recipe.name} has no {{password_file}}",
                "omit --recipe, as Ghostscript gets the password unseen; or add the field to the recipe",
            )


def describe(
    request: RenderRequest,
    size: int,
    known: facts.DocumentFacts,
    sha256: str,
    total: int,
    may_split: bool,
) -> JobSpec:
    """Return the spec of the job for this request and document. Raises UserError for the page list."""
    selected = pagelist.parse(request.pages, total) if request.pages else range(1, total + 1)
    settings = RenderSettings(
        device=request.device,
        dpi=request.dpi,
        pages=pagelist.canonical(selected),
        # If qpdf had to repair the document, its parts may hold other pages than Ghostscript sees.
        split=_split(request, known, size, total) if may_split else 0,
        **request.appearance._asdict(),
        options=request.options,
        profile_name=request.profile_name,
        encoder=request.encoder,
        recipes=request.recipes,
    )
    return JobSpec(
        name=job_name(request.source.stem, sha256, settings),
        created=timestamp(time.time()),
        document=DocumentRecord(
            name=writable(request.source.name),
            bytes=size,
            sha256=sha256,
            pages=total,
            needs_password=known.needs_password,
        ),
        settings=settings,
        id=secrets.token_hex(16),
    )


def _split(request: RenderRequest, known: facts.DocumentFacts, size: int, total: int) -> int:
    return splitting.part_size_for(known.revision, request.split, size, total)


def _create_or_find(folder: JobFolder, spec: JobSpec, source: _Source) -> tuple[JobSpec, facts.Stamp]:
    """Create the job's folder and put the document there; return the spec and the document's stamp.

    ``job.json`` is written last and makes the folder a job, so that a crash before leaves none.
    """
    # EEXIST is the usual case: the job exists, or another process creates it at this moment.
    with contextlib.suppress(FileExistsError):
        folder.path.mkdir(mode=folder_mode(folder.path.parent) & 0o777)
    if not folder.belongs_to(source.user):
        raise UserError(
            ExitCode.STORAGE,
            f"the job's folder {folder.path} was made by another user;"
            " ask its owner, or use another shared folder (--san DIR)",
            f"ls -ld {shlex.quote(str(folder.path))}",
        )
    if unsignedjobs.is_of_old_form(folder):
        stamp = unsignedjobs.sign_again(folder, spec, source.request.attributes, source.get)
        source.request.remark(
            f"{folder.name} was not signed; it is created again from {source.request.source}"
        )
        return spec, stamp
    found = load_signed_spec(folder)
    # The name contains a digest of this identity (job/spec.py): a difference means damage or forgery.
    if found is not None and _identity(found) != _identity(spec):
        raise damaged(folder.spec, "it describes another job than its name")
    # lexists: a link that leads nowhere must not count as a missing document, which would be copied
    # over it.
    if found is not None and os.path.lexists(folder.source):
        stamp = documentidentity.require(folder, found)
        iccprofiles.copy(folder, source.request.profiles)
        _require_attributes(folder, source.request, found)
        return found, stamp
    folder.create()
    iccprofiles.copy(folder, source.request.profiles)
    # A document that is there without job.json is left by a process that ended in between, and is used
    # if it is the same.
    stamp = documentidentity.stamp_of(folder, spec) or source.get().move_to(folder.source)
    if found is not None:
        _require_attributes(folder, source.request, found)
    else:
        # Attributes first: job.json makes the folder a job, and a job without attributes would be
        # damaged.
        source.request.attributes.changed(job=spec.id).save(folder)
        spec.save(folder)
        # The name of the folder itself has to survive a crash as well.
        sync_folder(folder.path.parent)
    return spec, stamp


def _require_attributes(folder: JobFolder, request: RenderRequest, spec: JobSpec) -> None:
    """Create the attributes of a job that has lost them, as for a new job: its owner states them here.

    Raises UserError or OSError.
    """
    if not jobattributes.is_there(folder):
        with contextlib.suppress(LeaseLost):  # another process has the job; the run reports that
            request.attributes.changed(job=spec.id).save(folder)


def _identity(spec: JobSpec) -> tuple[str, int, RenderSettings]:
    return spec.document.sha256, spec.document.bytes, spec.settings


def _plan(
    request: RenderRequest,
    reading: Reading,
    spec: JobSpec,
    folder: JobFolder,
    stamp: facts.Stamp,
    *,
    is_reopened: bool = False,
) -> JobPlan:
    """Return the opened job. Raises UserError or OSError."""
    folder.complete()
    total = spec.document.pages
    return JobPlan(
        request=request,
        spec=spec,
        folder=folder,
        output=folder.pages if request.stays_in_job else request.output,
        pages=pagelist.parse(spec.settings.pages, total),
        reading=reading,
        history=History(),
        stamp=stamp,
        password_bytes=_password_bytes(request.password, reading),
        pins=_pinned(request, spec),
        is_reopened=is_reopened,
    )


def _pinned(request: RenderRequest, spec: JobSpec) -> dict[int, frozenset[str]]:
    """Return the only hosts of each pinned page; of two pins the last one counts.

    Raises UserError for a page that the job does not render.
    """
    total = spec.document.pages
    found = {page: pin.hosts for pin in request.pins for page in pagelist.parse(pin.pages, total)}
    require_pages(spec, found)
    return found


def require_output(output: Path) -> None:
    """Create the output folder and test that it can be written. Raises UserError."""
    probe = output / f".sshrender-{secrets.token_hex(4)}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(error, output) from None


def check_output(delivery: Delivery) -> None:
    """Raise UserError if the output folder is another job's; change nothing."""
    try:
        guarded_call(delivery.output.parent, partial(outputclaim.check, delivery))
    except OSError as error:
        raise output_error(error, delivery.output) from None


def claim_output(delivery: Delivery) -> OutputClaim:
    """Claim the output folder, and create it if needed. Raises UserError."""
    try:
        return guarded_call(delivery.output.parent, partial(outputclaim.take, delivery))
    except OSError as error:
        raise output_error(error, delivery.output) from None


def require_time(plan: JobPlan) -> None:
    """Raise UserError if the deadline has passed."""
    # The monotonic clock, as the scheduler's: a change of the wall clock moves no deadline.
    if plan.request.policy.deadline is not None and time.monotonic() >= plan.request.policy.deadline:
        raise deadline_passed()
