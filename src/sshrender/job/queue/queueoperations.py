"""Change how a job is queued: hold, release, cancel, alter, resubmit.

These requests change ``attributes.json``. The job's coordinator makes the change. If there is none, the
command that asks makes it itself, under the job's lease. So there is one writer at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import CANCELLED, DONE, Attributes
from sshrender.job.journal import journal
from sshrender.job.journal.journalentries import JournalEntry, RequestHandled, RequestsRefused
from sshrender.job.journal.journalformat import stamped, timestamp
from sshrender.job.queue import requests
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request

TAKEN_TIMEOUT = 5.0
"""Seconds in which a live coordinator takes a request: it polls twice a second (requestpoller.py)."""

CHANGE_TIMEOUT = 60.0


class NotHeard(Exception):
    """Another process holds the job's lease, and takes no requests."""


def after(found: Attributes, request: Request, now: float) -> Attributes:
    """Return the attributes after a request; ``now`` in wall-clock seconds.

    A request for a value that no attribute can have changes nothing.
    """
    try:
        return _after(found, request, now)
    except ValueError:
        return found


def _after(found: Attributes, request: Request, now: float) -> Attributes:
    match request.op:
        case Operation.HOLD:
            return found.changed(held=request.by, why=request.note)
        case Operation.RELEASE:
            return found.changed(held="", why="")
        case Operation.CANCEL if found.over:
            return found
        # A job that has ended stays as it ended.
        case Operation.CANCEL:
            return found.changed(over=CANCELLED, held="", why=f"cancelled by {request.by}")
        case Operation.RESUBMIT:
            fields = {"over": "", "held": "", "why": "", "submitted": timestamp(now)}
            # The changes come last: they may set what is reset here.
            return found.changed(**{**fields, **request.changes})
        case Operation.REMARK:
            return found.changed(why=request.note)
        case Operation.ALTER:
            return found.changed(**request.changes)
        # Nothing of these is kept: the next run of the job does not know of them.
        case Operation.DRAIN | Operation.UNDRAIN | Operation.RETRY | Operation.MOVE:
            return found  # they concern the run, not the queue
        case _:
            assert_never(request.op)


def admit(found: Attributes, request: Request) -> Attributes | None:
    """Return the attributes with this request among those handled; None if it was handled before."""
    if not request.id:
        return found  # it was never a file, so that no copy of it exists
    return None if found.has_handled(request.id) else found.handling(request.id)


def handle_requests(folder: JobFolder, epoch: int | None = None) -> Attributes:
    """Handle and record the requests that came while there was no coordinator; return the attributes.

    Needs the lease of ``epoch``. A request that concerns a run is too late: there was none. Raises
    UserError, Unsigned if the attributes are not this user's, LeaseLost or OSError.
    """
    # Before anything is changed: after an entry was appended, an old journal could not be told from a
    # current one.
    journal.require_current(folder.journal)
    found = jobattributes.load_signed(folder)

    def do(request: Request) -> None:
        nonlocal found
        admitted = admit(found, request)
        if admitted is None:
            return
        # Saved before the entry is recorded: a crash in between loses a line of history, not the
        # change.
        found = _save(folder, found, after(admitted, request, time.time()), epoch)
        # Only requests of the queue have an effect without a run.
        record(folder, handled(request, is_late=not request.op.is_of_queue))

    refused = requests.take(folder, do)
    if refused:
        record(folder, RequestsRefused(count=refused))
    return found


def change(
    folder: JobFolder,
    request: Request,
    clock: Callable[[], float] = time.monotonic,
    *,
    is_complete: Callable[[], bool] = lambda: False,
) -> Attributes | None:
    """Have the job's coordinator make a change, or make it here if there is none.

    ``is_complete``: whether every page is delivered. Such a job is done, and cancelling leaves it so.
    A job that has ended as done is not held.

    Return the attributes afterwards; None if the coordinator made the change. Raises NotHeard, Unsigned
    for a job that is not this user's, UserError or OSError.
    """
    # Also without the right to sign, as on a machine without the key, taking the lease would delay its
    # coordinator.
    jobattributes.load_signed(folder)  # before its lease is touched
    end = clock() + CHANGE_TIMEOUT
    while clock() < end:
        try:
            held = lease.take(folder.lease)
        # The holder is asked instead; if it does not take the request either, both are tried again.
        except lease.LeaseHeld:
            if _is_taken(requests.ask(folder, request)):
                return None
            continue
        try:
            found = handle_requests(folder, held.epoch)
            # There is nothing to hold; a later run would begin as held.
            is_needless = request.op is Operation.HOLD and found.over == DONE
            found = found if is_needless else after(found, request, time.time())
            # After all pages were delivered a cancellation has nothing left to end.
            if request.op is Operation.CANCEL and found.over == CANCELLED and is_complete():
                found = found.changed(over=DONE, why="")
            # Saved even if nothing changes: from then on a late write of a predecessor is refused.
            found.save(folder, held.epoch)
            if not is_needless:
                record(folder, handled(request, is_late=False))
            return found
        except lease.LeaseLost:
            continue  # this process was stopped for so long that another one has the job by now
        finally:
            # In any case, so that the job's next coordinator need not wait for LEASE_SECONDS.
            held.release()
    raise NotHeard


def _save(folder: JobFolder, found: Attributes, changed: Attributes, epoch: int | None) -> Attributes:
    if changed != found:
        changed.save(folder, epoch)
    return changed


def _is_taken(path: Path) -> bool:
    """Whether a coordinator takes the request; one that is not taken is removed."""
    end = time.monotonic() + TAKEN_TIMEOUT
    # A request that is gone was taken: the coordinator removes it after it has handled it.
    while path.exists():
        if time.monotonic() > end:
            try:
                path.unlink()
            except FileNotFoundError:
                return True  # at the last moment
            return False
        time.sleep(0.1)
    return True


def handled(request: Request, *, is_late: bool) -> RequestHandled:
    """Return the journal entry of a request that was handled."""
    return RequestHandled(
        op=request.op,
        by=request.by,
        host=request.host,
        page=request.page,
        note=request.note,
        changes=request.changes,
        id=request.id,
        is_late=is_late,
    )


def record(folder: JobFolder, entry: JournalEntry) -> None:
    """Append an entry to the job's journal. Needs the job's lease. Raises OSError."""
    journal.append(folder.journal, [stamped(entry, time.time())])
