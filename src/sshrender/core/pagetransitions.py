"""What becomes of attempts, and through them of pages: begun, drawn, proved, failed, handed back."""

from __future__ import annotations

from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.hosttransitions import HostTransitions
from sshrender.core.records import Attempt, Failure, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import CHARGED, SETTLED, AttemptState, Charge, FailureKind, PageState

_MAX_DIAGNOSTICS = 40
"""Lines of what was said of a page that are kept (as in renderers/diagnostics.py)."""

_DELIVERED = frozenset({PageState.DONE, PageState.SUSPECT})


class PageTransitions:
    """Knows what an attempt's end means for its page and its host."""

    def __init__(self, run: SchedulerState, hosts: HostTransitions) -> None:
        self._run = run
        self._hosts = hosts
        self._stalled: dict[str, Attempt] = {}

    def recover(self, recovered: ev.Recovered) -> None:
        """An earlier run has delivered it."""
        page = self._run.book[recovered.page]
        page.said, page.host, page.look = recovered.said, recovered.host, recovered.look
        page.is_recovered = True
        self._run.book.move(page, PageState.SUSPECT if recovered.suspect else PageState.DONE)

    def on_ready(self, event: ev.PagesReady) -> None:
        """They can be read."""
        for number in event.pages:
            page = self._run.book[number]
            if page.state is PageState.UNREADY:
                self._run.book.move(page, PageState.WAITING)

    def on_weighed(self, event: ev.PagesWeighed) -> None:
        """How large they are is known."""
        for number, work in event.works:
            page = self._run.book.pages.get(number)
            if page is not None:
                self._run.book.weigh(page, work)

    def on_started(self, event: ev.PageStarted) -> None:
        """A slot draws it."""
        attempt = self._attempt(event)
        if attempt is not None and attempt.state is AttemptState.SENT:
            attempt.started_at = self._run.now

    def on_rendered(self, event: ev.PageRendered) -> None:
        """Its file is there, and is proved unless the page has no need of it any more."""
        attempt = self._attempt(event)
        if attempt is None or attempt.state is AttemptState.VERIFYING:
            return
        page = self._run.book[attempt.page]
        if page.state in SETTLED or page.state is PageState.UNREADY:
            self._run.release(attempt, attempt.called_back or "the page was there already")
            return
        # Its speed decides what others get: it cannot have taken longer than it has had the page.
        attempt.seconds = min(event.seconds, self._run.now - attempt.sent_at)
        attempt.rendered_at, attempt.said = self._run.now, event.said
        self._run.land(attempt)
        self._run.hosts[attempt.host].verifying += 1
        page.host = attempt.host
        self._run.reconsider(page)
        self._run.issue(do.VerifyPage(attempt.host, attempt.page, attempt.name))

    def on_delivered(self, event: ev.PageDelivered) -> None:
        """It is the user's. Whoever draws the same page stops."""
        attempt = self._attempt(event)
        if attempt is None:
            return
        page = self._run.forget(attempt)
        host = self._run.hosts[attempt.host]
        host.note_seconds_per_page(attempt.seconds, page.work, event.carriage)
        host.pages_done += 1
        host.consecutive_failures.clear()
        # Not with its greeting: one that doubts the storage and reconnects would hold up all the others.
        host.disconnects = host.fruitless = host.storage_failures = 0
        host.budget.earn_page()
        page.host, page.look, page.is_recovered = attempt.host, attempt.look, False
        page.said = (page.said + attempt.said)[:_MAX_DIAGNOSTICS]
        self._run.delivered += 1
        self._run.storage.took_a_page()
        self._run.settle(page, PageState.SUSPECT if page.said else PageState.DONE)
        for other in list(page.live.values()):
            self._outrun(other, f"{attempt.host} was quicker")
        if self._hosts.is_outvoted(page.look):
            self._withdraw(page)

    def withdraw_outvoted(self) -> None:
        """Most hosts render other pages than some that were delivered: those are rendered again."""
        for page in self._run.book.pages.values():
            if page.state in _DELIVERED and self._hosts.is_outvoted(page.look):
                self._withdraw(page)

    def on_taken(self, event: ev.PageTaken) -> None:
        """Another's file stood in its place: neither counts, and the page is rendered once more."""
        attempt = self._attempt(event)
        if attempt is not None:
            page = self._run.book[attempt.page]
            self._run.release(attempt, "an outvoted host's file was in the place of its own")
            if page.state is PageState.WAITING:
                self._withdraw(page)

    def _withdraw(self, page: Page) -> None:
        """Its file has to go before another can be published; until then nothing can be sent."""
        host = self._run.hosts.get(page.host)
        if page.state in _DELIVERED and not page.is_recovered and host is not None:
            host.pages_done -= 1
            self._run.delivered -= 1
        reason = "most hosts render the canary page differently from the host that rendered it"
        self._run.issue(do.WithdrawPage(page.number, page.host, reason))
        page.host, page.said, page.look = "", (), None
        self._run.book.move(page, PageState.UNREADY)

    def _outrun(self, attempt: Attempt, reason: str) -> None:
        """Somebody else was first: that is nobody's failure."""
        attempt.is_hedged = True
        self._run.hosts[attempt.host].hedged += 1
        if attempt.rendered_at is not None:
            self._run.release(attempt, reason)
        else:
            self._run.kill(attempt, reason)

    def on_suspected(self, event: ev.PageSuspected) -> None:
        """A complaint about it came late."""
        attempt = self._attempt(event)
        if attempt is not None:  # still being verified
            attempt.said = _joined(attempt.said, event.said)
            return
        page = self._run.book.pages.get(event.page)
        if page is None or page.host != event.host or page.state not in _DELIVERED:
            return
        said = _joined(page.said, event.said)
        if said != page.said:
            page.said = said
            self._run.hosts[event.host].budget.spend(self._run.now)
            self._run.settle(page, PageState.SUSPECT)

    def on_revoked(self, event: ev.AttemptRevoked) -> None:
        """It was not begun, and is handed back."""
        attempt = self._attempt(event)
        if attempt is None or attempt.state is AttemptState.VERIFYING:
            return
        if attempt.is_called_off:
            self._run.release(attempt, attempt.called_back)
        else:
            self._hosts.distrust(self._run.hosts[event.host], "hands back a page that nobody asked for")

    def on_kept(self, event: ev.AttemptKept) -> None:
        """It was asked for too late."""
        attempt = self._attempt(event)
        if attempt is not None and attempt.is_called_off and attempt.kept_at is None:
            attempt.kept_at = self._run.now

    def on_failed(self, event: ev.AttemptFailed) -> None:
        """It came to nothing."""
        attempt = self._attempt(event)
        if attempt is None or not counts(attempt, event):
            return
        host = self._run.hosts[event.host]
        if event.kind is FailureKind.KILLED and not attempt.is_killed:
            self._hosts.distrust(host, "calls off a page that nobody called off")
            return
        charge = CHARGED[event.kind]
        page = self._run.book[attempt.page]
        if charge is Charge.STORAGE:
            self._doubt_storage(attempt, event.reason)
        elif page.state in SETTLED:
            self._run.release(attempt, attempt.called_back or event.reason)
        elif charge is Charge.PAGE:
            self._charge(attempt, event)
        else:
            self._run.release(attempt, attempt.called_back or event.reason)
            if charge is Charge.HOST and host.is_connected:
                self._hosts.count_against(host, page)
            if event.kind is FailureKind.LOW_MEMORY:
                self._hosts.take_a_slot(host, event.reason)
            elif event.is_reported and not attempt.is_killed:
                self._hosts.count_fruitless(host, event.reason)

    def on_retry(self, event: ev.RetryRequested) -> None:
        """A person wants it tried as if it had never failed."""
        page = self._run.book.pages.get(event.page)
        if page is not None and page.state is PageState.FAILED:
            page.failures.clear()
            page.lost_on.clear()
            page.disconnects = page.forgiven = page.renderer = 0
            self._run.book.move(page, PageState.WAITING)

    def on_move(self, event: ev.MoveRequested) -> None:
        """A person wants it drawn on one host."""
        page = self._run.book.pages.get(event.page)
        if page is None or page.state in SETTLED or event.host not in self._run.hosts:
            return
        self._run.book.pin(page, frozenset({event.host}))
        for attempt in list(page.live.values()):
            if attempt.host != event.host and attempt.rendered_at is None:
                self._run.kill(attempt, f"{event.by} moves the page to {event.host}")

    # Storage

    def verify_again(self) -> None:
        """The storage is back: what could not be proved for its sake is looked at again."""
        stalled, self._stalled = self._stalled, {}
        for attempt in stalled.values():
            if attempt.name in self._run.attempts:
                self._run.issue(do.VerifyPage(attempt.host, attempt.page, attempt.name))

    def _doubt_storage(self, attempt: Attempt, reason: str) -> None:
        """Somebody could not write. Nothing is sent until we have looked from here."""
        if attempt.rendered_at is None:
            self._run.storage.doubt(self._run.now, reason, attempt.host)
            self._run.reconsider(self._run.forget(attempt))
        else:
            self._run.storage.doubt(self._run.now, reason)
            self._stalled[attempt.name] = attempt

    # How

    def _attempt(self, event: Any) -> Attempt | None:
        """The attempt that an event speaks of; None when it is no longer this host's to speak of."""
        attempt = self._run.attempts.get(event.attempt)
        return attempt if attempt is not None and attempt.host == event.host else None

    def _charge(self, attempt: Attempt, event: ev.AttemptFailed) -> None:
        page: Page = self._run.forget(attempt)
        page.failures.append(Failure(event.host, event.kind, event.reason))
        self._run.reconsider(page)
        self._hosts.count_against(self._run.hosts[event.host], page)


def counts(attempt: Attempt, event: ev.AttemptFailed) -> bool:
    """Whether a failure may end the attempt: once it is reported, a host has no more say in it."""
    return not event.is_reported or attempt.state is not AttemptState.VERIFYING


def _joined(before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Each line once, in order, and no more of them than are kept."""
    return tuple(dict.fromkeys(before + more))[:_MAX_DIAGNOSTICS]
