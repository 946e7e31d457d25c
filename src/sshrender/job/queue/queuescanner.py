"""Scan all jobs of a shared folder for the queue's dispatcher, again and again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sshrender.config import keyfile
from sshrender.core.queueorder import Entry, LeaseHolder
from sshrender.errors import UserError
from sshrender.job import fencedfiles, jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.lease import Observer
from sshrender.job.signature import Unsigned
from sshrender.job.spec import require_signed_spec
from sshrender.storage.files import require_listing, user_in, visible

OVER_AGAIN = 20.0
"""Seconds after which a finished job is read again although its folder looks the same, as NFS shows an
old one for a while."""


class QueueSnapshot(NamedTuple):
    """The jobs at one moment.

    ``entries``: this user's jobs, by name; others' could not be written. ``unfinished``: the names of
    all jobs that are not known to be finished; another user's only if one of this user's comes after it.
    ``damaged``: this user's jobs that cannot be read, and why. ``unsigned``: those that are not signed
    with this user's key, and why: they may contain anything, so they are not run.
    """

    entries: list[Entry]
    unfinished: frozenset[str]
    damaged: dict[str, str]
    unsigned: Mapping[str, Unsigned] = MappingProxyType({})


class _Checked(NamedTuple):
    """Whether a job.json in this state is signed with this key; the job's id if it is."""

    key: bytes | None
    status: os.stat_result
    result: Unsigned | str


class _Finished(NamedTuple):
    """A finished job: when it was read, and the folder as it was then."""

    seen_at: float
    folder: os.stat_result
    entry: Entry


class QueueScanner:
    """Scans the jobs, and remembers the leases that it has observed. One thread at a time."""

    def __init__(self, san: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._san = san
        self._clock = clock
        self._user: int | None = None
        self._observers: dict[str, Observer] = {}
        self._finished: dict[str, _Finished] = {}
        self._checked: dict[str, _Checked] = {}

    def scan(self) -> QueueSnapshot:
        """Return a snapshot.

        Raises OSError if the shared folder itself cannot be read, UserError if the key cannot be used.
        """
        keyfile.load()  # what is wrong with it is wrong with every job
        # Once: a probe file is made for it.
        if self._user is None:
            self._user = user_in(self._san)
        # A dot begins what is not a job, or none any more: cli/clean.py moves one aside to remove it.
        entries: list[Entry] = []
        damaged: dict[str, str] = {}
        unsigned: dict[str, Unsigned] = {}
        for name in visible(self._san):
            try:
                entry = self._of_ours(JobFolder(self._san / name), self._user)
            except Unsigned as error:
                unsigned[name] = error
            except UserError as error:
                damaged[name] = error.what
            except OSError as error:
                # The folder as a whole may have failed: then this raises, and no job is called damaged
                # for it.
                require_listing(self._san)
                damaged[name] = f"{error.filename or self._san / name}: {error.strerror}"
            else:
                entries += [] if entry is None else [entry]
        unread = damaged.keys() | unsigned.keys()
        self._remember({entry.name for entry in entries} | unread)
        return QueueSnapshot(entries, self._unfinished(entries, unread), damaged, unsigned)

    def _of_ours(self, folder: JobFolder, user: int) -> Entry | None:
        """Return the entry of a job of this user; None for others. Raises UserError or OSError."""
        if not folder.belongs_to(user) or not _is_job(folder):
            return None
        now, known = self._clock(), self._finished.get(folder.name)
        # Before the attributes are read: what is written meanwhile is read with the next scan.
        status = folder.path.lstat()
        # Attributes of finished jobs are read seldom: most jobs of a shared folder are finished. If a
        # user submits such a job again, another file replaces them, which shows in the folder.
        if known is not None and now - known.seen_at < OVER_AGAIN and _is_same(known.folder, status):
            return known.entry
        entry = self._entry(folder)
        if entry.is_over:
            self._finished[folder.name] = _Finished(now, status, entry)
        else:
            self._finished.pop(folder.name, None)
        return entry

    def _entry(self, folder: JobFolder) -> Entry:
        """Return the entry of a job. Raises UserError or OSError."""
        name = folder.name
        # The signature first: what is not signed is not looked at further.
        found = jobattributes.load_signed(folder, self._require_signed(folder))
        holder = self._holder(folder)
        entry = entry_of(name, found, holder)
        if holder is LeaseHolder.VANISHED:
            # Only then is it known for long enough; ``take`` compares it with what it sees.
            entry = entry._replace(dead_lease=self._observers[name].dead_lease())
        return entry

    def _require_signed(self, folder: JobFolder) -> str:
        """Return the job's id. Raises Unsigned, UserError or OSError.

        A file is read once: a host can put thousands there. The process that runs the job reads it
        again.
        """
        status, key = folder.spec.lstat(), keyfile.load()
        known = self._checked.get(folder.name)
        # The state of the file is part of the memory: one that is written to is read again.
        if known is None or known.key != key or not _is_same(known.status, status):
            known = self._checked[folder.name] = _Checked(key, status, _check_signature(folder))
        if isinstance(known.result, Unsigned):
            raise known.result
        return known.result

    def _holder(self, folder: JobFolder) -> LeaseHolder:
        """Return the holder.

        It takes LEASE_SECONDS to find out that a lease which never changed is dead.
        """
        observer = self._observers.setdefault(folder.name, Observer(folder.lease))
        claim = observer.holder()
        if claim is None:
            # Released, as far as is known; else the heartbeat has stood still.
            return LeaseHolder.NONE if observer.was_given_back() else LeaseHolder.VANISHED
        return LeaseHolder.ACTIVE if observer.has_moved else LeaseHolder.UNSURE

    def _remember(self, names: set[str]) -> None:
        for known in (self._observers, self._finished, self._checked):
            _keep(known, names)

    def _unfinished(self, entries: list[Entry], unread: Iterable[str]) -> frozenset[str]:
        left = [entry for entry in entries if not entry.is_over]
        # A job that cannot be read counts as unfinished: jobs that depend on it wait.
        unfinished = {*unread, *(entry.name for entry in left)}
        named = {name for entry in left for name in entry.after}
        others = named - unfinished - {entry.name for entry in entries}
        return frozenset(unfinished | {name for name in others if self._is_unfinished(name)})

    def _is_unfinished(self, name: str) -> bool:
        """Whether a job, of any user, exists and is not known to be finished."""
        # The name comes from the attributes of a job: it must not lead out of the folder.
        if "/" in name or name.startswith("."):
            return False
        folder = JobFolder(self._san / name)
        try:
            return _is_job(folder) and not _is_known_over(folder)
        except (OSError, ValueError, RecursionError):
            # Not known to be finished.
            return True


def _check_signature(folder: JobFolder) -> Unsigned | str:
    """Verify a job.json. Raises UserError if it is damaged, or OSError."""
    try:
        return require_signed_spec(folder)
    except Unsigned as error:
        return error


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether both describe one file, not written to in between, or one folder without new names."""
    # ctime cannot be set by a user: a file that was changed shows.
    keys = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _is_job(folder: JobFolder) -> bool:
    """Return whether the folder is a job. Raises OSError if that cannot be determined."""
    try:
        folder.spec.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_known_over(folder: JobFolder) -> bool:
    """Whether its attributes say that it is finished. Raises OSError, ValueError or RecursionError."""
    fields = json.loads(fencedfiles.read(folder.attributes))
    return isinstance(fields, dict) and isinstance(fields.get("over"), str) and fields["over"] != ""


def _keep(known: dict[str, Any], names: set[str]) -> None:
    for name in known.keys() - names:
        del known[name]


def entry_of(name: str, found: Attributes, holder: LeaseHolder) -> Entry:
    """Return a job as the queue orders it, by its attributes."""
    return Entry(
        name,
        holder,
        priority=found.priority,
        submitted=_seconds(found.submitted) if found.is_queued else None,
        is_over=bool(found.over),
        is_held=bool(found.held),
        after=found.after,
        not_before=_seconds(found.not_before),
    )


def _seconds(moment: str) -> float:
    """Return a time of the journal in seconds; 0 for none, or for a damaged one."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError):
        return 0.0
