"""Keep a defect of a view away from the run that it shows."""

from __future__ import annotations

from collections.abc import Callable

from sshrender.core.snapshot import Snapshot
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.views.interface import View


class GuardedView:
    """Passes every call to a view until the view raises; then calls ``report`` with the error, once.

    ``complete`` adds to a hint the options without which its command would do something else.
    """

    def __init__(
        self,
        view: View,
        report: Callable[[Exception], None],
        complete: Callable[[str], str] = lambda hint: hint,
    ) -> None:
        self._view = view
        self._report = report
        self._complete = complete
        self._has_failed = False

    def entry(self, entry: JournalEntry) -> None:
        """See View.entry."""
        self._try(lambda: self._view.entry(entry))

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View.snapshot."""
        self._try(lambda: self._view.snapshot(snapshot, now))

    def print_line(self, line: str) -> None:
        """See View.print_line."""
        is_hint = line.startswith("hint: ")
        self._try(lambda: self._view.print_line(self._complete(line) if is_hint else line))

    def close(self) -> None:
        """See View.close. A view that has failed is closed, too: it may have changed the terminal."""
        # The view gets one more call after it has failed, so that the terminal is restored.
        self._has_failed, had_failed = False, self._has_failed
        self._try(self._view.close)
        # An error in that call has been reported; an earlier one is not reported again.
        self._has_failed = self._has_failed or had_failed

    def _try(self, show: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            show()
        except Exception as error:  # noqa: BLE001 - no defect of a view may end the run
            self._has_failed = True
            self._report(error)
