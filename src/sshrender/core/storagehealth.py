"""Decides whether pages may be written to the storage, and when to probe it. Pure.

The storage is *suspected* when a host or this machine could not write a page; then one probe from here
decides. If the probe fails the run is *paused*, and the storage is probed at intervals until it works
again or has been unavailable for too long. If probes succeed while pages fail (there is room for what
the probe writes, not for a page), it is probed less and less often, and given up in the end.
"""

from __future__ import annotations

from sshrender.core.policy import Policy

MAX_UNCONFIRMED_RECOVERIES = 5
"""Probes that may succeed in a row, without a page being written, before the storage is given up."""


class StorageHealth:
    """The state of the storage. All times are on the scheduler's clock."""

    def __init__(self, policy: Policy) -> None:
        self.paused = ""
        self._policy = policy
        self._reason = ""
        self._writer: str | None = None
        self._probe_at: float | None = None
        self._paused_at = 0.0
        self._suspected_since: float | None = None
        self._suspected: dict[str, str] = {}
        self._unconfirmed_recoveries = 0

    def suspect(self, now: float, reason: str, host: str | None = None) -> float:
        """Suspect the storage: this host, or this machine (None), could not write a page.

        Return for how many seconds no page is sent, if that begins now and is noticeable; else 0.
        """
        if host is not None:
            self._suspected[host] = reason
        self._reason, self._writer = reason, host
        # Kept from the first suspicion on, as its age decides when the storage is given up.
        if self._suspected_since is None:
            self._suspected_since = now
        # A probe that is due stays: later reports must not move it.
        if self._probe_at is not None or self.paused:
            return 0.0
        delay = self._probe_delay()
        self._probe_at = now + delay
        return delay

    def failed(self, now: float, reason: str) -> None:
        """Pause: a probe from here failed, so no host is to blame."""
        # The pause counts from its first failed probe; is_given_up compares with that.
        if not self.paused:
            self._paused_at = now
        self.paused = self._reason = reason
        # Its hosts are cleared: they failed for the same cause as this machine.
        self._suspected.clear()
        if self._probe_at is None:  # a repeated report must not postpone the next probe
            self._probe_at = now + self._policy.storage_probe

    def recovered(self) -> dict[str, str]:
        """Resume: a probe from here succeeded. Return the hosts that could not, each with its reason."""
        self.paused, self._probe_at = "", None
        self._unconfirmed_recoveries += 1
        suspected, self._suspected = self._suspected, {}
        return suspected

    def confirm_write(self) -> None:
        """Clear all suspicion: a page was written."""
        self._unconfirmed_recoveries, self._suspected_since = 0, None

    def paused_seconds(self, now: float) -> float:
        """Return how long the run has been paused; 0 while it is not."""
        return now - self._paused_at if self.paused else 0.0

    def suspicion_left(self, now: float) -> float:
        """Return for how long a suspected storage is still waited for while probes succeed."""
        since = now if self._suspected_since is None else self._suspected_since
        return max(0.0, self._policy.storage_wait - (now - since))

    def withheld(self, now: float) -> tuple[str, float]:
        """Return why no page is sent though the run is not paused, and for how many seconds."""
        if self.paused or self._probe_at is None or self._probe_at <= now:
            return "", 0.0
        reason = self._reason if self._writer is None else f"{self._writer}: {self._reason}"
        return reason, self._probe_at - now

    def is_suspended(self) -> bool:
        """Return whether no page is to be sent now."""
        return bool(self.paused) or self._probe_at is not None

    def is_probe_due(self, now: float) -> bool:
        """Return whether to probe now; if so, schedule the next probe."""
        if self._probe_at is None or now < self._probe_at:
            return False
        # The next probe is planned at once, in case that no answer comes: it may hang.
        self._probe_at = now + self._policy.storage_probe
        return True

    def is_given_up(self, now: float) -> str:
        """Return why the storage is given up; empty while it is waited for."""
        if not self.paused and not self._unconfirmed_recoveries:
            return ""  # the usual case, on every turn
        limit = self._policy.storage_wait
        if self.paused and now - self._paused_at > limit:
            return self.paused  # probes fail
        suspected_since = now if self._suspected_since is None else self._suspected_since
        if self._unconfirmed_recoveries >= MAX_UNCONFIRMED_RECOVERIES and now - suspected_since > limit:
            return self._reason
        return ""

    def _probe_delay(self) -> float:
        """Return the seconds until the next probe, which double with each that succeeds for nothing."""
        if self._unconfirmed_recoveries == 0:
            return 0.0
        # With the default policy: 2, 4, 8 s and so on.
        doublings = min(self._unconfirmed_recoveries - 1, 16)
        return min(self._policy.storage_probe * 2.0**doublings, self._policy.max_storage_probe)
