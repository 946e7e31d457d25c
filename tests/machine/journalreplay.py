"""Replay the journal of a run through a scheduler: its attempts, their ends, and the pages' states.

A journal does not record when a slot began a page or what load a host had, so that the scheduler's own
choices cannot be repeated. Which page goes to which host is taken from the journal; everything that
follows from it is the scheduler's: names of attempts, charges, given-up pages, terminal states.
"""

from __future__ import annotations

from collections.abc import Iterable

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FailureKind, HostState, PageState
from sshrender.job.journal import journalentries as je
from sshrender.views import jobmodel

IN_JOB_MODEL = {
    PageState.UNREADY: jobmodel.WAITING,
    PageState.WAITING: jobmodel.WAITING,
    PageState.SENT: jobmodel.SENT,
    PageState.VERIFYING: jobmodel.SENT,
    PageState.DONE: jobmodel.DONE,
    PageState.SUSPECT: jobmodel.SUSPECT,
    PageState.FAILED: jobmodel.FAILED,
}
"""The states of the scheduler's pages, as the views name them."""


class ScheduledReplay:
    """A scheduler that is in the state that a journal tells of. See Replay (job/journal/replay.py)."""

    def __init__(
        self,
        pages: Iterable[int],
        hosts: Iterable[str],
        policy: Policy,
        entries: Iterable[je.JournalEntry],
    ) -> None:
        self.scheduler = Scheduler(policy, map(HostPlan, hosts), pages)
        self._delivered = {
            entry.attempt: entry for entry in entries if isinstance(entry, je.PageDelivered)
        }
        self.now = 0.0
        self.ended = False
        self._failed: set[int] = set()
        self._released: dict[str, do.ReturnPage | do.DropAttempt] = {}

    def take(self, entry: je.JournalEntry) -> None:
        """Apply the next entry. Fails where the scheduler does not come to what the journal says."""
        self.now = max(self.now, entry.moment.timestamp())
        match entry:
            case je.RunStarted():
                self._note(self.scheduler.start(self.now))
            case je.RunEnded():
                self.ended = True
            case je.HostConnected():
                look = HostFingerprint(entry.ghostscript, entry.canary, entry.fonts)
                self._tell(
                    ev.HostConnected(
                        entry.host, entry.cores, entry.load, 0.0, slots=entry.slots, fingerprint=look
                    )
                )
            case je.HostStateChanged():
                host = self.scheduler.hosts[entry.host]
                self.scheduler._run.set_state(host, HostState(entry.state), entry.reason)
                self.scheduler._run.take_commands()
            case je.StorageFailed():
                self._tell(ev.StorageFailed(entry.reason))
            case je.StorageRecovered():
                self._tell(ev.StorageRecovered())
            case je.PageEntry():
                self._take_of_page(entry)
            case _:
                pass

    def _take_of_page(self, entry: je.PageEntry) -> None:
        page = self.scheduler.page_queue[entry.page]
        match entry:
            case je.PageSent():
                self.scheduler._run.send(page, self.scheduler.hosts[entry.host], entry.because)
                (sent,) = self.scheduler._run.take_commands()
                assert isinstance(sent, do.RenderPage)
                assert (sent.page, sent.attempt) == (entry.page, entry.attempt), "an attempt is missing"
                self._render(entry)
            case je.PageReturned() | je.AttemptDropped():
                self._release(entry)
            case je.AttemptFailed():
                kind = FailureKind(entry.kind)
                self._tell(ev.AttemptFailed(entry.host, entry.attempt, kind, entry.reason))
            case je.PageDelivered():
                self._tell(ev.PageDelivered(entry.host, entry.attempt))
                assert page.state in (PageState.DONE, PageState.SUSPECT), page
            case je.PageFailed():
                assert page.state is PageState.FAILED, page
                assert page.number in self._failed, "it failed at another moment"
            case _:
                pass

    def _render(self, entry: je.PageSent) -> None:
        """Render an attempt that is delivered later: a journal does not record when it was reported.

        It may have been verified still when its host was lost or quarantined, and is the host's no more.
        """
        delivered = self._delivered.get(entry.attempt)
        if delivered is not None:
            said = delivered.diagnostics
            self._tell(ev.PageRendered(entry.host, entry.attempt, float(delivered.seconds), said))

    def _release(self, entry: je.PageReturned | je.AttemptDropped) -> None:
        attempt = self.scheduler.attempts.get(entry.attempt)
        if attempt is not None:
            self.scheduler._run.release(attempt, entry.reason)
            self._note(self.scheduler._run.take_commands())
        # It may also have ended with the failure that the entry before tells of.
        released = self._released.pop(entry.attempt)
        expected = do.ReturnPage if isinstance(entry, je.PageReturned) else do.DropAttempt
        assert isinstance(released, expected), "the page had another attempt, or it had none"

    def _tell(self, *events: ev.Event) -> None:
        # ``apply`` and not ``handle``: what follows from the time is in the journal.
        self._note(self.scheduler.apply(*events, now=self.now))

    def _note(self, commands: Iterable[do.Command]) -> None:
        for command in commands:
            match command:
                case do.FinishPage(page, PageState.FAILED):
                    self._failed.add(page)
                case do.ReturnPage() | do.DropAttempt():
                    self._released[command.attempt] = command

    def states(self) -> dict[int, str]:
        """Return the state of each page as the views name it."""
        pages = self.scheduler.page_queue.pages.values()
        return {page.number: IN_JOB_MODEL[page.state] for page in pages}
