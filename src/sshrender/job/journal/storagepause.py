"""A pause: of a run without storage or hosts, or of a page whose file cannot be written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sshrender.job.journal.journalentries import (
    HostsAwaited,
    PageWaits,
    StorageFailed,
    StorageSuspected,
)
from sshrender.job.journal.journalformat import timestamp

if TYPE_CHECKING:
    from sshrender.core.snapshot import Snapshot


_Entry = StorageFailed | PageWaits | StorageSuspected | HostsAwaited
"""The entries that begin a pause."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The pause of a run or a page: its reason, start and end. Times are as in the journal.

    ``until`` is empty if it is not known.
    """

    reason: str
    since: str
    until: str = ""

    @classmethod
    def of(cls, entry: _Entry) -> Pause:
        """Return the pause that an entry begins."""
        match entry:
            case HostsAwaited():
                reason = "no host is usable"
            case StorageSuspected(host=host) if host:
                reason = f"{host}: {entry.reason}"
            case _:
                reason = entry.reason
        return cls(reason, entry.time, _until(entry))

    @classmethod
    def of_run(cls, shot: Snapshot, now: float) -> Pause | None:
        """Return the pause of a run, if it is paused; ``now``: wall-clock seconds."""
        if not shot.paused:
            return None
        return cls.begun(shot.paused, now - shot.paused_seconds, now + shot.pause_left)

    @classmethod
    def begun(cls, reason: str, since: float, until: float) -> Pause:
        """Return a pause with times in wall-clock seconds."""
        return cls(reason, timestamp(since), timestamp(until))

    def as_json(self) -> dict[str, str | None]:
        """Return its fields as ``status --json`` prints them."""
        return {**asdict(self), "until": self.until or None}


def _until(entry: _Entry) -> str:
    if not entry.waits or not entry.time:
        return ""
    try:
        return timestamp((entry.moment + timedelta(seconds=entry.waits)).timestamp())
    except (OverflowError, ValueError, OSError):  # another program may have written any number
        return ""
