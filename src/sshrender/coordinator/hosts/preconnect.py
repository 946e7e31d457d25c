"""Connects to hosts before the job is open, so that they start while the document is read.

A host only collects facts about itself at first. It answers when ``prepare`` tells it the job.
"""

from __future__ import annotations

import queue
import resource
from collections.abc import Sequence
from typing import Any

from sshrender.coordinator.hosts.connection import MAX_HANDSHAKES, HostConnection
from sshrender.coordinator.renderrequest import HostSetup

STAGGER = 0.01
"""Seconds between the starts of two handshakes beyond the first MAX_HANDSHAKES."""


FILES_PER_HOST = 8
"""Open files for each host: paramiko has one, ssh(1) three pipes, a file transfer as many."""

OTHER_FILES = 512
"""Open files of everything else: workers, the journal, child processes."""


def allow_open_files(hosts: int) -> None:
    """Raise the soft limit of open files for so many hosts, as far as the hard limit lets it.

    The usual soft limit is 1024, for programs that use select(2); systemd's hard limit is 524288.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_PER_HOST * hosts + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    # Never above the hard limit, which only root may raise (setrlimit(2)).
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


class ConnectionPool:
    """The connections of a run: started early, or when they are taken.

    ``has_pools``: hosts may be added, whose test pages are compared as well. ``is_check``: nothing else
    will show whether Ghostscript renders.
    """

    def __init__(
        self,
        hosts: Sequence[HostSetup],
        label: str,
        inbox: queue.SimpleQueue[Any],
        *,
        is_mixed: bool = False,
        has_pools: bool = False,
        is_check: bool = False,
    ) -> None:
        self._label = label
        self._blank: tuple[str, str] | None = None
        # One host has nothing to be compared with, and need not render the canary page.
        self._has_canary = ((len(hosts) > 1 or has_pools) and not is_mixed) or is_check
        self._inbox = inbox
        self._order = {setup.plan.name: number for number, setup in enumerate(hosts)}
        self._early: dict[str, HostConnection] = {}
        allow_open_files(len(hosts))

    def begin(self, hosts: Sequence[HostSetup], blank: tuple[str, str] | None = None) -> None:
        """Start to connect to these hosts.

        ``blank``: device and resolution of the PNG files of the job; with the canary page each host
        writes a blank one.
        """
        self._blank = blank
        for setup in hosts:
            link = self._make(setup)
            self._early[setup.plan.name] = link
            link.start()

    def take(self, setup: HostSetup) -> HostConnection:
        """Return a started connection to this host: the early one, the first time."""
        # A second connection in the same run (the host was lost) is always a new one.
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
        # The first MAX_HANDSHAKES start at once; the others would wait for the semaphore anyway.
        delay = STAGGER * max(0, self._order.get(setup.plan.name, 0) + 1 - MAX_HANDSHAKES)
        link = HostConnection(setup, self._label, self._inbox.put, delay)
        link.send(
            "hello",
            ghostscript=setup.ghostscript,
            canary=self._has_canary,
            blank=self._blank,
            slots=setup.plan.slots,
        )
        return link
