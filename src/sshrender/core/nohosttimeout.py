"""How long a run waits where nobody is usable. Pure."""

from __future__ import annotations

from collections.abc import Collection

from sshrender.core.policy import Policy
from sshrender.core.records import Host
from sshrender.core.states import HostState

_HOPE = frozenset({HostState.IDLE, HostState.CONNECTING})


class NoHostTimeout:
    """Asked again and again; remembers since when nobody has been usable."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._since: float | None = None

    def is_over(self, hosts: Collection[Host], now: float, has_delivered: bool) -> str:
        """Why there is nobody to wait for any longer; empty while there is.

        Once pages were delivered, hosts that their owners use are waited for without end, and lost ones
        longer than at first.
        """
        states = {host.state for host in hosts}
        if states & _HOPE:
            self._since = None
            return ""
        if states <= {HostState.REFUSED}:
            return "every host was refused"
        if self._since is None:
            self._since = now
        if has_delivered and HostState.BUSY in states:
            return ""
        wait = max(self._policy.wait, self._policy.lost_wait) if has_delivered else self._policy.wait
        return "no host was usable in time" if now - self._since >= wait else ""
