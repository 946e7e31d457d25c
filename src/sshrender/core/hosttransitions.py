"""Transitions of hosts: connected, idle, busy, drained, lost, quarantined, refused.

scheduler.py states the rules; states.HostState explains the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import forecast
from sshrender.core.compatibility import CompatibilityCheck
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.hosttimeouts import TimeoutChecks
from sshrender.core.records import Attempt, Failure, Host, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import FailureKind, HostState

_CONNECTED = frozenset({HostState.IDLE, HostState.BUSY})
_ACTIVE = frozenset({HostState.IDLE, HostState.BUSY, HostState.CONNECTING})

_NOT_TRIED_SOON = frozenset({HostState.REFUSED, HostState.REMOVED})
"""States of hosts that a failure of their connection does not change."""

_NO_SAN = "san"
"""The refusal of a host that cannot use the shared folder (``Refusal.SAN`` in
transports/interface.py)."""

_YIELD_INTERVAL = 60.0
"""Seconds between two recalls caused by load that do not count against the host's journal budget: a host
that pretends to be busy and idle in turn must not fill the journal."""


class HostTransitions:
    """Handles events of hosts, and recalls or requeues the attempts of hosts that may not be used."""

    def __init__(
        self,
        run: SchedulerState,
        reference: HostFingerprint | None,
        votes: Mapping[str, HostFingerprint],
    ) -> None:
        self._run = run
        self._compatibility = CompatibilityCheck(
            run,
            reference,
            votes,
            accept=self._set_usable_state,
            refuse=self._refuse,
            revive=self._revive,
        )
        self.is_outvoted = self._compatibility.is_outvoted
        self.check_due = TimeoutChecks(run, self.mark_lost, self.distrust).check_due

    # Hosts that come and go

    def on_added(self, event: ev.HostAdded) -> None:
        """Connect to a host that was added; one that is known already stays as it is."""
        known = self._run.hosts.get(event.plan.name)
        if known is not None and known.state is not HostState.REMOVED:
            return
        # A new record: what an earlier machine of this name did says nothing about this one.
        host = self._run.add_host(event.plan)
        if known is not None:
            # Pages of the earlier one may still be verified: they are counted here when that ends.
            host.verifying, host.pages_done, host.budget = (
                known.verifying,
                known.pages_done,
                known.budget,
            )
        self._reconnect(host, "it was added again" if known is not None else "it was added")

    def on_removed(self, event: ev.HostRemoved) -> None:
        """Requeue the attempts of a host that was removed, without a charge to their pages."""
        host = self._run.hosts.get(event.host)
        if host is None or host.state is HostState.REMOVED:
            return
        for attempt in list(host.in_flight.values()):
            self._run.release(attempt, f"its host was removed: {event.reason}")
        self._disconnect(host, HostState.REMOVED, event.reason)

    # Messages of hosts

    def on_connected(self, event: ev.HostConnected) -> None:
        """Take in what the handshake reported, and have the fingerprint compared."""
        host = self._run.hosts[event.host]
        if host.state is HostState.REMOVED:  # it was removed while it connected
            self._run.issue(do.CloseHost(host.name))
            return
        host.is_connected, host.heard_at = True, self._run.now
        host.cores, host.others, host.ours = event.cores, event.others, event.ours
        host.slots = host.plan.slots or event.slots or event.cores
        host.slots = min(host.slots, host.memory_slot_limit or host.slots)
        host.available_slots = None  # until the first heartbeat says otherwise
        host.slot_limit = None if self._run.limit is None else 0
        # 0 until slots are shared on this turn. Sent in any case: the runner may have been prepared
        # under an earlier limit of the job.
        self._run.issue(do.SetSlotLimit(host.name, host.slot_limit))
        host.ghostscript, host.mutool = event.ghostscript, event.mutool
        host.retry_at = None
        host.fingerprint, host.renderers = event.fingerprint, event.renderers
        self._run.totals.touch(host)
        self._run.wake(host, host.heard_at + host.silence(self._run.policy))
        self._compatibility.admit(host)

    def on_refused(self, event: ev.HostRefused) -> None:
        """Refuse the host, unless the shared folder is the cause and fails here as well."""
        host = self._run.hosts[event.host]
        # While the storage is suspended, the refusal may have the same cause. A lost host is tried
        # again after a pause, a refused one is not.
        if event.refusal == _NO_SAN and self._run.storage.is_suspended():
            self.mark_lost(host, event.reason)
        else:
            self._refuse(host, event.refusal, event.reason, event.is_tried_again)

    def on_fonts(self, event: ev.FontsKnown) -> None:
        """Take in whether a host's fonts can change the page images."""
        self._compatibility.set_fonts_matter(event.are_missing)

    def on_canary(self, event: ev.CanaryRendered) -> None:
        """Take in what this machine renders itself."""
        self._compatibility.set_local_canary(event.fingerprint)

    def on_lost(self, event: ev.HostLost) -> None:
        """Requeue the host's attempts and connect again after a pause."""
        self.mark_lost(self._run.hosts[event.host], event.reason)

    def on_load(self, event: ev.LoadSampled) -> None:
        """Take in a heartbeat: yield to the owner, or use the host again."""
        host = self._run.hosts[event.host]
        # max(): the heartbeat may have arrived before the handshake, which counts from when it was
        # handled.
        host.heard_at = max(host.heard_at, self._run.now if event.at is None else event.at)
        if self._run.now - host.sampled_at < self._run.policy.sample_interval:
            return  # ignore heartbeats that come too often
        host.sampled_at = self._run.now
        host.others, host.ours = event.others, event.ours
        if host.available_slots != event.available_slots:
            host.available_slots = event.available_slots
            self._run.totals.touch(host)
        if host.plan.ignores_load or host.awaits_comparison:
            return  # its state is set when the comparison ends
        if host.state is HostState.IDLE and host.others_per_core > host.plan.busy_above:
            self._yield_to_owner(host)
        elif host.state is HostState.BUSY:
            if host.others_per_core < host.plan.idle_below:
                self._become_idle(host)
            else:
                # Not set_state(): the number changes with each sample and is not recorded.
                host.reason = _busy_reason(host)

    def on_finished(self, event: ev.HostFinished) -> None:
        """Close the connection of a host that has reported everything."""
        host = self._run.hosts[event.host]
        if not host.is_finishing:
            self.distrust(host, "unexpected `bye` message")
            return
        host.is_connected = False
        self._run.issue(do.CloseHost(host.name))

    # Requests of users

    def on_drain(self, event: ev.DrainRequested) -> None:
        """Take the host out of use and recall its attempts."""
        host = self._run.hosts.get(event.host)
        if host is None:
            return
        host.drain_reason = event.reason
        # A host that is not connected becomes DRAINED after its handshake.
        if host.is_connected and not host.awaits_comparison:
            self._run.set_state(host, HostState.DRAINED, host.drain_reason)
            self._recall_attempts(host, "its host was drained", self._run.policy.drain_grace)

    def on_undrain(self, event: ev.UndrainRequested) -> None:
        """Put the host back into use; connect again to one that was left."""
        host = self._run.hosts.get(event.host)
        if host is None:
            return
        was_drained, host.drain_reason = bool(host.drain_reason), ""
        if host.state is HostState.REFUSED:
            # Its pauses begin anew, as what was wrong may have been repaired.
            host.refusals = 0
            self._take_back(host, f"undrained by {event.by}")
        # Lost or quarantined. Without the time it is being connected to already.
        elif host.retry_at is not None:
            host.retry_at = None
            self._run.issue(do.ConnectHost(host.name))
        elif was_drained:
            host.recalling_since = None  # running attempts may continue
            if host.is_connected and not host.awaits_comparison:
                self._set_usable_state(host)

    # Failures

    def mark_lost(self, host: Host, reason: str) -> None:
        """Leave the host and connect again after a pause, which doubles each time."""
        host.disconnects += 1
        policy = self._run.policy
        pause = _doubled_pause(policy.reconnect_first, policy.max_reconnect, host.disconnects)
        self._disconnect(host, HostState.LOST, reason, self._run.now + pause)

    def distrust(self, host: Host, what: str) -> None:
        """Leave a host that breaks the protocol: it is broken or hostile, so each pause is longer."""
        if host.is_connected:
            self.mark_lost(host, _distrust(what))

    def on_distrusted(self, event: ev.HostDistrusted) -> None:
        """Leave a host whose message broke the protocol or could not be handled."""
        self.mark_lost(self._run.hosts[event.host], _distrust(event.what))

    def count_uncharged_failure(self, host: Host, reason: str) -> None:
        """Count an attempt that the host gave up without a charge to the page; many are a fault."""
        host.uncharged_failures += 1
        if host.uncharged_failures > self._run.policy.max_uncharged_failures and host.is_connected:
            self.mark_lost(host, f"{host.uncharged_failures} attempts in a row failed: {reason}")

    def remove_slot(self, host: Host, reason: str) -> None:
        """Use one slot less on a host that ran short of memory, also after it reconnects."""
        if host.slots <= 1:
            self.count_uncharged_failure(host, reason)
        host.slots = host.memory_slot_limit = max(1, host.slots - 1)
        self._run.totals.touch(host)

    def count_page_failure(self, host: Host, page: Page) -> None:
        """Count a failed page, and quarantine the host after several different ones in a row."""
        host.failures += 1
        # A set of pages: one page that fails twice says more about the page than about the host.
        host.consecutive_failures.add(page.number)
        # The only usable host stays in use: a slow job is better than none.
        has_other = self._run.host_counts[HostState.IDLE] > (host.state is HostState.IDLE)
        if len(host.consecutive_failures) >= self._run.policy.quarantine_after and has_other:
            self._quarantine(host)

    def count_storage_failure(self, host: Host, reason: str) -> None:
        """Count a host's failed access while the storage works here; refuse the host after several."""
        host.storage_failures += 1
        if host.storage_failures >= self._run.policy.storage_failures and host.state in _CONNECTED:
            # The runner's own words (its jobfolder.py and warmrenderer.py): FailureKind.STORAGE stands
            # for reading and for writing.
            cannot_read = reason.startswith("cannot read ")
            what = reason if cannot_read else f"cannot write to the shared folder: {reason}"
            self._refuse(host, _NO_SAN, what, is_tried_again=True)

    def reconnect_after_outage(self) -> None:
        """Connect to the hosts that were refused for the shared folder: the outage was the cause."""
        for host in self._run.hosts.values():
            if host.state is HostState.REFUSED and host.refusal == _NO_SAN:
                self._take_back(host, "the shared folder is available again")

    # The run as a whole

    def connect_all(self) -> None:
        """Connect to every host."""
        for host in self._run.hosts.values():
            self._run.put_state(host, HostState.CONNECTING)
            self._run.issue(do.ConnectHost(host.name))

    @property
    def is_provisional(self) -> bool:
        """Return whether most hosts may still turn out to render differently than those in use."""
        return self._compatibility.is_provisional

    def update_reference(self) -> bool:
        """Decide on the reference; return whether it was overturned, so that pages may be outvoted."""
        self._compatibility.decide()
        return self._compatibility.take_overturned()

    def release_quarantine(self) -> None:
        """End the quarantine that would end first, when no other host is left."""
        if not self._run.host_counts[HostState.QUARANTINED] or self._run.has_hosts(*_ACTIVE):
            return
        hosts = self._run.hosts.values()
        held = [host for host in hosts if host.state is HostState.QUARANTINED]
        # None: it is being connected to already, by an earlier call. Its state changes with the
        # handshake.
        if held and all(host.retry_at is not None for host in held):
            first = min(held, key=lambda host: host.retry_at or 0.0)
            first.retry_at = None
            self._run.issue(do.ConnectHost(first.name))

    def close_all(self) -> None:
        """Close every connection at the end of the run."""
        run = self._run
        for host in run.hosts.values():
            if host.is_connected or host.state is HostState.CONNECTING:
                run.issue(do.CloseHost(host.name))
            if host.state is HostState.CONNECTING:
                seconds = run.now - run.began
                what = (
                    "its test page was not compared yet"
                    if host.awaits_comparison
                    else "it had not answered yet"
                )
                # Not lost: a short run may end before a healthy host can answer.
                reason = f"{what} when the run ended, after {seconds:.1f} s"
                run.set_state(host, HostState.UNKNOWN, reason)

    # Helpers

    def _refuse(self, host: Host, refusal: str, reason: str, is_tried_again: bool = False) -> None:
        host.refusal = refusal
        host.is_tried_again = is_tried_again and not host.plan.is_lent
        retry_at = self._after_refusal(host) if host.is_tried_again else None
        self._disconnect(host, HostState.REFUSED, reason, retry_at)

    def _after_refusal(self, host: Host) -> float:
        """Return when a refused host is tried again."""
        host.refusals += 1
        policy = self._run.policy
        return self._run.now + _doubled_pause(policy.refused_first, policy.max_refused, host.refusals)

    def _revive(self, host: Host) -> None:
        """Connect again to a host whose page images, once refused, turn out to be the reference."""
        self._take_back(host, "most hosts render the test page as it does")

    def _take_back(self, host: Host, reason: str) -> None:
        """Connect again to a host that was refused, unless its allocation was given back then."""
        if not host.plan.is_lent:
            self._reconnect(host, reason)

    def _reconnect(self, host: Host, reason: str) -> None:
        host.refusal, host.storage_failures, host.retry_at = "", 0, None
        # It may just be tried again: that connection is replaced.
        host.is_connected = host.awaits_comparison = False
        self._run.set_state(host, HostState.CONNECTING, reason)
        self._run.issue(do.ConnectHost(host.name))

    def _set_usable_state(self, host: Host) -> None:
        """Set the state of a connected host that matches the reference."""
        if host.drain_reason:
            self._run.set_state(host, HostState.DRAINED, host.drain_reason)
        # Below idle_below, not busy_above: a host between the two is not known to be free.
        elif host.plan.ignores_load or host.others_per_core < host.plan.idle_below:
            self._become_idle(host)
        else:
            self._run.set_state(host, HostState.BUSY, _busy_reason(host))

    def _become_idle(self, host: Host) -> None:
        self._run.set_state(host, HostState.IDLE, "")
        host.recalling_since = None

    def _yield_to_owner(self, host: Host) -> None:
        """Free a host for other people: recall queued attempts now, the others after a moment."""
        self._run.set_state(host, HostState.BUSY, _busy_reason(host))
        is_return_uncharged = self._run.now - host.yielded_at >= _YIELD_INTERVAL
        host.yielded_at = self._run.now
        for attempt in host.in_flight.values():
            # Set for all attempts, also of an earlier recall: the newest recall decides how their
            # return is counted.
            attempt.is_return_uncharged = is_return_uncharged
        self._recall_attempts(host, "the host's owner is back", self._run.policy.yield_grace)

    def _recall_attempts(self, host: Host, reason: str, within: float) -> None:
        """Recall the host's attempts: queued or slow ones now, the rest after ``within`` seconds."""
        run = self._run
        usual = forecast.usual_seconds_per_page(run)
        host.recalling_since, host.recall_grace, host.recall_reason = run.now, within, reason
        run.wake(host, run.now + within)
        for attempt in host.in_flight.values():
            run.revoke(attempt, reason)
            left = forecast.seconds_left(run, host, attempt, usual)
            # Pages that cannot finish in time are killed now, so that another host can start them
            # sooner.
            if attempt.started_at is not None and left is not None and left > within:
                run.kill(attempt, reason)

    def _quarantine(self, host: Host) -> None:
        host.quarantines += 1
        policy = self._run.policy
        pause = _doubled_pause(policy.quarantine_first, policy.max_quarantine, host.quarantines)
        failures = len(host.consecutive_failures)
        reason = (
            f"{failures} different pages failed on it in a row; it is tried again after {pause:.0f} s"
        )
        host.consecutive_failures.clear()
        self._disconnect(host, HostState.QUARANTINED, reason, self._run.now + pause)

    def _disconnect(
        self, host: Host, state: HostState, reason: str, retry_at: float | None = None
    ) -> None:
        """Close the connection and requeue the host's attempts. ``retry_at`` None: not tried again."""
        is_refused = host.state is HostState.REFUSED and state not in _NOT_TRIED_SOON
        # A refused host that is tried again has no time for the next try meanwhile.
        is_over = is_refused and (host.retry_at is not None or not host.is_tried_again)
        if host.state is HostState.REMOVED or is_over:
            return  # reports of its failure that crossed its refusal or removal must not bring it back
        if is_refused:  # it stays so: what was wrong with it may be wrong still
            state, reason, retry_at = host.state, host.reason, self._after_refusal(host)
        self._run.issue(do.CloseHost(host.name))
        host.is_connected = False
        host.retry_at = retry_at
        if retry_at is not None:
            self._run.wake(host, retry_at)
        host.recalling_since = host.stalled_since = None
        self._run.forget_parts(host)
        host.awaits_comparison = False
        # A copy: releasing an attempt removes it from the dictionary.
        for attempt in list(host.in_flight.values()):
            self._requeue_attempt(attempt, reason)
        self._run.set_state(host, state, reason)

    def _requeue_attempt(self, attempt: Attempt, reason: str) -> None:
        """Requeue an attempt of a host that was left. If it was being rendered it may be the cause."""
        run = self._run
        unanswered = attempt.unanswered_since()
        # A host that keeps a recalled attempt has very likely started it, without reporting that.
        is_kept_back = unanswered is not None and run.now - unanswered > run.policy.answer_timeout
        if attempt.started_at is not None or is_kept_back:
            page = run.page_queue[attempt.page]
            page.disconnects += 1
            page.lost_on |= {attempt.host}
            # With this failure the page is given up (SchedulerState._is_given_up). Twice the retries:
            # that a host disappeared is weaker evidence against a page than a failure.
            if page.disconnects >= 2 * run.policy.retries:
                page.failures.append(Failure(attempt.host, FailureKind.HOST, reason))
        run.release(attempt, f"the host was disconnected: {reason}")


HOST_HANDLERS: Mapping[type, Callable[[HostTransitions, Any], None]] = {
    ev.HostAdded: HostTransitions.on_added,
    ev.HostRemoved: HostTransitions.on_removed,
    ev.HostConnected: HostTransitions.on_connected,
    ev.HostRefused: HostTransitions.on_refused,
    ev.HostLost: HostTransitions.on_lost,
    ev.HostDistrusted: HostTransitions.on_distrusted,
    ev.HostFinished: HostTransitions.on_finished,
    ev.LoadSampled: HostTransitions.on_load,
    ev.CanaryRendered: HostTransitions.on_canary,
    ev.FontsKnown: HostTransitions.on_fonts,
    ev.DrainRequested: HostTransitions.on_drain,
    ev.UndrainRequested: HostTransitions.on_undrain,
}
"""Handlers of the events that concern one host, or what hosts render."""


def _distrust(what: str) -> str:
    return f"protocol error: {what}"


def _busy_reason(host: Host) -> str:
    return (
        f"other people's load is {host.others_per_core:.2f} per core"
        f" (used below {host.plan.idle_below:g})"
    )


def _doubled_pause(first: float, longest: float, times: int) -> float:
    """Return the pause before the next connection in seconds: it doubles each time."""
    # 16 doublings exceed any longest pause; without a limit the power would become a very large
    # number.
    return float(min(first * 2 ** min(times - 1, 16), longest))
