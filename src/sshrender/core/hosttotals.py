"""Sums and orders over all hosts, kept current host by host: reading them costs the same on any farm.

Whatever changes a host that one of them depends on calls ``touch``. The next reader has the touched
hosts counted again. Sums of speeds and costs are kept as whole numbers: sums of floats drift.
"""

from __future__ import annotations

from typing import NamedTuple

from sshrender.core.policy import Policy
from sshrender.core.rankedhosts import RankedHosts
from sshrender.core.records import Host
from sshrender.core.states import HostState

SLOT_LOCK_WAIT = 5.0
"""Seconds that a job waits for a slot lock behind another job of its rank (the runner's slotlocks)."""

_UNIT = 2.0**32
"""Whole numbers of the sums are multiples of 1 / _UNIT."""

_PASS_SECONDS = 20e-6
"""Seconds of the farm's time between two passes over all hosts, for each host. A pass takes one or two
microseconds a host, so that passes take a tenth of a core at most, however large the farm is."""

_SMALL_FARM = 16
"""Hosts up to which a pass may be made on every turn."""


def pass_interval(hosts: int) -> float:
    """Return the seconds that have to lie between two passes over so many hosts."""
    return 0.0 if hosts <= _SMALL_FARM else _PASS_SECONDS * hosts


class Share(NamedTuple):
    """The part of one host in the sums. Speeds and costs are in units of 1 / _UNIT."""

    speed: int = 0
    """Seconds of a page of cost 1 in one slot; 0 if unknown."""
    rate: int = 0
    """Pages of cost 1 a second, of an idle host of known speed."""
    backlog: int = 0
    """The cost of what an idle host has in flight."""
    free: int = 0
    """Slots of an idle host that have nothing to do."""
    sharers: int = 0
    """1 for an idle host with a SAN."""
    has_surplus: bool = False
    """Whether an idle host has more in flight than it has slots."""


_NOTHING = Share()


class HostTotals:
    """The sums, and the idle hosts in the order in which pages are offered to them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._touched: dict[str, Host] = {}
        self._shares: dict[str, Share] = {}
        self._speed = self._rate = self._backlog = self._known = 0
        self.free = 0
        """Slots of idle hosts that have nothing to do."""
        self.sharers = 0
        """Idle hosts with a SAN."""
        self.surplus: dict[str, Host] = {}
        """Idle hosts that have more in flight than they have slots."""
        self.fastest = RankedHosts()
        """Idle hosts of known speed, by seconds of a page of cost 1."""
        self._parked: dict[str, Host] = {}
        # Hosts with capacity. The key of the first is seconds. Hosts of unknown speed count as average;
        # the key of the second is a factor to the average's seconds. Those of the third wait for a slot
        # lock.
        self._takers = RankedHosts()
        self._unknown_takers = RankedHosts()
        self._waiting_takers = RankedHosts()
        self._hosts: dict[str, Host] = {}

    def touch(self, host: Host) -> None:
        """Have the host counted again before the next reading."""
        self._touched[host.plan.name] = host

    def refresh(self) -> HostTotals:
        """Count the touched hosts again; return itself."""
        while self._touched:
            name, host = self._touched.popitem()
            self._count(name, host)
        return self

    @property
    def usual(self) -> float | None:
        """Return the seconds of a page of cost 1 on an average host; None before the first page."""
        return self._speed / _UNIT / self._known if self._known else None

    @property
    def rate(self) -> float:
        """Return the pages of cost 1 a second that the idle hosts of known speed render together."""
        return self._rate / _UNIT

    @property
    def backlog(self) -> float:
        """Return the cost of all pages in flight on idle hosts."""
        return self._backlog / _UNIT

    # Hosts with capacity

    def next_taker(self, usual: float) -> Host | None:
        """Return the host that would finish a page of cost 1 first, of those with capacity."""
        best = self._takers.first()
        unknown, waiting = self._unknown_takers.first(), self._waiting_takers.first()
        # The keys of the three orders have different units. Each is monotonic, so it is enough to
        # convert their first ones to seconds.
        if unknown is not None:
            unknown = (usual * unknown[0], *unknown[1:])
            best = unknown if best is None else min(best, unknown)
        if waiting is not None:
            waiting = (usual + SLOT_LOCK_WAIT, *waiting[1:])
            best = waiting if best is None else min(best, waiting)
        return None if best is None else self._hosts[best[2]]

    def park(self, host: Host) -> None:
        """Offer the host no page until it changes, or until ``unpark``."""
        self._discard_taker(host.name)
        self._parked[host.name] = host

    @property
    def has_parked(self) -> bool:
        """Return whether a host is parked."""
        return bool(self._parked)

    def unpark(self) -> None:
        """Offer pages to the parked hosts again."""
        # touch() has each host counted again, which puts it back if it still has capacity.
        for host in self._parked.values():
            self.touch(host)
        self._parked.clear()
        self.refresh()

    # Counting

    def _count(self, name: str, host: Host) -> None:
        # The host's last contribution is subtracted again: so no sum needs a pass over all hosts.
        old, new = self._shares.get(name, _NOTHING), _share(host)
        if new != old:
            self._shares[name] = new
            self._known += bool(new.speed) - bool(old.speed)
            self._speed += new.speed - old.speed
            self._rate += new.rate - old.rate
            self._backlog += new.backlog - old.backlog
            self.free += new.free - old.free
            self.sharers += new.sharers - old.sharers
            if new.has_surplus:
                self.surplus[name] = host
            elif old.has_surplus:
                del self.surplus[name]
        self._hosts[name] = host
        # Any change ends the parking: the host may suit other pages than before.
        if self._parked:
            self._parked.pop(name, None)
        # Its speed stays in the average (``_share``); only the orders are for idle hosts.
        if host.state is not HostState.IDLE:
            self.fastest.discard(name)
            self._discard_taker(name)
            return
        if host.seconds_per_a4 is not None:
            self.fastest.put(name, host.seconds_per_a4, host.index)
        if host.capacity(self._policy) > 0:
            self._put_taker(name, host)
        else:
            self._discard_taker(name)

    def _put_taker(self, name: str, host: Host) -> None:
        usable = host.usable_slots
        # The cost in front of a new page for each slot, and the page itself.
        queue = 1 + host.backlog / max(usable, 1)
        if host.seconds_per_a4 is None:
            self._waiting_takers.discard(name)
            self._unknown_takers.discard(name)
            (self._unknown_takers if usable else self._waiting_takers).put(name, queue, host.index)
            return
        # This runs for every page, and on most farms both orders are empty by then.
        if self._unknown_takers or self._waiting_takers:
            self._waiting_takers.discard(name)
            self._unknown_takers.discard(name)
        seconds = host.seconds_per_a4 * queue + host.transfer_seconds * (1 + len(host.in_flight))
        self._takers.put(name, seconds + (0.0 if usable else SLOT_LOCK_WAIT), host.index)

    def _discard_taker(self, name: str) -> None:
        self._takers.discard(name)
        self._unknown_takers.discard(name)
        self._waiting_takers.discard(name)


def _share(host: Host) -> Share:
    seconds = host.seconds_per_a4
    # At least 1, as 0 says that the speed is unknown.
    speed = 0 if seconds is None else max(1, round(seconds * _UNIT))
    if host.state is not HostState.IDLE:
        return Share(speed) if speed else _NOTHING
    usable, in_flight = host.usable_slots, len(host.in_flight)
    return Share(
        speed,
        round(rate(host) * _UNIT),
        round(host.backlog * _UNIT),
        max(0, usable - in_flight),
        not host.plan.needs_transfer,
        in_flight > usable,
    )


def rate(host: Host) -> float:
    """Return the host's speed in pages of cost 1 per second; 0 if it is unknown."""
    each = host.seconds_between_pages
    return 1 / each if each else 0.0
