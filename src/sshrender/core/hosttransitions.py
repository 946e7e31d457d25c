"""What becomes of hosts: greeted, idle, busy, drained, lost, quarantined, refused."""

from __future__ import annotations

from collections.abc import Mapping

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import forecast
from sshrender.core.compatibility import CompatibilityCheck
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.records import Attempt, Failure, Host, Page
from sshrender.core.schedulerstate import SchedulerState
from sshrender.core.states import FailureKind, HostState

_CONNECTED = frozenset({HostState.IDLE, HostState.BUSY})
_ACTIVE = frozenset({HostState.IDLE, HostState.BUSY, HostState.CONNECTING})

_NO_SAN = "san"
"""The refusal of a host that cannot use the shared folder (``Refusal.SAN`` of the transports)."""

_YIELDS_APART = 60.0
"""Seconds between two times that a host's load may call its pages back at no cost to its budget."""


class HostTransitions:
    """Knows when a host may be used, and takes back what one holds that may not."""

    def __init__(
        self, run: SchedulerState, rule: HostFingerprint | None, votes: Mapping[str, HostFingerprint]
    ) -> None:
        self._run = run
        self._compatibility = CompatibilityCheck(
            run, rule, votes, accept=self._judge, refuse=self._refuse, revive=self._revive
        )
        self.is_outvoted = self._compatibility.is_outvoted

    # What they say

    def on_greeted(self, event: ev.HostGreeted) -> None:
        """It is there, and has all that a page needs."""
        host = self._run.hosts[event.host]
        host.is_connected, host.heard_at = True, self._run.now
        host.cores, host.others, host.ours = event.cores, event.others, event.ours
        host.slots = host.plan.slots or event.slots or event.cores
        host.slots = min(host.slots, host.crowded_to or host.slots)
        host.seats = None
        host.allotted = None if self._run.limit is None else 0
        # It may have been prepared when the job's limit was another.
        self._run.issue(do.SetSlotLimit(host.name, host.allotted))
        host.ghostscript = event.ghostscript
        host.retry_at = None
        host.look, host.renderers = event.look, event.renderers
        self._compatibility.admit(host)

    def on_refused(self, event: ev.HostRefused) -> None:
        """Somebody has to mend it first, unless the shared folder fails here as well."""
        host = self._run.hosts[event.host]
        if event.refusal == _NO_SAN and self._run.storage.holds_up():
            self.lose(host, event.reason)
        else:
            self._refuse(host, event.refusal, event.reason)

    def on_fonts(self, event: ev.FontsKnown) -> None:
        """Whether other fonts make other pictures."""
        self._compatibility.hear_of_fonts(event.are_missing)

    def on_canary(self, event: ev.CanaryRendered) -> None:
        """What this machine renders itself."""
        self._compatibility.hear_of_canary(event.look)

    def on_lost(self, event: ev.HostLost) -> None:
        """It is gone, perhaps for a moment only."""
        self.lose(self._run.hosts[event.host], event.reason)

    def on_load(self, event: ev.LoadSampled) -> None:
        """A heartbeat."""
        host = self._run.hosts[event.host]
        host.heard_at = max(host.heard_at, self._run.now if event.at is None else event.at)
        if self._run.now - host.sampled_at < self._run.policy.sample_every:
            return
        host.sampled_at = self._run.now
        host.others, host.ours, host.seats = event.others, event.ours, event.seats
        if host.plan.ignores_load or host.awaits_comparison:
            return
        if host.state is HostState.IDLE and host.others_per_core > host.plan.busy_above:
            self._yield(host)
        elif host.state is HostState.BUSY:
            if host.others_per_core < host.plan.idle_below:
                self._become_idle(host)
            else:
                host.reason = _busy_reason(host)

    def on_finished(self, event: ev.HostFinished) -> None:
        """It has reported everything."""
        host = self._run.hosts[event.host]
        if not host.is_finishing:
            self.distrust(host, "says good-bye, though nobody asked it to")
            return
        host.is_connected = False
        self._run.issue(do.CloseHost(host.name))

    # What people ask for

    def on_drain(self, event: ev.DrainRequested) -> None:
        """A person takes it out of use."""
        host = self._run.hosts.get(event.host)
        if host is None:
            return
        host.drained = event.reason
        if host.is_connected and not host.awaits_comparison:
            self._run.set_state(host, HostState.DRAINED, host.drained)
            self._give_back(host, "its host is drained", self._run.policy.drain_grace)

    def on_undrain(self, event: ev.UndrainRequested) -> None:
        """And gives it back."""
        host = self._run.hosts.get(event.host)
        if host is None or not host.drained:
            return
        host.drained = ""
        host.yielding_since = None
        if host.is_connected and not host.awaits_comparison:
            self._judge(host)

    # What others find out about them

    def lose(self, host: Host, reason: str) -> None:
        """It is tried again after a while, each time a longer one."""
        host.disconnects += 1
        policy = self._run.policy
        pause = _growing(policy.reconnect_first, policy.reconnect_longest, host.disconnects)
        self._disconnect(host, HostState.LOST, reason, self._run.now + pause)

    def distrust(self, host: Host, what: str) -> None:
        """It does not keep to the protocol: broken or hostile, so longer and longer without it."""
        if host.is_connected:
            self.lose(host, _distrust(what))

    def on_distrusted(self, event: ev.HostDistrusted) -> None:
        """Something that it said could not be handled."""
        self.lose(self._run.hosts[event.host], _distrust(event.what))

    def count_fruitless(self, host: Host, reason: str) -> None:
        """It gave an attempt up, without a charge to the page: that may not go on for ever."""
        host.fruitless += 1
        if host.fruitless > self._run.policy.fruitless_most and host.is_connected:
            self.lose(host, f"{host.fruitless} attempts in a row came to nothing: {reason}")

    def take_a_slot(self, host: Host, reason: str) -> None:
        """It ran short of memory: it uses a slot less from now on, also when it comes back."""
        if host.slots <= 1:
            self.count_fruitless(host, reason)
        host.slots = host.crowded_to = max(1, host.slots - 1)

    def count_against(self, host: Host, page: Page) -> None:
        """A page failed on it, by its fault or the page's: several different ones in a row tell."""
        host.failures += 1
        host.consecutive_failures.add(page.number)
        has_other = any(other is not host for other in self._run.idle_hosts())
        if len(host.consecutive_failures) >= self._run.policy.quarantine_after and has_other:
            self._quarantine(host)

    def count_storage_failure(self, host: Host) -> None:
        """The storage is well here, so it is this host that cannot write to it."""
        host.storage_failures += 1
        if host.storage_failures >= self._run.policy.storage_failures and host.state in _CONNECTED:
            self._refuse(host, _NO_SAN, "cannot write to the shared folder")

    def try_again_after_outage(self) -> None:
        """Connect to the hosts that were refused for the shared folder, which failed everywhere then."""
        for host in self._run.hosts.values():
            if host.state is HostState.REFUSED and host.refusal == _NO_SAN:
                self._reconnect(host, "the shared folder is back")

    # What time brings

    def connect_all(self) -> None:
        """Reach for every host."""
        for host in self._run.hosts.values():
            host.state = HostState.CONNECTING
            self._run.issue(do.ConnectHost(host.name))

    @property
    def is_provisional(self) -> bool:
        """Whether pages may turn out to be other than those of most hosts."""
        return self._compatibility.is_provisional

    def compare(self) -> bool:
        """Decide on the reference. Whether pages that were delivered may have been outvoted."""
        self._compatibility.decide()
        return self._compatibility.take_overturned()

    def watch(self, host: Host, may_reconnect: bool) -> None:
        """Silence, pauses that are over, an owner who waits, pages that do not end or begin."""
        run = self._run
        if host.is_connected and run.heard_to - host.heard_at > run.policy.silence:
            self.lose(host, f"not heard for {run.policy.silence:g} s")
        elif host.is_connected and host.budget.is_exhausted:
            self.distrust(host, "causes more entries of the journal than a host may")
        elif host.retry_at is not None and run.now >= host.retry_at and may_reconnect:
            host.retry_at = None
            run.issue(do.ConnectHost(host.name))
        if host.yielding_since is not None and run.now - host.yielding_since >= host.yields_within:
            for attempt in host.in_flight.values():
                run.kill(attempt, host.yields_because)
        for attempt in list(host.in_flight.values()):
            self._watch_attempt(host, attempt)
        self._watch_stall(host)

    def release_quarantine(self) -> None:
        """When nobody else is left, the host that has served longest of its quarantine is let out."""
        hosts = self._run.hosts.values()
        if any(host.state in _ACTIVE for host in hosts):
            return
        held = [host for host in hosts if host.state is HostState.QUARANTINED]
        if held and all(host.retry_at is not None for host in held):
            first = min(held, key=lambda host: host.retry_at or 0.0)
            first.retry_at = None
            self._run.issue(do.ConnectHost(first.name))

    def close_all(self) -> None:
        """The run is over."""
        run = self._run
        for host in run.hosts.values():
            if host.is_connected or host.state is HostState.CONNECTING:
                run.issue(do.CloseHost(host.name))
            if host.state is HostState.CONNECTING:
                seconds = run.now - run.began
                what = "not compared with the others" if host.awaits_comparison else "no answer"
                run.set_state(host, HostState.LOST, f"{what} in the {seconds:.1f} s that the run took")

    # How

    def _refuse(self, host: Host, refusal: str, reason: str) -> None:
        host.refusal = refusal
        self._disconnect(host, HostState.REFUSED, reason)

    def _revive(self, host: Host) -> None:
        """It was refused for its page images, and most hosts turn out to render the same."""
        self._reconnect(host, "most hosts render what it renders")

    def _reconnect(self, host: Host, reason: str) -> None:
        host.refusal = ""
        self._run.set_state(host, HostState.CONNECTING, reason)
        self._run.issue(do.ConnectHost(host.name))

    def _judge(self, host: Host) -> None:
        """What a connected host is."""
        if host.drained:
            self._run.set_state(host, HostState.DRAINED, host.drained)
        elif host.plan.ignores_load or host.others_per_core < host.plan.idle_below:
            self._become_idle(host)
        else:
            self._run.set_state(host, HostState.BUSY, _busy_reason(host))

    def _become_idle(self, host: Host) -> None:
        self._run.set_state(host, HostState.IDLE, "")
        host.yielding_since = None

    def _yield(self, host: Host) -> None:
        """The owner is back: nothing new goes there, what is queued comes back, the rest soon."""
        self._run.set_state(host, HostState.BUSY, _busy_reason(host))
        is_free = self._run.now - host.yielded_at >= _YIELDS_APART
        host.yielded_at = self._run.now
        for attempt in host.in_flight.values():
            attempt.is_free = is_free
        self._give_back(host, "the host's owner is back", self._run.policy.yield_grace)

    def _give_back(self, host: Host, reason: str, within: float) -> None:
        """What is queued, and what would not be drawn in time anyway, moves to other hosts at once."""
        run = self._run
        usual = forecast.usual_seconds_per_page(run)
        host.yielding_since, host.yields_within, host.yields_because = run.now, within, reason
        for attempt in host.in_flight.values():
            run.revoke(attempt, reason)
            left = forecast.seconds_left(run, host, attempt, usual)
            if attempt.started_at is not None and left is not None and left > within:
                run.kill(attempt, reason)

    def _quarantine(self, host: Host) -> None:
        host.quarantines += 1
        policy = self._run.policy
        pause = _growing(policy.quarantine_first, policy.quarantine_longest, host.quarantines)
        reason = f"{len(host.consecutive_failures)} different pages failed on it in a row"
        host.consecutive_failures.clear()
        self._disconnect(host, HostState.QUARANTINED, reason, self._run.now + pause)

    def _disconnect(
        self, host: Host, state: HostState, reason: str, retry_at: float | None = None
    ) -> None:
        """Leave the host; whatever it holds goes back to the queue."""
        self._run.issue(do.CloseHost(host.name))
        host.is_connected = False
        host.retry_at = retry_at
        host.yielding_since = host.stalled_since = None
        host.fed.clear()
        host.awaits_comparison = False
        for attempt in list(host.in_flight.values()):
            self._take_away(attempt, reason)
        self._run.set_state(host, state, reason)

    def _take_away(self, attempt: Attempt, reason: str) -> None:
        """The host took the attempt along. One that was being drawn may be the cause of it."""
        run = self._run
        unanswered = attempt.unanswered_since()
        is_kept_back = unanswered is not None and run.now - unanswered > run.policy.answer_within
        if attempt.started_at is not None or is_kept_back:
            page = run.book[attempt.page]
            page.disconnects += 1
            page.lost_on.add(attempt.host)
            if page.disconnects >= 2 * run.policy.retries:
                page.failures.append(Failure(attempt.host, FailureKind.HOST, reason))
        run.release(attempt, f"the host was left: {reason}")

    def _watch_attempt(self, host: Host, attempt: Attempt) -> None:
        """The runner keeps the page timeout; this is for a runner that does not."""
        if attempt.name not in host.in_flight or self._is_left_for(host, attempt):
            return
        if attempt.started_at is None:
            return
        policy = self._run.policy
        late = self._run.now - attempt.started_at - policy.page_timeout
        if late > 2 * policy.overdue_grace:
            self.lose(host, f"does not end page {attempt.page}")
        elif late > policy.overdue_grace:
            self._run.kill(attempt, "it was overdue")

    def _is_left_for(self, host: Host, attempt: Attempt) -> bool:
        """Whether the host was lost because it does not give the attempt back, as it was told to."""
        policy, now = self._run.policy, self._run.heard_to
        unanswered = attempt.unanswered_since()
        if unanswered is not None and now - unanswered > policy.answer_within:
            self.distrust(host, f"does not answer that page {attempt.page} is wanted back")
        elif attempt.kept_at is not None:
            within = policy.page_timeout + 2 * policy.overdue_grace
            if now - attempt.kept_at > (policy.kill_within if attempt.is_killed else within):
                self.distrust(host, f"keeps page {attempt.page}, and does not render it")
        return not host.is_connected

    def _watch_stall(self, host: Host) -> None:
        """A runner that beats but never begins what it was sent would hold the job for ever.

        One that says it has no slot for us may be right: other jobs have them. It is asked for its
        pages, which only a host that keeps to the protocol hands back.
        """
        policy = self._run.policy
        if not host.is_stalled():
            host.stalled_since = None
        elif host.stalled_since is None:
            host.stalled_since = self._run.now
        elif self._run.now - host.stalled_since > max(policy.stall, policy.page_timeout):
            if host.width:
                self.lose(host, "does not begin the pages that it was sent")
                return
            host.stalled_since = self._run.now
            for attempt in host.in_flight.values():
                self._run.revoke(attempt, "its host has had no slot for it for long")


def _distrust(what: str) -> str:
    return f"does not keep to the protocol: {what}"


def _busy_reason(host: Host) -> str:
    return (
        f"other people's load is {host.others_per_core:.2f} per core"
        f" (used below {host.plan.idle_below:g})"
    )


def _growing(first: float, longest: float, times: int) -> float:
    """Seconds: twice as many each time."""
    return float(min(first * 2 ** min(times - 1, 16), longest))
