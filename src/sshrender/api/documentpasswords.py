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
"""Jobs of which it is known whether they need a password. The table is emptied then."""

WEB_OWNER = "web:"
"""What the owner of an uploaded job begins with. Jobs of the command line name a file."""


class DocumentPasswords:
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
        # What a job's document needs never changes, so it is read once.
        if job not in self._needed:
            if len(self._needed) >= MAX_REMEMBERED:
                self._needed.clear()
            try:
                self._needed[job] = on_san(san, partial(_needs_password, JobFolder(san / job)))
            except UserError:
                return False  # the queue is scanned again in a second
        return not self._needed[job]


def _needs_password(folder: JobFolder) -> bool:
    try:
        found, spec = jobattributes.load_or_none(folder), load_spec(folder)
    except UserError:
        return False  # the process of the job says what is wrong with its files
    is_of_web = found is not None and found.owner.startswith(WEB_OWNER)
    return is_of_web and spec is not None and spec.document.needs_password
