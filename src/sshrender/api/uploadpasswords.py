"""Passwords of uploaded documents: in the memory of the process that runs the queue, and nowhere else.

A job whose document needs one can only be started by a process that has it. Other coordinators leave
such a job alone, instead of holding it because they cannot open the document.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path

from sshrender.api.jobs import on_san
from sshrender.errors import UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.spec import load_spec

MAX_PASSWORDS = 1000
"""The one that was given first is dropped: its owner is asked for it again."""

MAX_REMEMBERED = 10_000
"""Jobs whose need of a password is remembered, at most. Then the table is emptied."""

WEB_OWNER = "web:"
"""Start of the owner of an uploaded job. Jobs of the command line name a file."""


class UploadPasswords:
    """By name of the job. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()
        self._needed: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"{len(self._known)} passwords"

    def give(self, job: str, password: str) -> None:
        """Remember the password of a job's document until the job is done, or this process ends."""
        with self._lock:
            self._known[job] = password
            self._known.move_to_end(job)
            while len(self._known) > MAX_PASSWORDS:
                self._known.popitem(last=False)

    def of(self, job: str) -> str | None:
        """Return the password of a job's document; None if it is not known here."""
        with self._lock:
            return self._known.get(job)

    def forget(self, job: str) -> None:
        """Drop a password that is not needed any more."""
        with self._lock:
            self._known.pop(job, None)

    def may_run(self, san: Path, job: str) -> bool:
        """Return whether this process can open the job's document; False, too, while the SAN hangs."""
        if self.of(job) is not None:
            return True
        # The need of a job's document never changes, so it is read once.
        if job not in self._needed:
            if len(self._needed) >= MAX_REMEMBERED:
                self._needed.clear()
            try:
                needed = on_san(san, partial(_needs_password, JobFolder(san / job)))
            except UserError:
                return False  # the queue is scanned again in a second
            # A file that cannot be read now may be the one of a job that is being made.
            if needed is None:
                return True
            self._needed[job] = needed
        return not self._needed[job]

    def forget_ended(self, san: Path) -> None:
        """Drop the passwords of jobs that were cancelled, done or removed elsewhere.

        Raises UserError while the SAN hangs.
        """
        with self._lock:
            known = list(self._known)
        for job in known:
            if on_san(san, partial(_needs_none, JobFolder(san / job))):
                self.forget(job)


def _needs_password(folder: JobFolder) -> bool | None:
    """Return whether an uploaded document needs one; None if the job's files cannot be read."""
    try:
        found, spec = jobattributes.load_or_none(folder), load_spec(folder)
    except UserError:
        return None  # the process of the job says what is wrong with its files
    if found is None or spec is None:
        return None
    return found.owner.startswith(WEB_OWNER) and spec.document.needs_password


def _needs_none(folder: JobFolder) -> bool:
    """Return whether a job is gone, or has ended in a way after which no page is rendered again."""
    if not folder.spec.is_file():
        return True
    found = jobattributes.load_or_none(folder)
    return found is not None and found.over in ("done", "cancelled")
