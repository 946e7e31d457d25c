"""Replay what a run waits for: a usable host, or the next try to write a page. Pure."""

from __future__ import annotations

from sshrender.job.journal import journalentries as je
from sshrender.job.journal.storagepause import Pause


class RunWaits:
    """What the run waits for now, and until when; nothing after its end. See Replay."""

    def __init__(self) -> None:
        self.host: Pause | None = None
        """The wait for a usable host, if the run ends when it has waited long enough."""
        self.write: Pause | None = None
        """The time in which no page is sent, as some could not be written though the storage works."""

    def take(self, entry: je.JournalEntry) -> None:
        """Apply the next entry of the journal."""
        match entry:
            case je.RunStarted() | je.RunEnded():
                self.host = self.write = None
            case je.HostsAwaited():
                self.host = Pause.of(entry) if entry.waits else None
            case je.StorageSuspected():
                self.write = Pause.of(entry)
            # Pages are sent again. A pause replaces it.
            case je.PageSent() | je.StorageFailed():
                self.write = None
            # One that was in work is still written meanwhile, and does not end it.
            case je.PageDelivered() if self.write is not None and entry.time >= self.write.until:
                self.write = None
            case _:
                pass
