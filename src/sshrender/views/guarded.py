"""A view whose failure is no failure of the run that it shows."""

from __future__ import annotations

from collections.abc import Callable

from sshrender.core.snapshot import Snapshot
from sshrender.job.journalentries import JournalEntry
from sshrender.views.protocol import View


class GuardedView:
    """Passes on what it is told until the view raises; then ``tell`` gets the error, once."""

    def __init__(self, view: View, tell: Callable[[Exception], None]) -> None:
        self._view = view
        self._tell = tell
        self._has_failed = False

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry."""
        self._try(lambda: self._view.entry(entry))

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._try(lambda: self._view.snapshot(snapshot, now))

    def say(self, line: str) -> None:
        """See View.say."""
        self._try(lambda: self._view.say(line))

    def close(self) -> None:
        """See View.close. One that has failed is closed, too: the terminal may not be as it was."""
        self._has_failed, had_failed = False, self._has_failed
        self._try(self._view.close)
        self._has_failed = self._has_failed or had_failed

    def _try(self, show: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            show()
        except Exception as error:  # noqa: BLE001 - whatever it is, pages are worth more
            self._has_failed = True
            self._tell(error)
