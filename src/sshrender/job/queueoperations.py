"""How a job stands in the queue, and how people change that: held, released, cancelled, altered, again.

Requests of this kind change ``attributes.json``. A job that somebody coordinates is changed by him; any
other by whoever asks, who takes its lease for that moment. So there is one writer at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sshrender.job import attributes, lease, requests
from sshrender.job.attributes import CANCELLED, Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal import JournalWriter, entry, timestamp
from sshrender.job.requests import Request

OPERATIONS = frozenset(("hold", "release", "cancel", "resubmit", "alter", "remark"))
"""The requests that concern a job's place in the queue, not a run of it."""

TAKEN_TIMEOUT = 5.0
"""Seconds in which a live coordinator takes a request: it polls twice a second (requestpoller.py)."""

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


def admit(found: Attributes, request: Request) -> Attributes | None:
    """The attributes with this request among those that were done; None where it was done before."""
    if not request.id:
        return found  # it was never a file, so no copy of it exists
    return None if found.has_handled(request.id) else found.handling(request.id)


def settle(folder: JobFolder, epoch: int | None = None) -> Attributes:
    """Do what was asked while there was no coordinator; tell the journal. Needs the lease of ``epoch``.

    What concerns a run is too late: there was none. Raises UserError, Unsigned where the attributes are
    not this user's, LeaseLost or OSError.
    """
    found = attributes.load_signed(folder)

    def do(request: Request) -> None:
        nonlocal found
        admitted = admit(found, request)
        if admitted is None:
            return
        is_of_queue = request.op in OPERATIONS
        changed = after(admitted, request, time.time()) if is_of_queue else admitted
        found = _save(folder, found, changed, epoch)
        _tell(folder, "requested", is_late=not is_of_queue, **asdict(request))

    refused = requests.take(folder, do)
    if refused:
        _tell(folder, "requests_refused", count=refused)
    return found


def change(
    folder: JobFolder, request: Request, clock: Callable[[], float] = time.monotonic
) -> Attributes | None:
    """Have it done by whoever coordinates, or do it: the attributes then, None where another did it.

    Raises NotHeard, Unsigned for a job that is not this user's, UserError or OSError.
    """
    attributes.load_signed(folder)  # before its lease is touched
    end = clock() + PATIENCE
    while clock() < end:
        try:
            held = lease.take(folder.lease)
        except lease.LeaseHeld:
            if _is_taken(requests.ask(folder, request)):
                return None
            continue
        try:
            found = settle(folder, held.epoch)
            found = after(found, request, time.time())
            # Also where nothing changes: from then on what a predecessor writes late is refused.
            found.save(folder, held.epoch)
            _tell(folder, "requested", is_late=False, **asdict(request))
            return found
        except lease.LeaseLost:
            continue  # we were stopped for so long that another process has the job by now
        finally:
            held.release()
    raise NotHeard


def _save(folder: JobFolder, found: Attributes, changed: Attributes, epoch: int | None) -> Attributes:
    if changed != found:
        changed.save(folder, epoch)
    return changed


def _is_taken(path: Path) -> bool:
    """Whether a coordinator takes the request; one that does not is taken back."""
    end = time.monotonic() + TAKEN_TIMEOUT
    while path.exists():
        if time.monotonic() > end:
            try:
                path.unlink()
            except FileNotFoundError:
                return True  # at the last moment
            return False
        time.sleep(0.1)
    return True


def _tell(folder: JobFolder, kind: str, **fields: Any) -> None:
    writer = JournalWriter(folder.journal)
    try:
        writer.append([entry(kind, time.time(), **fields)])
        writer.sync()
    finally:
        writer.close()
