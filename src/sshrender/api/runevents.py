"""The events that a caller of the api receives while a job runs.

The api prints nothing. The command line passes a ``views.reporter.Reporter``, which fits this protocol;
scripts pass nothing, or a ``DeliveryListener``.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sshrender.core.snapshot import Snapshot
from sshrender.errors import UserError
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.storagepause import Pause
from sshrender.views.interface import View

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.views.reporter import Reporter


def stderr_reporter(settings: Settings, complete: Callable[[str], str] = lambda hint: hint) -> Reporter:
    """Return the listener of a command: it writes to stderr, as the settings say.

    ``complete`` adds to a hint the options without which its command would do something else.
    """
    from sshrender.api import errorlog
    from sshrender.views.reporter import Reporter

    return Reporter(
        sys.stderr,
        progress=settings.progress,
        quiet=settings.quiet,
        verbose=settings.verbose,
        color=settings.color,
        log=errorlog.record,
        complete=complete,
    )


class Listener(Protocol):
    """Receives remarks, errors, progress and the summary of a run."""

    def print_line(self, line: str) -> None:
        """Receive a line of text that is not a journal entry."""

    def error(self, error: UserError) -> None:
        """Receive an error that ends the job, or keeps it from starting."""

    def report_defect(self, what: str, error: Exception) -> None:
        """Receive a failure beside the job, which continues."""

    def summary(self, summary: Mapping[str, Any], code: int) -> None:
        """Receive the summary of a run and its exit code."""

    def label_lines(self, document: str) -> None:
        """Receive the name of the document that everything from now on concerns."""

    def showing(self, job: str) -> contextlib.AbstractContextManager[View]:
        """Return the view that gets each journal entry while the job runs."""


@dataclass(frozen=True, slots=True)
class DeliveredPage:
    """A page that has just been delivered. ``file``: in the output folder."""

    number: int
    file: Path
    host: str
    bytes: int
    seconds: float
    is_suspect: bool


class SilentListener:
    """Ignores everything. Subclasses override what they need."""

    def print_line(self, line: str) -> None:
        """See Listener."""

    def error(self, error: UserError) -> None:
        """See Listener."""

    def report_defect(self, what: str, error: Exception) -> None:
        """See Listener."""

    def summary(self, summary: Mapping[str, Any], code: int) -> None:
        """See Listener."""

    def label_lines(self, document: str) -> None:
        """See Listener."""

    @contextlib.contextmanager
    def showing(self, job: str) -> Iterator[View]:  # noqa: ARG002 - the protocol names it
        """See Listener."""
        yield EntryView(lambda _entry: None)


class PauseView:
    """Passes everything to a view, and calls ``on_pause`` when a pause of the run begins or ends.

    While the storage fails the journal cannot say so.
    """

    def __init__(self, view: View, on_pause: Callable[[Pause | None], None]) -> None:
        self._on_pause = on_pause
        self._reason = ""
        self.entry, self.print_line, self.close = view.entry, view.print_line, view.close
        self._show = view.snapshot

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View."""
        if snapshot.paused != self._reason:
            self._reason = snapshot.paused
            self._on_pause(Pause.of_run(snapshot, time.time()))
        self._show(snapshot, now)


class EntryView:
    """A view that passes each journal entry to a function.

    The coordinator's loop waits for that function: it must be short.
    """

    def __init__(self, on_entry: Callable[[JournalEntry], None]) -> None:
        self._on_entry = on_entry

    def entry(self, entry: JournalEntry) -> None:
        """See View."""
        self._on_entry(entry)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """See View."""

    def print_line(self, line: str) -> None:
        """See View."""

    def close(self) -> None:
        """See View."""
