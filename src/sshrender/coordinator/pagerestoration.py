"""Restores the pages of earlier runs: compares the journal with the files in ``pages/``.

Anything that has a page's name there and is not the verified file (a link, a FIFO, a folder, other
content) is removed, and the page is rendered again. No host is charged: any of them, or the user, may
have put it there.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sshrender.coordinator.jobopening import require_time
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.workers.writeerrorscope import OutputFailed, classify, is_of_one_name
from sshrender.job.journal import history, journal
from sshrender.job.journal.history import History, PageRecord
from sshrender.job.journal.journalformat import stamped
from sshrender.job.output import publish
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.process import Verifications
from sshrender.job.verification.verify import PageImage, open_page
from sshrender.renderers.constants import FILE_TO_MEMORY
from sshrender.storage.files import sync_folder

BLOCKED_TIMEOUT, BLOCKED_INTERVAL = 3.0, 0.5
"""Seconds for which pages are tried again if their names in the output folder cannot be written."""


def restore_pages(plan: JobPlan, fence: Callable[[], None], epoch: int) -> None:
    """Load the pages of earlier runs into ``plan.history``, and deliver them again. Needs the lease.

    A page in ``pages/`` that the journal does not know was published just before a crash: it is verified
    and adopted. Files of lower epochs in ``work/`` are removed. ``fence`` raises LeaseLost once another
    coordinator has the job. Raises OSError, or UserError if the deadline has passed or a link is in the
    place of a folder.
    """
    plan.folder.require_workspaces()  # checked again: it may have changed before we had the lease
    remembered = history.of(journal.read_journal(plan.folder.journal))
    _remove_leftovers(plan.folder.pages, fence)
    present = history.sizes(plan.folder.pages)
    selected = set(plan.pages)
    # Pages that this job's settings do not select may be left from other page lists.
    remembered.pages = {n: record for n, record in remembered.pages.items() if n in selected}
    history.keep_present(remembered, present, plan.page_file)
    _adopt(plan, remembered, present, fence, epoch)
    copies = _deliver_all(plan, remembered, fence, lambda: require_time(plan))
    plan.history = remembered
    fence()
    plan.folder.clear_work(epoch)
    for path in copies:
        _secure(path)
    if remembered.pages:
        sync_folder(plan.folder.pages)
        sync_folder(plan.output)


def complete_output(plan: JobPlan, fence: Callable[[], None]) -> None:
    """If the output folder was made again during the run, deliver the pages that it lacks.

    Any other folder is left alone: the user may take pages out of it while the job runs. Raises
    OutputLost if it is another job's by now, OutputFailed if a page cannot be delivered, or OSError.
    """
    # A folder that was made again after the last delivery is noticed here.
    plan.claim.require()
    if not plan.claim.is_made_again:
        return
    present = history.sizes(plan.output)
    pages = {n: page for n, page in plan.history.pages.items() if page.file not in present}
    lacking = replace(plan.history, pages=dict(pages))
    # Whatever the deadline: the run is over, and this takes a moment.
    for path in _deliver_all(plan, lacking, fence, lambda: None):
        _secure(path)
    sync_folder(plan.output)
    undelivered = sorted(pages.keys() - lacking.pages.keys())
    if undelivered:
        reason = f"it was made again, and lacks pages: {', '.join(map(str, undelivered[:20]))}"
        raise OutputFailed(errno.EIO, reason, str(plan.output))


def _deliver_all(
    plan: JobPlan, remembered: History, fence: Callable[[], None], check_time: Callable[[], None]
) -> list[Path]:
    """Deliver every page again; return the copies to flush. Raises OSError, or as ``check_time``.

    Pages that are gone leave ``remembered``, and so do those whose name in the output folder cannot be
    written: they are tried for a moment, and put into ``plan.blocked``.
    """
    copies: list[Path] = []
    left, blocked = list(remembered.pages.items()), dict[int, str]()
    end = time.monotonic() + BLOCKED_TIMEOUT
    # Invariant: ``left`` holds what is not delivered yet, ``blocked`` the reasons of the last try.
    while left:
        again, blocked = [], {}
        for number, record in left:
            check_time()
            # Before the file is opened: if it fails, exactly what was seen here is removed.
            seen = publish.identity(plan.folder.pages / record.file)
            try:
                copies += _deliver(plan, record)
            except (VerificationFailed, FileNotFoundError):
                _remove(plan.folder.pages / record.file, seen, fence)
                del remembered.pages[number]
            except OutputFailed as error:
                failure = classify(error, plan.folder.pages, Path(error.filename), "output")
                # A failure of the whole folder would be met by every page: it ends the run's start.
                if not failure.is_one_name:
                    raise
                again.append((number, record))
                blocked[number] = failure.reason
        left = again if time.monotonic() < end else []
        if left:
            time.sleep(BLOCKED_INTERVAL)
    for number in blocked:
        del remembered.pages[number]
    plan.blocked = blocked
    return copies


def _secure(path: Path) -> None:
    try:
        publish.secure(path)
    except OSError as error:
        raise OutputFailed.at(path, error) from error


def _remove_leftovers(pages: Path, fence: Callable[[], None]) -> None:
    """Remove unfinished copies, and anything but a regular file that has a page's name."""
    with os.scandir(pages) as entries:
        found = [
            entry.name
            for entry in entries
            if entry.name.startswith((".page-", publish.REMOVED))
            # follow_symlinks=False: a link to a page elsewhere must not pass for the page.
            or (entry.name.startswith("page-") and not entry.is_file(follow_symlinks=False))
        ]
    for name in found:
        _remove(pages / name, publish.identity(pages / name), fence)


def _remove(path: Path, seen: publish.Identity | None, fence: Callable[[], None]) -> None:
    """Remove anything but the page that has its name. Raises OSError if the storage fails.

    A file that alone cannot be removed stays: its page is rendered, waits for the name, and then fails.
    """
    fence()
    try:
        publish.remove(path, seen)
    except OSError as error:
        if not is_of_one_name(error, path.parent, "restored"):
            raise


def _deliver(plan: JobPlan, record: PageRecord) -> list[Path]:
    """Deliver a page, if its file is still the verified one; return the copies that need a flush.

    Raises VerificationFailed, FileNotFoundError or another OSError.
    """
    path = plan.folder.pages / record.file
    page = open_page(path)
    try:
        size = os.fstat(page).st_size
        if size != record.bytes or publish.digest(page, size) != record.sha256:
            raise VerificationFailed("changed since it was verified")
        return _deliver_open(plan, page, record)
    finally:
        os.close(page)


def _deliver_open(plan: JobPlan, page: int, record: PageRecord) -> list[Path]:
    target, final = plan.output / record.file, plan.folder.pages / record.file
    owned = publish.own(page, final, record.sha256)
    try:
        is_copy = _deliver_as(plan, owned, target, record.sha256)
        _redeliver(plan, owned, record)
        return [target] if is_copy else []
    finally:
        os.close(owned)


def _deliver_as(plan: JobPlan, page: int, target: Path, sha256: str) -> bool:
    """Deliver an open page; return whether it was copied. Raises OutputFailed or VerificationFailed."""
    try:
        return plan.claim.deliver(page, target, sha256)
    except FileNotFoundError:
        raise OutputFailed(errno.ENOTDIR, "the folder is gone", str(target)) from None
    except OSError as error:
        raise OutputFailed.at(target, error) from error


def _redeliver(plan: JobPlan, owned: int, record: PageRecord) -> None:
    """Deliver the file that has replaced this page meanwhile, if any, perhaps by another coordinator.

    Raises VerificationFailed then, or OSError.
    """
    other = publish.other_in_place(owned, plan.folder.pages / record.file, record.sha256)
    if other is None:
        return
    verifications = Verifications()
    try:
        # Its content is unknown, so it is verified like a page that a host reports.
        image = _verify_open(plan, record.page, other, verifications)
        if _deliver_as(plan, other, plan.output / record.file, image.sha256):
            _secure(plan.output / record.file)
    finally:
        verifications.stop()
        os.close(other)
    raise VerificationFailed("replaced while it was delivered")


def _adopt(
    plan: JobPlan,
    remembered: History,
    present: dict[str, int],
    fence: Callable[[], None],
    epoch: int,
) -> None:
    adopted = []
    verifications = Verifications()
    try:
        for page in plan.pages:
            name = plan.page_file(page)
            if page in remembered.pages or name not in present:
                continue
            require_time(plan)
            seen = publish.identity(plan.folder.pages / name)
            if page in remembered.withdrawn:  # an outvoted host's file that was not removed in time
                fence()
                publish.remove(plan.folder.pages / name, seen)
                continue
            try:
                image = _verify(plan, page, plan.folder.pages / name, verifications)
            except (VerificationFailed, FileNotFoundError):
                _remove(plan.folder.pages / name, seen, fence)
                continue
            # Host and seconds are unknown: the journal of that run did not get so far.
            record = PageRecord(page, name, image.bytes, image.sha256, image.width, image.height)
            remembered.pages[page] = record
            adopted.append(record)
    finally:
        verifications.stop()
    if adopted:
        fence()
        _journal_adopted(plan, adopted, epoch)


def _verify(plan: JobPlan, page: int, path: Path, verifications: Verifications) -> PageImage:
    """Verify a file by its path. Raises VerificationFailed or OSError."""
    descriptor = open_page(path)
    try:
        return _verify_open(plan, page, descriptor, verifications)
    finally:
        os.close(descriptor)


def _verify_open(plan: JobPlan, page: int, descriptor: int, verifications: Verifications) -> PageImage:
    # Pages of recipes have a size of their own: without recipes the page's size decides.
    expected = plan.expected(plan.reading.box(page), is_sized=not plan.spec.settings.recipes)
    return verifications.verify(descriptor, expected, FILE_TO_MEMORY * plan.request.limits.page_memory)


def _journal_adopted(plan: JobPlan, records: list[PageRecord], epoch: int) -> None:
    entries = (stamped(record.as_entry(), time.time(), epoch) for record in records)
    journal.append(plan.folder.journal, entries)
