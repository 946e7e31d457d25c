"""Transitions of attempts and their pages: started, rendered, verified, failed, returned.

scheduler.py states the rules; states.PageState and states.AttemptState explain the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import hosttimeouts
from sshrender.core.hosttransitions import HostTransitions
from sshrender.core.records import Attempt, Failure, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import CHARGE_OF, FINISHED, AttemptState, Charge, FailureKind, PageState

_MAX_DIAGNOSTICS = 40
"""Lines of diagnostics that are kept for a page (as in renderers/diagnostics.py)."""

_DELIVERED = frozenset({PageState.DONE, PageState.SUSPECT})


class PageTransitions:
    """Handles events of attempts and pages, and charges failures to pages, hosts or the storage."""

    def __init__(self, run: SchedulerState, hosts: HostTransitions) -> None:
        self._run = run
        self._hosts = hosts
        self._unverified: dict[str, Attempt] = {}

    def recover(self, recovered: ev.Recovered) -> None:
        """Take over a page that an earlier run delivered."""
        page = self._run.page_queue[recovered.page]
        page.diagnostics, page.host, page.fingerprint = (
            recovered.diagnostics,
            recovered.host,
            recovered.fingerprint,
        )
        page.is_recovered = True
        self._run.page_queue.move(page, PageState.SUSPECT if recovered.suspect else PageState.DONE)

    def fail_blocked(self, number: int, reason: str) -> None:
        """Fail a page that an earlier run published, and that cannot be delivered under its name."""
        page = self._run.page_queue[number]
        # No host: the name is to blame, and no host may be charged.
        page.failures.append(Failure("", FailureKind.UNWRITABLE, reason))
        self._run.finish_page(page, PageState.FAILED)

    def on_unwritable(self, event: ev.PageUnwritable) -> None:
        """Fail a page that waits for its name."""
        # In any other state an attempt meets the name itself.
        if self._run.page_queue[event.page].state is PageState.UNREADY:
            self.fail_blocked(event.page, event.reason)

    def on_ready(self, event: ev.PagesReady) -> None:
        """Queue pages whose part of the document can be read now."""
        for number in event.pages:
            page = self._run.page_queue[number]
            if page.state is PageState.UNREADY:
                self._run.page_queue.move(page, PageState.WAITING)

    def on_costs_known(self, event: ev.PageCostsKnown) -> None:
        """Set the cost of pages whose size became known."""
        for number, cost in event.costs:
            page = self._run.page_queue.pages.get(number)
            if page is not None:
                self._run.page_queue.set_cost(page, cost)

    def on_started(self, event: ev.PageStarted) -> None:
        """Note that a slot renders the attempt."""
        attempt = self._attempt(event)
        if attempt is not None and attempt.state is AttemptState.SENT:
            self._run.begin(attempt)

    def on_rendered(self, event: ev.PageRendered) -> None:
        """Have the attempt's file verified, unless the page does not need it any more."""
        attempt = self._attempt(event)
        if attempt is None or attempt.state is AttemptState.VERIFYING:
            return
        page = self._run.page_queue[attempt.page]
        # UNREADY: the page was withdrawn meanwhile, and its old file still has the name.
        if page.state in FINISHED or page.state is PageState.UNREADY:
            self._run.release(attempt, attempt.recall_reason or "the page was already delivered")
            return
        # The host reports the seconds itself, and its speed decides what others get: they are bounded by
        # the time since the page was sent.
        attempt.seconds = min(event.seconds, self._run.now - attempt.sent_at)
        attempt.rendered_at = self._run.now
        # A slot may learn what a page causes while its file is still being encoded: before its report.
        attempt.diagnostics = _merged(attempt.diagnostics, event.diagnostics)
        self._run.unassign(attempt)
        self._run.count_verifying(self._run.hosts[attempt.host], 1)
        page.host = attempt.host
        self._run.update_page(page)
        self._run.issue(do.VerifyPage(attempt.host, attempt.page, attempt.name))

    def on_delivered(self, event: ev.PageDelivered) -> None:
        """Finish the page and cancel duplicate attempts at it."""
        attempt = self._attempt(event)
        if attempt is None:
            return
        # The order of what follows matters: the attempt is removed before its page is finished, so
        # that page.live holds the others only.
        page = self._run.remove_attempt(attempt)
        host = self._run.hosts[attempt.host]
        host.note_seconds_per_page(attempt.seconds, page.cost, event.transfer_seconds)
        # After note_seconds_per_page(), for which 0 pages mean that the host's transfers were never
        # measured.
        host.pages_done += 1
        self._run.totals.touch(host)
        host.consecutive_failures.clear()
        # Only a delivered page resets these, not the handshake: a host that reports storage failures and
        # reconnects again and again would suspend the whole run.
        host.disconnects = host.uncharged_failures = host.storage_failures = host.refusals = 0
        host.budget.earn_page()
        # The fingerprint at the time of sending, not the host's current one: the host may have been
        # upgraded since.
        page.host, page.fingerprint, page.is_recovered = attempt.host, attempt.fingerprint, False
        page.diagnostics = (page.diagnostics + attempt.diagnostics)[:_MAX_DIAGNOSTICS]
        self._run.delivered += 1
        # A page was written, so the storage works for pages, too, not only for probes.
        self._run.storage.confirm_write()
        self._run.finish_page(page, PageState.SUSPECT if page.diagnostics else PageState.DONE)
        for other in list(page.live.values()):
            self._drop_duplicate(other, f"{attempt.host} was faster")
        if self._hosts.is_outvoted(page.fingerprint):
            self._withdraw(page)  # the reference changed while the page was verified

    def withdraw_outvoted(self) -> None:
        """Withdraw the delivered pages of hosts that differ from the new reference."""
        for page in self._run.page_queue.pages.values():
            if page.state in _DELIVERED and self._hosts.is_outvoted(page.fingerprint):
                self._withdraw(page)

    def on_outvoted_published(self, event: ev.OutvotedPagePublished) -> None:
        """Render the page once more: an outvoted host's file took the place of this attempt's."""
        attempt = self._attempt(event)
        if attempt is not None:
            page = self._run.page_queue[attempt.page]
            self._run.release(attempt, "the file of an outvoted host was published in its place")
            # Otherwise another attempt is alive, or the page is finished or withdrawn.
            if page.state is PageState.WAITING:
                self._withdraw(page)

    def _withdraw(self, page: Page) -> None:
        """Have the page's file removed; until that is done the page is UNREADY and cannot be sent."""
        host = self._run.hosts.get(page.host)
        # A page of an earlier run counts neither for this run nor for a host of it.
        if page.state in _DELIVERED and not page.is_recovered and host is not None:
            host.pages_done -= 1
            self._run.totals.touch(host)
            self._run.delivered -= 1
        reason = "most hosts render the canary page differently from the host that rendered it"
        self._run.issue(do.WithdrawPage(page.number, page.host, reason))
        page.host, page.diagnostics, page.fingerprint = "", (), None
        self._run.page_queue.move(page, PageState.UNREADY)

    def _drop_duplicate(self, attempt: Attempt, reason: str) -> None:
        """Drop an attempt that was slower than another; nothing is charged for it."""
        attempt.is_hedged = True
        self._run.hosts[attempt.host].hedged += 1
        if attempt.rendered_at is not None:
            self._run.release(attempt, reason)
        else:
            self._run.kill(attempt, reason)

    def on_suspected(self, event: ev.PageSuspected) -> None:
        """Add diagnostics that arrived apart from the report of the page, before or after it."""
        attempt = self._attempt(event)
        if attempt is not None:  # not reported yet, or still being verified
            attempt.diagnostics = _merged(attempt.diagnostics, event.diagnostics)
            return
        page = self._run.page_queue.pages.get(event.page)
        # Only the host whose file was delivered can make the page suspect.
        if page is None or page.host != event.host or page.state not in _DELIVERED:
            return
        diagnostics = _merged(page.diagnostics, event.diagnostics)
        if diagnostics != page.diagnostics:
            page.diagnostics = diagnostics
            self._run.spend(self._run.hosts[event.host])
            self._run.finish_page(page, PageState.SUSPECT)

    def on_revoked(self, event: ev.AttemptRevoked) -> None:
        """Requeue the page of an attempt that came back unstarted."""
        attempt = self._attempt(event)
        if attempt is None or attempt.state is AttemptState.VERIFYING:
            return
        if attempt.is_recalled:
            self._run.release(attempt, attempt.recall_reason)
        else:
            self._hosts.distrust(self._run.hosts[event.host], "it returned a page without a request")

    def on_kept(self, event: ev.AttemptKept) -> None:
        """Note that the host keeps the attempt, as a slot has started it."""
        attempt = self._attempt(event)
        # Only once: a host that repeats the answer must not extend its time.
        if attempt is not None and attempt.is_recalled and attempt.kept_at is None:
            attempt.kept_at = self._run.now
            within = hosttimeouts.kept_timeout(attempt, self._run.policy)
            self._run.wake(self._run.hosts[event.host], self._run.now + within)

    def on_failed(self, event: ev.AttemptFailed) -> None:
        """Charge the failure to the page, the host, the storage or nothing (states.CHARGE_OF)."""
        attempt = self._attempt(event)
        if attempt is None or not may_end_attempt(attempt, event):
            return
        host = self._run.hosts[event.host]
        # A host that ends pages by itself would return them without a charge, again and again.
        if event.kind is FailureKind.KILLED and not attempt.is_killed:
            self._hosts.distrust(host, "it ended a page without a request")
            return
        # Order matters: a storage failure suspends the run even if the page does not need the attempt,
        # and a failed attempt at a finished page is charged to nothing.
        charge = CHARGE_OF[event.kind]
        page = self._run.page_queue[attempt.page]
        if charge is Charge.STORAGE:
            self._suspect_storage(attempt, event.reason)
        elif page.state in FINISHED:
            self._run.release(attempt, attempt.recall_reason or event.reason)
        elif charge is Charge.PAGE:
            self._charge(attempt, event)
        elif charge is Charge.NAME:
            self._give_up(attempt, event)
        else:
            self._run.release(attempt, attempt.recall_reason or event.reason)
            # A host that has been left has its pause already.
            if charge is Charge.HOST and host.is_connected:
                self._hosts.count_page_failure(host, page)
            if event.kind is FailureKind.LOW_MEMORY:
                self._hosts.remove_slot(host, event.reason)
            elif event.is_reported and not attempt.is_killed:
                self._hosts.count_uncharged_failure(host, event.reason)

    def on_retry(self, event: ev.RetryRequested) -> None:
        """Queue a failed page again, without its earlier failures."""
        page = self._run.page_queue.pages.get(event.page)
        if page is not None and page.state is PageState.FAILED:
            page.failures.clear()
            page.lost_on = frozenset()
            page.disconnects = page.failures_before_fallback = page.renderer = (
                0  # the first recipe again
            )
            self._run.page_queue.move(page, PageState.WAITING)

    def on_move(self, event: ev.MoveRequested) -> None:
        """Pin the page to one host and end its attempts elsewhere."""
        page = self._run.page_queue.pages.get(event.page)
        if page is None or page.state in FINISHED or event.host not in self._run.hosts:
            return
        self._run.page_queue.pin(page, frozenset({event.host}))
        for attempt in list(page.live.values()):
            # A page that was reported already is kept: rendering it again would only cost time.
            if attempt.host != event.host and attempt.rendered_at is None:
                self._run.kill(attempt, f"{event.by} moved the page to {event.host}")

    # Storage

    def verify_again(self) -> None:
        """Verify the pages again that could not be verified while the storage failed."""
        # Emptied first: what fails again is put into the new dictionary.
        unverified, self._unverified = self._unverified, {}
        for attempt in unverified.values():
            if attempt.name in self._run.attempts:
                self._run.issue(do.VerifyPage(attempt.host, attempt.page, attempt.name))

    def _suspect_storage(self, attempt: Attempt, reason: str) -> None:
        """Suspend sending until a probe from here shows whether the storage or the host has failed."""
        run = self._run
        is_of_host = attempt.rendered_at is None
        delay = run.storage.suspect(run.now, reason, attempt.host if is_of_host else None)
        if delay:
            run.issue(do.ReportSuspicion(attempt.host if is_of_host else "", reason, delay))
        if is_of_host:  # it could not write its file
            run.update_page(run.remove_attempt(attempt))
        else:  # we could not publish it; the file waits in work/ and is verified again later
            self._unverified[attempt.name] = attempt

    # Helpers

    def _attempt(self, event: Any) -> Attempt | None:
        """Return the event's attempt; None when it has ended or belongs to another host."""
        attempt = self._run.attempts.get(event.attempt)
        # A host knows its own attempts only, but names are consecutive numbers, which it could guess.
        return attempt if attempt is not None and attempt.host == event.host else None

    def _charge(self, attempt: Attempt, event: ev.AttemptFailed) -> None:
        page: Page = self._run.remove_attempt(attempt)
        page.failures.append(Failure(event.host, event.kind, event.reason))
        self._run.update_page(page)
        self._hosts.count_page_failure(self._run.hosts[event.host], page)

    def _give_up(self, attempt: Attempt, event: ev.AttemptFailed) -> None:
        """Fail the page without a charge to a host, and end its other attempts."""
        page = self._run.remove_attempt(attempt)
        # No host: the views show the failure as the page's own.
        page.failures.append(Failure("", event.kind, event.reason))
        self._run.finish_page(page, PageState.FAILED)
        for other in list(page.live.values()):
            self._drop_duplicate(other, event.reason)


PAGE_HANDLERS: Mapping[type, Callable[[PageTransitions, Any], None]] = {
    ev.PagesReady: PageTransitions.on_ready,
    ev.PageUnwritable: PageTransitions.on_unwritable,
    ev.PageCostsKnown: PageTransitions.on_costs_known,
    ev.PageStarted: PageTransitions.on_started,
    ev.PageRendered: PageTransitions.on_rendered,
    ev.PageDelivered: PageTransitions.on_delivered,
    ev.OutvotedPagePublished: PageTransitions.on_outvoted_published,
    ev.PageSuspected: PageTransitions.on_suspected,
    ev.AttemptFailed: PageTransitions.on_failed,
    ev.AttemptRevoked: PageTransitions.on_revoked,
    ev.AttemptKept: PageTransitions.on_kept,
    ev.RetryRequested: PageTransitions.on_retry,
    ev.MoveRequested: PageTransitions.on_move,
}
"""Handlers of the events that concern an attempt or pages."""


def may_end_attempt(attempt: Attempt, event: ev.AttemptFailed) -> bool:
    """Return whether a failure may end the attempt: after its report, its host's messages cannot."""
    return not event.is_reported or attempt.state is not AttemptState.VERIFYING


def _merged(before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return each line once, in order, and at most ``_MAX_DIAGNOSTICS`` of them."""
    return tuple(dict.fromkeys(before + more))[:_MAX_DIAGNOSTICS]
