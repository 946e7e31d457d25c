"""Decide which journal entries report a problem, and how severe it is. Pure."""

from __future__ import annotations

from sshrender.job.journal import journalentries as je

NOTHING, WARNING, ERROR = 0, 1, 2
"""The severity of an entry. An error needs a person; a warning reports a problem that was handled."""

_BAD_HOST_STATES = frozenset(("lost", "refused", "quarantined"))


def severity(entry: je.JournalEntry) -> int:
    """Return NOTHING, WARNING or ERROR."""
    match entry:
        case je.PageFailed() | je.StorageFailed():
            return ERROR
        case je.HostStateChanged():
            return ERROR if entry.state in _BAD_HOST_STATES else NOTHING
        case je.RunEnded():
            return NOTHING if entry.state == "done" else ERROR
        case je.HostsAwaited():
            return WARNING if entry.waits else NOTHING
        case je.PageDelivered():
            return WARNING if entry.diagnostics else NOTHING
        case (
            je.AttemptFailed()
            | je.PageWaits()
            | je.StorageSuspected()
            | je.PageSuspected()
            | je.PageWithdrawn()
            | je.PageFellBack()
            | je.DocumentDiagnosed()
            | je.FontsMissing()
            | je.SplitFailed()
            | je.FolderNotSynced()
            | je.ThumbnailsLost()
            | je.RequestsRefused()
        ):
            return WARNING
        case _:
            return NOTHING
