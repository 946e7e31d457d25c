"""From a PDF and settings to an opened job: found again on the SAN, or made there."""

from __future__ import annotations

import contextlib
import errno
import functools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sshrender.coordinator import pagecount
from sshrender.coordinator.plan import JobPlan, Wanted
from sshrender.document import facts, pagelist, splitting, staging
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.files import rename, sync_folder, user_in
from sshrender.job import fenced, history, publish
from sshrender.job.folder import JobFolder
from sshrender.job.history import History, PageRecord
from sshrender.job.journal import JournalWriter, entry, read_journal, timestamp
from sshrender.job.proof.errors import ProofFailed
from sshrender.job.proof.prove import Expected, prove
from sshrender.job.spec import Document, JobSpec, Settings, damaged, job_name, load_spec, safe_stem
from sshrender.utf8 import writable

STALE_STAGING = 86400.0


Inspector = Callable[[Path, str], int]
"""Asks a Ghostscript how many pages a staged document has: (SAN folder, file in it) -> pages."""


def open_job(wanted: Wanted, reading: Reading, inspect: Inspector) -> JobPlan:
    """The job on the SAN, made if it is not there. Nobody's lease is needed for that.

    Raises UserError.
    """
    if wanted.pages is not None:
        pagelist.check(wanted.pages)
    size = facts.check_file(wanted.source)
    reading.begin(wanted.source, wanted.password)
    require_san(wanted.san)
    try:
        return _open(wanted, size, reading, inspect)
    except OSError as error:
        raise storage_error(error, wanted.san) from None


def storage_error(error: OSError, san: Path) -> UserError:
    """An OSError on the SAN, as the user meets it."""
    where = error.filename or san
    hints = {
        errno.ENOSPC: f"df -h {san} shows the space; the job resumes when there is some",
        errno.EDQUOT: f"quota and df -h {san} show the space; the job resumes when there is some",
        errno.EROFS: f"mount | grep {san} shows how it is mounted",
        errno.EACCES: f"ls -ld {san}; this user must be able to write there",
        errno.EPERM: f"ls -ld {san}; this user must be able to write there",
    }
    hint = hints.get(error.errno or 0, f"ls -ld {san}; is the SAN mounted?")
    return UserError(ExitCode.STORAGE, f"{where}: {error.strerror}", hint)


def require_san(san: Path) -> None:
    """Raises UserError where the shared folder is not there."""
    if not san.is_dir():
        raise UserError(
            ExitCode.STORAGE,
            f"the SAN folder {san} is not there",
            f"mount the SAN, or name its folder with --san DIR (mkdir {san} if it is new)",
        )


@dataclass(slots=True)
class _Staged:
    """The document on the SAN under a temporary name, once it is needed there."""

    wanted: Wanted
    user: int
    earlier: list[JobFolder]
    path: Path | None
    sha256: str

    @classmethod
    def begin(cls, wanted: Wanted) -> _Staged:
        """A document that is likely there already is not copied again."""
        user = user_in(wanted.san)
        earlier = _earlier_jobs(wanted, user)
        if earlier:
            return cls(wanted, user, earlier, None, staging.digest(wanted.source))
        return cls(wanted, user, earlier, *staging.stage(wanted.source, wanted.san))

    def get(self) -> Path:
        """Where it is. Raises OSError."""
        if self.path is None:
            self.path, self.sha256 = staging.stage(self.wanted.source, self.wanted.san)
        return self.path

    def clear(self) -> None:
        """Remove it, unless it became a job's document."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _open(wanted: Wanted, size: int, reading: Reading, inspect: Inspector) -> JobPlan:
    staging.clear_stale(wanted.san, STALE_STAGING, time.time())
    staged = _Staged.begin(wanted)
    ask = functools.cache(lambda: inspect(wanted.san, staged.get().name))
    try:
        seen = pagecount.look(reading, ask, wanted.password is not None)
        total = _known_count(staged) or pagecount.count(reading, seen, ask)
        if total == 0:
            raise facts.beyond_repair(wanted.source)
        _check_recipes(wanted, seen.needs_password)
        may_split = seen.pages == total and reading.is_sound()
        spec = describe(wanted, size, seen, staged.sha256, total, may_split)
        folder = JobFolder(wanted.san / spec.name)
        spec = _settle_in(folder, spec, staged)
    finally:
        staged.clear()
    return _plan(wanted, reading, spec, folder)


def reopen_job(wanted: Wanted, reading: Reading, folder: JobFolder, spec: JobSpec) -> JobPlan:
    """A job that is there, from its folder alone: ``wanted.source`` is its document.

    Raises UserError.
    """
    try:
        facts.check_file(folder.source)
        reading.begin(folder.source, wanted.password)
        if spec.document.needs_password and wanted.password is None:
            raise UserError(
                ExitCode.DOCUMENT,
                f"the document of {spec.name} needs a password",
                "add --password-file FILE",
            )
        return _plan(wanted, reading, spec, folder)
    except OSError as error:
        raise storage_error(error, folder.path.parent) from None


def _earlier_jobs(wanted: Wanted, user: int) -> list[JobFolder]:
    """Our jobs of documents of this name. A safe stem holds none of the characters that glob knows."""
    found = wanted.san.glob(f"{safe_stem(wanted.source.stem)}-????????/job.json")
    folders = [JobFolder(path.parent) for path in found]
    return [folder for folder in folders if folder.belongs_to(user)]


def _known_count(staged: _Staged) -> int | None:
    """The number of pages that an earlier job found in this very document."""
    for folder in staged.earlier:
        with contextlib.suppress(UserError):  # another job's damage is not ours
            spec = load_spec(folder)
            if spec is not None and spec.document.sha256 == staged.sha256:
                return spec.document.pages
    return None


def _check_recipes(wanted: Wanted, needs_password: bool) -> None:
    """Raises UserError: one of them cannot open the document."""
    for recipe in wanted.recipes:
        if needs_password and not recipe.is_built_in and not recipe.uses("password_file"):
            raise UserError(
                ExitCode.USAGE,
                f"the document needs a password, and recipe {recipe.name} has no {{password_file}}",
                "leave --recipe out: Ghostscript gets it unseen; or add that field to the recipe",
            )


def describe(
    wanted: Wanted, size: int, seen: facts.Facts, sha256: str, total: int, may_split: bool
) -> JobSpec:
    """The job that these wishes and this document make. Raises UserError: the page list."""
    selected = pagelist.parse(wanted.pages, total) if wanted.pages else range(1, total + 1)
    settings = Settings(
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
        document=Document(
            name=writable(wanted.source.name),
            bytes=size,
            sha256=sha256,
            pages=total,
            needs_password=seen.needs_password,
        ),
        settings=settings,
    )


def _split(wanted: Wanted, seen: facts.Facts, size: int, total: int) -> int:
    return splitting.part_size_for(seen.revision, wanted.split, size, total)


def _settle_in(folder: JobFolder, spec: JobSpec, staged: _Staged) -> JobSpec:
    """Give the job its folder and document; ``job.json`` comes last and makes it a job."""
    with contextlib.suppress(FileExistsError):
        folder.path.mkdir(mode=0o700)
    if not folder.belongs_to(staged.user):
        raise UserError(
            ExitCode.STORAGE,
            f"the job's folder {folder.path} was made by another user",
            f"ls -ld {folder.path}; ask its owner, or use another shared folder (--san DIR)",
        )
    found = load_spec(folder)
    if found is not None and _identity(found) != _identity(spec):
        raise damaged(folder.spec, "it describes another job than its name")
    if found is not None and folder.source.exists():
        return found
    folder.create()
    rename(staged.get(), folder.source)
    if found is None:
        staged.wanted.attributes.save(folder)
        spec.save(folder)
        sync_folder(folder.path.parent)
    return spec


def _identity(spec: JobSpec) -> tuple[str, int, Settings]:
    return spec.document.sha256, spec.document.bytes, spec.settings


def _plan(wanted: Wanted, reading: Reading, spec: JobSpec, folder: JobFolder) -> JobPlan:
    total = spec.document.pages
    return JobPlan(
        spec=spec,
        folder=folder,
        output=wanted.output,
        pages=pagelist.parse(spec.settings.pages, total),
        reading=reading,
        history=History(),
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


def _pinned(wanted: Wanted, total: int) -> dict[int, frozenset[str]]:
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


def recall(plan: JobPlan, fence: Callable[[], None], epoch: int = 0) -> None:
    """What earlier runs achieved, into ``plan.history``; deliver it again. Needs the lease.

    A page in ``pages/`` that the journal does not know was published just before a crash: it is
    verified again and adopted. What lower epochs than ours left in ``work/`` is removed. ``fence``
    raises LeaseLost where that is another's to do. Raises OSError.
    """
    remembered = history.fold(read_journal(plan.folder.journal))
    present = history.sizes(plan.folder.pages)
    wanted = set(plan.pages)
    remembered.pages = {n: record for n, record in remembered.pages.items() if n in wanted}
    history.keep_present(remembered, present, plan.page_file)
    _adopt(plan, remembered, present, fence, epoch)
    plan.history = remembered
    fence()
    plan.folder.clear_work(epoch)
    files = [record.file for record in remembered.pages.values()]
    copies = [name for name in files if publish.deliver(plan.folder.pages / name, plan.output / name)]
    for name in copies:
        publish.secure(plan.output / name)
    if files:
        sync_folder(plan.folder.pages)
        sync_folder(plan.output)


def _adopt(
    plan: JobPlan,
    remembered: History,
    present: dict[str, int],
    fence: Callable[[], None],
    epoch: int,
) -> None:
    adopted = []
    for page in plan.pages:
        name = plan.page_file(page)
        if page in remembered.pages or name not in present:
            continue
        is_sized = not plan.spec.settings.recipes
        box = plan.reading.box(page)
        expected = Expected(plan.device, plan.spec.settings.dpi, box, is_sized=is_sized)
        status = (plan.folder.pages / name).lstat()
        try:
            picture = prove(plan.folder.pages / name, expected)
        except ProofFailed:
            fence()
            fenced.remove_if(plan.folder.pages / name, (status.st_dev, status.st_ino), epoch)
            continue
        record = PageRecord(page, name, picture.bytes, picture.sha256, picture.width, picture.height)
        remembered.pages[page] = record
        adopted.append(record)
    if adopted:
        fence()
        _journal_adopted(plan, adopted, epoch)


def _journal_adopted(plan: JobPlan, records: list[PageRecord], epoch: int) -> None:
    writer = JournalWriter(plan.folder.journal)
    try:
        writer.append(
            entry("page_delivered", time.time(), epoch=epoch, attempt="", cpu=0.0, **record.as_fields())
            for record in records
        )
        writer.sync()
    finally:
        writer.close()
