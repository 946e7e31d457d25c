"""Messages from the manager of a pool to the loop of the run; its reports are in pool.py."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sshrender.job.journal import journalentries as je


@dataclass(frozen=True, slots=True)
class EntryRequested:
    """An entry to record; ``written`` is set when the journal has it."""

    entry: je.JournalEntry
    written: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class PilotRetiring:
    """A pilot's allocation ends soon: it should get no more pages."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class PilotEnded:
    """A pilot's allocation has ended."""

    host: str
    reason: str
