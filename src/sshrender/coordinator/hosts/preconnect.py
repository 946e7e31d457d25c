"""Connects to hosts before the job is open, so that they start while the document is read.

A host only collects facts about itself at first. It answers when ``prepare`` tells it the job.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from sshrender.coordinator.hosts.connection import MAX_HANDSHAKES, HostConnection
from sshrender.coordinator.jobplan import HostSetup

STAGGER = 0.01
"""Seconds between the starts of two handshakes beyond the first MAX_HANDSHAKES."""


class ConnectionPool:
    """The connections of a run: started early, or when they are taken.

    ``has_pools``: hosts may be added, whose test pages are compared as well.
    """

    def __init__(
        self,
        hosts: Sequence[HostSetup],
        label: str,
        inbox: queue.SimpleQueue[Any],
        *,
        is_mixed: bool = False,
        has_pools: bool = False,
    ) -> None:
        self._label = label
        self._are_compared = (len(hosts) > 1 or has_pools) and not is_mixed
        self._inbox = inbox
        self._order = {setup.plan.name: number for number, setup in enumerate(hosts)}
        self._early: dict[str, HostConnection] = {}

    def begin(self, hosts: Sequence[HostSetup]) -> None:
        """Start to connect to these hosts."""
        for setup in hosts:
            link = self._make(setup)
            self._early[setup.plan.name] = link
            link.start()

    def take(self, setup: HostSetup) -> HostConnection:
        """Return a started connection to this host: the early one, the first time."""
        link = self._early.pop(setup.plan.name, None)
        if link is None:
            link = self._make(setup)
            link.start()
        return link

    def close(self) -> None:
        """Close the early connections that were not taken."""
        for link in self._early.values():
            link.close()
        self._early.clear()

    def _make(self, setup: HostSetup) -> HostConnection:
        delay = STAGGER * max(0, self._order.get(setup.plan.name, 0) + 1 - MAX_HANDSHAKES)
        link = HostConnection(setup, self._label, self._inbox.put, delay)
        link.send(
            "hello",
            ghostscript=setup.ghostscript,
            canary=self._are_compared,
            slots=setup.plan.slots,
        )
        return link
