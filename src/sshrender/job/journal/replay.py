"""Replay a journal: give its entries, in order, to everything that follows them.

Status, history, accounts, the dashboard and the overview are each a ``Replay``. One pass over a journal
serves several of them: another user's may be as large as a reader allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sshrender.job.journal.journalentries import JournalEntry


class Replay(Protocol):
    """A state that follows from the entries of a journal."""

    def take(self, entry: JournalEntry) -> None:
        """Apply the next entry. Never raises: an entry that does not fit is ignored."""
        ...


def replay(entries: Iterable[JournalEntry], *followers: Replay) -> None:
    """Give each entry to each follower, in order. Raises the errors of ``entries``."""
    for entry in entries:
        for follower in followers:
            follower.take(entry)
