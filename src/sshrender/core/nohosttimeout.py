"""Ends a run when no host has been usable for too long. Pure."""

from __future__ import annotations

from sshrender.core.events import HostsExpected
from sshrender.core.policy import Policy
from sshrender.core.states import HostState

PROMISING = frozenset({HostState.IDLE, HostState.CONNECTING})
"""States of hosts that take pages, or may take some in a moment."""

# They wait anyway, as the batch system that ended a host may be about to announce another.
_LATE = {
    frozenset({HostState.REMOVED}): "every host has left",
    frozenset({HostState.REFUSED, HostState.REMOVED}): "every host was refused or has left",
}
"""The message if no host can recover by itself."""


class NoHostTimeout:
    """Remembers since when no host has been usable. Asked on every turn of the scheduler."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._since: float | None = None
        self.expected = HostsExpected(0)
        """Hosts that may still be added: they wait in a queue for as long as that takes."""
        self.ends_at: float | None = None
        """When the run gives up; None while a host is usable, or is waited for without a limit."""

    def suspend(self) -> None:
        """Do not count this time: the run could not render either way."""
        self._since = self.ends_at = None

    def is_over(self, states: frozenset[HostState], now: float, has_delivered: bool) -> str:
        """Return why the run should stop waiting for hosts in these states; empty while it should wait.

        After the first delivered page, busy hosts are waited for without a limit, and lost ones longer
        than before it.
        """
        # A host that may come ends the waiting: it begins again when that host is lost.
        if states & PROMISING or self.expected.number:
            self.suspend()
            return ""
        # No host can recover by itself, so there is nothing to wait for.
        # Also without any host, as the empty set is a subset.
        if states <= {HostState.REFUSED}:
            return self.expected.reason or "every host was refused"
        # The job has begun, and owners go home at night. The time until then does not count as time
        # without hosts: the wait begins when the last of these hosts is lost.
        if has_delivered and HostState.BUSY in states:
            self.suspend()
            return ""
        if self._since is None:
            self._since = now
        wait = max(self._policy.wait, self._policy.lost_wait) if has_delivered else self._policy.wait
        self.ends_at = self._since + wait
        late = self.expected.reason or _LATE.get(states, "no host was usable in time")
        return late if now >= self.ends_at else ""
