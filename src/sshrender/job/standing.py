"""How a job stands in the queue, and how people change that: held, released, cancelled, altered, again.

Requests of this kind change ``attributes.json``. A job that somebody coordinates is changed by him; any
other by whoever asks, who takes its lease for that moment. So there is one writer at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sshrender.job import attributes, lease, requests
from sshrender.job.attributes import CANCELLED, Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal import JournalWriter, entry, timestamp
from sshrender.job.requests import Request

OPERATIONS = frozenset(("hold", "release", "cancel", "resubmit", "alter", "remark"))
"""The requests that concern a job's place in the queue, not a run of it."""

TAKEN_WITHIN = 5.0
"""Seconds in which a living coordinator has taken a request: it looks twice in one (clerk.py)."""

PATIENCE = 60.0


class NotHeard(Exception):
    """Somebody holds the job's lease, and does not take requests."""


def after(found: Attributes, request: Request, now: float) -> Attributes:
    """The attributes once this was done; ``now`` in wall-clock seconds.

    What asks for what no attribute can be changes nothing: nobody else could do it either.
    """
    try:
        return _after(found, request, now)
    except ValueError:
        return found


def _after(found: Attributes, request: Request, now: float) -> Attributes:
    match request.op:
        case "hold":
            return found.changed(held=request.by, why=request.note)
        case "release":
            return found.changed(held="", why="")
        case "cancel" if not found.over:
            return found.changed(over=CANCELLED, held="", why=f"cancelled by {request.by}")
        case "resubmit":
            fields = {"over": "", "held": "", "why": "", "submitted": timestamp(now)}
            return found.changed(**{**fields, **request.changes})
        case "remark":
            return found.changed(why=request.note)
        case "alter":
            return found.changed(**request.changes)
        case _:
            return found


def settle(folder: JobFolder, epoch: int | None = None) -> Attributes:
    """Do what was asked while there was no coordinator; tell the journal. Needs the lease of ``epoch``.

    What concerns a run is too late: there was none. Raises UserError, LeaseLost or OSError.
    """
    found = attributes.load(folder)

    def do(request: Request) -> None:
        nonlocal found
        is_of_queue = request.op in OPERATIONS
        if is_of_queue:
            found = _apply(folder, found, request, epoch)
        _tell(folder, request, is_late=not is_of_queue)

    requests.take(folder, do)
    return found


def change(
    folder: JobFolder, request: Request, clock: Callable[[], float] = time.monotonic
) -> Attributes | None:
    """Have it done by whoever coordinates, or do it: the attributes then, None where another did it.

    Raises NotHeard, UserError or OSError.
    """
    end = clock() + PATIENCE
    while clock() < end:
        try:
            held = lease.take(folder.lease)
        except lease.LeaseHeld:
            if _is_taken(requests.ask(folder, request)):
                return None
            continue
        try:
            found = _apply(folder, settle(folder, held.epoch), request, held.epoch)
            _tell(folder, request, is_late=False)
            return found
        except lease.LeaseLost:
            continue  # we were stopped for so long that another process has the job by now
        finally:
            held.release()
    raise NotHeard


def _apply(folder: JobFolder, found: Attributes, request: Request, epoch: int | None) -> Attributes:
    changed = after(found, request, time.time())
    if changed != found:
        changed.save(folder, epoch)
    return changed


def _is_taken(path: Path) -> bool:
    """Whether a coordinator takes the request; one that does not is taken back."""
    end = time.monotonic() + TAKEN_WITHIN
    while path.exists():
        if time.monotonic() > end:
            try:
                path.unlink()
            except FileNotFoundError:
                return True  # at the last moment
            return False
        time.sleep(0.1)
    return True


def _tell(folder: JobFolder, request: Request, *, is_late: bool) -> None:
    writer = JournalWriter(folder.journal)
    try:
        writer.append([entry("requested", time.time(), is_late=is_late, **asdict(request))])
        writer.sync()
    finally:
        writer.close()
