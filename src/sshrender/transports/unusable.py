"""A host that the inventory names but that cannot be reached in this way: refused, with the reason."""

from __future__ import annotations

from sshrender.transports.protocol import ConnectFailed, Link, Refusal, RunnerSpec


class UnusableTransport:
    """Refuses every connection."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """See Transport.connect."""
        raise ConnectFailed(Refusal.CONFIGURATION, self._reason)
