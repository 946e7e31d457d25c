"""All jobs of a SAN, as whoever looks after the queue needs to know them. Looked at again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sshrender.core.jobqueue import Entry, Holder
from sshrender.errors import UserError
from sshrender.files import user_in
from sshrender.job import attributes
from sshrender.job.attributes import Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.lease import LEASE_SECONDS, Observer

OVER_AGAIN = 20.0
"""Seconds between two looks at a job that is over: somebody may submit it again."""


class Shelf:
    """Remembers the leases that it has watched. One thread at a time."""

    def __init__(self, san: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._san = san
        self._clock = clock
        self._user: int | None = None
        self._observers: dict[str, Observer] = {}
        self._seen_since: dict[str, float] = {}
        self._over: dict[str, tuple[float, Entry]] = {}
        self.damaged: dict[str, str] = {}
        """Jobs whose attributes cannot be read, and why."""

    def look(self) -> list[Entry]:
        """Every job of this user that is there now: others' could not be written. Raises OSError."""
        if self._user is None:
            self._user = user_in(self._san)
        folders = [JobFolder(path.parent) for path in self._san.glob("*/job.json")]
        names = {folder.name for folder in folders if folder.belongs_to(self._user)}
        for known in (self._observers, self._seen_since, self._over, self.damaged):
            _keep(known, names)
        return [entry for name in sorted(names) if (entry := self._entry(name)) is not None]

    def _entry(self, name: str) -> Entry | None:
        now = self._clock()
        seen_at, known = self._over.get(name, (0.0, None))
        if known is not None and now - seen_at < OVER_AGAIN:
            return known
        folder = JobFolder(self._san / name)
        try:
            found = attributes.load(folder)
        except UserError as error:
            self.damaged[name] = error.what
            return None
        self.damaged.pop(name, None)
        holder = self._holder(folder, now)
        entry = _entry(name, found, holder)
        if holder is Holder.VANISHED:
            entry = entry._replace(standing=self._observers[name].standing())
        if entry.is_over:
            self._over[name] = (now, entry)
        else:
            self._over.pop(name, None)
        return entry

    def _holder(self, folder: JobFolder, now: float) -> Holder:
        """A lease that was never seen to move may be a dead one's: that takes LEASE_SECONDS to tell."""
        observer = self._observers.setdefault(folder.name, Observer(folder.lease))
        claim = observer.holder()
        if claim is None:
            self._seen_since.pop(folder.name, None)
            return Holder.NOBODY if observer.was_given_back() else Holder.VANISHED
        since = self._seen_since.setdefault(folder.name, now)
        if observer.has_moved:
            return Holder.SOMEBODY
        return Holder.UNSURE if now - since < 2 * LEASE_SECONDS else Holder.SOMEBODY


def _keep(known: dict[str, Any], names: set[str]) -> None:
    for name in known.keys() - names:
        del known[name]


def _entry(name: str, found: Attributes, holder: Holder) -> Entry:
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
    """A moment of the journal; 0 for none, or for what is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0
