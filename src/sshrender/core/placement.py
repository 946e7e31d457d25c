"""Which page goes to which host, and which attempt comes back for a slot that has nothing. Pure choices.

The scheduler carries them out; nothing here changes a page or a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sshrender.core.pagebook import PageBook
from sshrender.core.policy import Policy
from sshrender.core.records import Attempt, Host, Page
from sshrender.core.states import HostState

_MAY_TAKE = (HostState.IDLE, HostState.CONNECTING)


def takers(hosts: Iterable[Host], policy: Policy) -> list[Host]:
    """Idle hosts that take another attempt."""
    return [host for host in hosts if host.state is HostState.IDLE and host.room(policy) > 0]


def emptiest(hosts: list[Host]) -> Host:
    """The host that holds the least for each of its slots; of equals the first."""
    return min(hosts, key=lambda host: len(host.in_flight) / max(host.slots, 1))


def page_for(host: Host, book: PageBook, hosts: Iterable[Host]) -> Page | None:
    """The next page for this host: one in trouble that it may try, else the next fresh one."""
    everybody = list(hosts)
    for page in book.troubled():
        if _may_try(page, host, book, everybody):
            return page
    return book.take_fresh()


def _may_try(page: Page, host: Host, book: PageBook, hosts: list[Host]) -> bool:
    """A page goes back to where it failed only when nothing else is left to do."""
    if not page.failed_on(host.name):
        return True
    if book.has_fresh():
        return False
    return not any(other.state in _MAY_TAKE and not page.failed_on(other.name) for other in hosts)


def to_call_back(hosts: Iterable[Host], attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """At the tail: what is queued behind a running page, for slots that have nothing."""
    idle = [host for host in hosts if host.state is HostState.IDLE]
    free = sum(host.free_slots() for host in idle)
    free -= sum(attempt.is_revoking for attempt in attempts)
    for host in sorted(idle, key=lambda host: host.slots - len(host.in_flight)):
        waiting = [attempt for attempt in host.in_flight.values() if attempt.started_at is None]
        surplus = min(len(host.in_flight) - host.slots, free, len(waiting))
        for attempt in reversed(waiting[-surplus:] if surplus > 0 else []):
            if not attempt.is_revoking:
                free -= 1
                yield attempt
