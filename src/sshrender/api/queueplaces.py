"""Tells each job that waits in the queue its place among the jobs of its user.

A coordinator runs the jobs of its own user only, so other users' jobs are not before a job.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sshrender.api.jobs import job_names, on_san, read_or_record
from sshrender.core.queueorder import Entry, LeaseHolder, places
from sshrender.errors import UserError
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.queue.queuescanner import entry_of
from sshrender.job.spec import require_signed_spec
from sshrender.views import queuewords

SQUASHED_USER = 65534
"""Owner of all files on NFS with all_squash (exports(5)): such a job may be this user's."""


class QueuedJob(NamedTuple):
    """What decides the place of a job. ``user``: the number of the user whose job it is."""

    user: int
    entry: Entry
    is_left_alone: bool = False
    """Whether no coordinator starts it (``is_left_alone``): such a job is before no other."""


class Place(NamedTuple):
    """The place of a job that can start, from 1, and in words what it waits for."""

    number: int
    waits: str


def of(jobs: Iterable[QueuedJob], damaged: Collection[str] = ()) -> dict[str, Place]:
    """Return the places of all jobs that can start, by name.

    All views show this place: ``status``, the dashboard and the web front end.
    """
    by_user: dict[int, list[Entry]] = {}
    for job in jobs:
        if not job.is_left_alone:
            by_user.setdefault(job.user, []).append(job.entry)
    entries = [entry for own in by_user.values() for entry in own]
    # A job that cannot be read counts as unfinished, as it does for the queue.
    unfinished = {*damaged, *(entry.name for entry in entries if not entry.is_over)}
    found: dict[str, Place] = {}
    for user, own in by_user.items():
        is_of_other = user not in (os.geteuid(), SQUASHED_USER)
        is_served = any(_is_of_queue(entry) for entry in own)
        for name, place in places(own, unfinished, time.time()).items():
            words = queuewords.waits(place, is_served=is_served, is_of_other=is_of_other)
            found[name] = Place(place, words)
    return found


def _is_of_queue(entry: Entry) -> bool:
    """Return whether a coordinator of the queue runs this job, and goes on with the next one."""
    return entry.holder is LeaseHolder.ACTIVE and entry.submitted is not None


def of_job(san: Path, name: str) -> Place | None:
    """Return the place of one job; None if it cannot start. Raises UserError.

    Takes 1.5 heartbeats if another machine holds a lease.
    """

    def work() -> Place | None:
        damaged: dict[str, str] = {}
        read = []
        for each in job_names(san):
            folder = JobFolder(san / each)
            found = read_or_record(san, each, partial(_entry, folder), damaged)
            if found is not None and not found[1].is_over:
                read.append((folder, *found))
        holders = lease.holders([folder.lease for folder, _, _ in read], unreadable={})
        jobs = []
        for folder, user, entry in read:
            if holders.get(folder.lease):
                jobs.append(QueuedJob(user, entry._replace(holder=LeaseHolder.ACTIVE)))
            else:
                jobs.append(QueuedJob(user, entry, is_left_alone(folder, user)))
        return of(jobs, damaged).get(name)

    return on_san(san, work)


def is_left_alone(folder: JobFolder, user: int) -> bool:
    """Return whether no coordinator starts the job of this user, because something else has changed it.

    False for another user's job, whose signature only that user can check. Reads the shared folder.
    """
    if user != os.geteuid():
        return False
    try:
        require_runnable(folder)
    except (UserError, OSError):
        return True
    return False


def require_runnable(folder: JobFolder) -> None:
    """Raise UserError if this user's coordinator on this machine would not run the job, or OSError."""
    require_signed_spec(folder)
    jobattributes.load_signed(folder)


def _entry(folder: JobFolder) -> tuple[int, Entry]:
    found = jobattributes.load(folder)
    return folder.path.lstat().st_uid, entry_of(folder.name, found, LeaseHolder.NONE)
