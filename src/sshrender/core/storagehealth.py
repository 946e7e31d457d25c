"""Whether the shared folder can be trusted with pages, and when it is looked at again. Pure.

A doubt (somebody could not write) has one look from here answer it. A storage that fails the look is
*paused* and looked at now and then until it is well, or has been away too long. One that is well
whenever it is looked at and yet takes no page (there is room for what the look writes, not for a
page) is looked at less and less often, and given up in the end.
"""

from __future__ import annotations

from sshrender.core.policy import Policy

MAX_UNCONFIRMED_RECOVERIES = 5
"""Times that a storage may seem well, without taking a page, before it is given up."""


class StorageHealth:
    """Told what is seen; answers what to do. All times are on the scheduler's clock."""

    def __init__(self, policy: Policy) -> None:
        self.paused = ""
        self._policy = policy
        self._reason = ""
        self._probe_at: float | None = None
        self._paused_at = 0.0
        self._doubted_since: float | None = None
        self._doubted: set[str] = set()
        self._unconfirmed_recoveries = 0

    def doubt(self, now: float, reason: str, host: str | None = None) -> None:
        """A page could not be written: by this host, or by us."""
        if host is not None:
            self._doubted.add(host)
        self._reason = reason
        if self._doubted_since is None:
            self._doubted_since = now
        if self._probe_at is None and not self.paused:
            self._probe_at = now + self._pause()

    def failed(self, now: float, reason: str) -> None:
        """A look from here failed: nobody is to blame, everything waits."""
        if not self.paused:
            self._paused_at = now
        self.paused = self._reason = reason
        self._doubted.clear()
        if self._probe_at is None:  # who reports the same again must not put the next look off
            self._probe_at = now + self._policy.storage_probe

    def recovered(self) -> set[str]:
        """A look from here succeeded. Answers the hosts that could not write where we can."""
        self.paused, self._probe_at = "", None
        self._unconfirmed_recoveries += 1
        doubted, self._doubted = self._doubted, set()
        return doubted

    def confirm_write(self) -> None:
        """The best proof that it is well."""
        self._unconfirmed_recoveries, self._doubted_since = 0, None

    def is_suspended(self) -> bool:
        """Whether nothing is to be sent now."""
        return bool(self.paused) or self._probe_at is not None

    def is_probe_due(self, now: float) -> bool:
        """Whether to look now; the next look is then set."""
        if self._probe_at is None or now < self._probe_at:
            return False
        self._probe_at = now + self._policy.storage_probe
        return True

    def is_given_up(self, now: float) -> str:
        """Why it is not waited for any longer; empty while it is."""
        patience = self._policy.storage_wait
        if self.paused and now - self._paused_at > patience:
            return self.paused
        doubted_since = now if self._doubted_since is None else self._doubted_since
        if self._unconfirmed_recoveries >= MAX_UNCONFIRMED_RECOVERIES and now - doubted_since > patience:
            return self._reason
        return ""

    def _pause(self) -> float:
        if self._unconfirmed_recoveries == 0:
            return 0.0
        doublings = min(self._unconfirmed_recoveries - 1, 16)
        return min(self._policy.storage_probe * 2.0**doublings, self._policy.max_storage_probe)
