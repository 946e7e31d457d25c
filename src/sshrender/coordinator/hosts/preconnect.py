"""Connections begun before the job is open: hosts can use the time that reading a document takes.

A host is only asked to look at itself; it answers when it is told what it is wanted for.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from sshrender.coordinator.hosts.connection import HANDSHAKES, HostConnection
from sshrender.coordinator.plan import HostSetup

STAGGER = 0.01
"""Seconds between two hosts' handshakes, where there are more than may shake hands at once."""


class ConnectionPool:
    """The links of a run to be: started now, or when they are asked for."""

    def __init__(
        self,
        hosts: Sequence[HostSetup],
        label: str,
        inbox: queue.SimpleQueue[Any],
        *,
        is_mixed: bool = False,
    ) -> None:
        self._label = label
        self._are_compared = len(hosts) > 1 and not is_mixed
        self._inbox = inbox
        self._order = {setup.plan.name: number for number, setup in enumerate(hosts)}
        self._early: dict[str, HostConnection] = {}

    def begin(self, hosts: Sequence[HostSetup]) -> None:
        """Start to connect to every host."""
        for setup in hosts:
            link = self._make(setup)
            self._early[setup.plan.name] = link
            link.start()

    def take(self, setup: HostSetup) -> HostConnection:
        """A started link to this host: the early one, the first time."""
        link = self._early.pop(setup.plan.name, None)
        if link is None:
            link = self._make(setup)
            link.start()
        return link

    def close(self) -> None:
        """End the links that nobody took."""
        for link in self._early.values():
            link.close()
        self._early.clear()

    def _make(self, setup: HostSetup) -> HostConnection:
        delay = STAGGER * max(0, self._order[setup.plan.name] + 1 - HANDSHAKES)
        link = HostConnection(setup, self._label, self._inbox.put, delay)
        link.send(
            "hello",
            ghostscript=setup.ghostscript,
            canary=self._are_compared,
            slots=setup.plan.slots,
        )
        return link
