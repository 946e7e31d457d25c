"""The slots of a host as locks, which all jobs of this user that render there share.

A host has one lock for each slot; its name is ``slot-N`` (socketlocks.py). A renderer inherits the
lock's socket, so the slot stays taken until the last process that works in it is gone, whichever ends
first. A name that another user has taken is passed over, and one more name is used instead.

Three more kinds of names show the state to the other runners of this user, which read them from
/proc/net/unix and decide with fairshare.py:

- ``holds-SLOT-JOB-PRIORITY-SINCE``: a slot is held by a job;
- ``waits-ID-JOB-PRIORITY-SINCE``: a slot of a job waits for a lock;
- ``waiting``, the waiter flag: some slot waits. It is cheaper to test than a list of all names is to
read.

These names are advice. What counts is which process has the name of the slot itself.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from sshrender.runner.slots import fairshare, socketlocks
from sshrender.runner.slots.fairshare import SlotHolder, Waiter
from sshrender.runner.slots.socketlocks import NameOwner

POLL_INTERVAL = 0.03
"""Seconds between two attempts to get a lock, on a host of up to SLOTS_PER_POLL slots."""

SLOTS_PER_POLL = 16
"""On larger hosts attempts are rarer in proportion: each costs more there, and slots come free more
often."""

YIELD_CHECK_INTERVAL = 0.25
"""Seconds between two checks of a holder whether it must yield."""

GRACE_PERIOD = 0.5
"""Seconds that a free slot is kept for the waiter that is next: its process may be stopped, or gone."""

ONE_OFF_TIMEOUT = 10.0
"""Seconds in which a slot is looked for on behalf of work that belongs to no job and takes a moment."""

_MAX_PASSED_OVER = 64
"""Names of slots that other users may have taken."""

_MAX_OTHER_USERS = 64
"""Names of other users that may be among holders and waiters: each costs a connect(2)."""

_WAITER_FLAG = "waiting"


class JobShare:
    """A job's share of this host; both values may change while it renders.

    ``slot_limit``: how many slots it may use at once; None: any number.
    """

    def __init__(self, job: str, priority: int = 0, slot_limit: Optional[int] = None) -> None:
        # The last 40 characters: the end of a tag differs between jobs, and the list of names has that
        # limit.
        self.job = re.sub(r"[^A-Za-z0-9]", "", job)[-40:] or "job"
        self.priority = priority
        self.slot_limit = slot_limit

    def allows(self, number: int) -> bool:
        """Return whether the job's slot of this number, from 0, may work."""
        limit = self.slot_limit
        return limit is None or number < limit


class SlotUse(NamedTuple):
    """The slots of a host that are held and waited for at a moment."""

    holders: List[SlotHolder]
    waiters: List[Waiter]


class SlotLocks:
    """The locks of a host's ``count`` slots, as one slot of a job uses them."""

    def __init__(
        self,
        count: int,
        share: JobShare,
        namespace: Optional[str] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespace = namespace or socketlocks.default_namespace()
        self._count = count
        self._share = share
        self._clock = clock
        # Names of waiters differ by it, also within one process.
        self._id = os.urandom(6).hex()
        self._lock: Optional[socket.socket] = None
        self._slot = -1
        # An abstract name belongs to a socket, so each name that is shown is a socket that stays open.
        # The name that shows the state, holding or waiting, and the waiter flag.
        self._state_name: Optional[socket.socket] = None
        self._waiter_flag: Optional[socket.socket] = None
        self._shown_priority = 0
        self._waiting_since = self._held_since = 0.0
        # Since when a slot seems free, for GRACE_PERIOD; None: none did at the last attempt.
        self._free_since: Optional[float] = None
        # Both are pauses between system calls: attempts and checks cost some for every name.
        self._next_attempt = self._next_check = 0.0
        self._must_yield = False

    @property
    def is_held(self) -> bool:
        """Whether this slot may have a renderer."""
        return self._lock is not None

    @property
    def descriptors(self) -> Tuple[int, ...]:
        """The descriptors that a renderer inherits, so that the slot stays taken while it lives."""
        # pass_fds makes the descriptor inheritable in this child only.
        return () if self._lock is None else (self._lock.fileno(),)

    def acquire(self) -> bool:
        """Take a lock if this slot is entitled to one; return whether it has one. Never block long."""
        if self._lock is not None:
            return True
        now = self._clock()
        # The caller loops; this pause bounds what its attempts cost.
        if now < self._next_attempt:
            return False
        self._next_attempt = now + POLL_INTERVAL * max(1, self._count // SLOTS_PER_POLL)
        # A slot that shows as a waiter goes through _wait(), which keeps the order among waiters.
        if self._state_name is None and not self.has_waiters():
            # No slot waits, so the holders need not be read.
            found = self._claim_free_slot()
            if found is not None:
                self._hold(*found, now=now, priority=self._share.priority)
                return True
        # _wait() may have taken a lock.
        self._wait(now)
        return self._lock is not None

    def must_yield(self) -> bool:
        """Return whether this slot must be released for another job, now that its page is rendered."""
        if self._lock is None:
            return False
        now = self._clock()
        # A waiter that had starved keeps TOP_PRIORITY for MIN_HOLD_TIME, so that it is not made to yield
        # at once.
        is_over = (
            self._shown_priority != fairshare.TOP_PRIORITY
            or now - self._held_since >= fairshare.MIN_HOLD_TIME
        )
        if is_over and self._shown_priority != self._share.priority:
            # The priority of a job may change at any time; the other runners read it from the name.
            self._show_holding(self._share.priority)
        if now >= self._next_check:
            self._next_check = now + YIELD_CHECK_INTERVAL
            # The flag first: without waiters the list of names is not read.
            self._must_yield = self.has_waiters() and self._finds_that_it_must_yield(now)
        return self._must_yield

    def release(self) -> None:
        """Give the lock back, and stop waiting for one."""
        # Only this process's descriptors: a renderer that inherited the lock keeps the slot taken until
        # it ends.
        for each in (self._lock, self._state_name, self._waiter_flag):
            socketlocks.release(each)
        self._lock = self._state_name = self._waiter_flag = None
        self._slot = -1
        self._must_yield = False
        self._free_since = None

    def has_waiters(self) -> bool:
        """Return whether some slot waits for a lock here."""
        # OURS: any process of this user, so also a waiter of the same job.
        return socketlocks.owner_of(self._name(_WAITER_FLAG)) is NameOwner.OURS

    def _hold(self, slot: int, lock: socket.socket, now: float, priority: int) -> None:
        # The names of a waiter go before that of a holder comes: no reader counts this slot twice.
        for each in (self._state_name, self._waiter_flag):
            socketlocks.release(each)
        self._state_name = self._waiter_flag = None
        self._slot, self._lock = slot, lock
        self._held_since = now
        self._free_since = None
        self._next_check = now + YIELD_CHECK_INTERVAL
        self._must_yield = False
        self._show_holding(priority)

    def _show_holding(self, priority: int) -> None:
        # Two names cannot be swapped in one step. For a moment the slot shows as free, and the name of
        # the slot itself still counts.
        socketlocks.release(self._state_name)
        self._shown_priority = priority
        self._state_name = self._claim_state("holds", self._slot, priority, self._held_since)

    def _wait(self, now: float) -> None:
        """Show that this slot waits, and take a free slot if this one is among the next."""
        if self._state_name is None:
            self._waiting_since = now
        if self._state_name is None or self._shown_priority != self._share.priority:
            # Shown once and kept: the time since when it waits is a part of the name.
            socketlocks.release(self._state_name)
            self._shown_priority = self._share.priority
            self._state_name = self._claim_state(
                "waits", self._id, self._shown_priority, self._waiting_since
            )
        # One flag for all: a waiter that finds it taken tries again each time.
        self._waiter_flag = self._waiter_flag or socketlocks.claim(self._name(_WAITER_FLAG))
        if not self._seems_free():
            self._free_since = None
            return
        if self._free_since is None:
            self._free_since = now
        # Without the grace period a slot that comes free would go to the waiter that looks first.
        is_kept_for_others = now - self._free_since < GRACE_PERIOD
        # The list is read only while the slot is kept for others; after GRACE_PERIOD any waiter may take
        # it.
        if is_kept_for_others and not self._is_next(read_use(self._namespace, self._count), now):
            return
        found = self._claim_free_slot()
        if found is not None:
            # It then shows the highest priority, or it would have to yield to the same job at once.
            is_starved = now - self._waiting_since >= fairshare.STARVATION_TIMEOUT
            priority = fairshare.TOP_PRIORITY if is_starved else self._share.priority
            self._hold(*found, now=now, priority=priority)

    def _is_next(self, use: SlotUse, now: float) -> bool:
        # At least one: a slot has just come free, which the list may not show yet.
        free = max(1, self._count - len(use.holders))
        first = fairshare.order(use.waiters, use.holders, now)[:free]
        # A list that cannot be read (no /proc) is empty; then the first to come takes the slot.
        return not use.waiters or any(waiter.id == self._id for waiter in first)

    def _finds_that_it_must_yield(self, now: float) -> bool:
        use = read_use(self._namespace, self._count)
        # Slots that nothing holds serve waiters without a holder that yields.
        free = max(0, self._count - len(use.holders))
        return fairshare.must_yield(self._slot, use.holders, use.waiters, free, now)

    def _seems_free(self) -> bool:
        """Return whether a slot's name seems to be free, without taking it from the waiter before us."""
        ours = 0
        # Names beyond ``count`` replace those that other users have taken.
        for number in range(self._count + _MAX_PASSED_OVER):
            owner = socketlocks.owner_of(self._slot_name(number))
            ours += owner is NameOwner.OURS
            # As many names of ours as the host has slots: all are taken.
            if owner is NameOwner.NONE or ours == self._count:
                return owner is NameOwner.NONE
        return False

    def _claim_free_slot(self) -> Optional[Tuple[int, socket.socket]]:
        """Take a free slot: its number and lock; None when all are taken.

        Names of other users are not slots. So as many names are tried as it takes to meet ``count``
        names of this user, and the number of slots is right whatever other users have taken.
        """
        ours = 0
        for number in range(self._count + _MAX_PASSED_OVER):
            lock, is_ours = socketlocks.claim_or_ask(self._slot_name(number))
            if lock is not None:
                return number, lock
            ours += is_ours
            if ours == self._count:
                break
        return None

    def _claim_state(
        self, what: str, id_: object, priority: int, since: float
    ) -> Optional[socket.socket]:
        # Milliseconds, as a whole number: the pattern of listed() allows digits only.
        words = "%s-%s-%s-%d-%d" % (what, id_, self._share.job, priority, int(1000 * since))
        return socketlocks.claim(self._name(words))

    def _slot_name(self, number: int) -> bytes:
        return self._name("slot-%d" % number)

    def _name(self, what: str) -> bytes:
        return socketlocks.name_of(self._namespace, what)


@contextlib.contextmanager
def one_off_slot(count: int, within: float = ONE_OFF_TIMEOUT) -> Iterator[Tuple[int, ...]]:
    """Hold a slot for work that belongs to no job and takes a moment; it goes before any next page.

    Yield the descriptors that a renderer inherits. When no slot comes free ``within`` so many seconds,
    the work is done in addition to the renderers that run: without it no job could start here.
    """
    # TOP_PRIORITY, so a job on the host yields for it after its page.
    locks = SlotLocks(count, JobShare("one-off", fairshare.TOP_PRIORITY))
    end = time.monotonic() + within
    # After the time it continues without a lock; release() then releases nothing.
    while not locks.acquire() and time.monotonic() < end:
        time.sleep(POLL_INTERVAL)
    try:
        yield locks.descriptors
    finally:
        locks.release()


def available_to(share: JobShare, count: int) -> int:
    """Return how many slots other jobs leave to this one: those that it holds, and the free ones."""
    use = read_use(socketlocks.default_namespace(), count)
    # By job and not by process: a second coordinator of the same job shares its slots.
    return max(0, count - sum(holder.job != share.job for holder in use.holders))


def read_use(namespace: str, count: int) -> SlotUse:
    """Return the holders and waiters now. Names that another user has taken do not count."""
    holders: Dict[int, SlotHolder] = {}
    waiters: List[Waiter] = []
    other_users = 0
    for words in socketlocks.listed(namespace):
        what, id_, job, priority, since = words
        # The name is in the list, but only its owner makes it count: any user may bind any name.
        owner = socketlocks.owner_of(socketlocks.name_of(namespace, "%s-%s-%s-%s-%s" % words))
        other_users += owner is NameOwner.OTHER_USER
        if other_users > _MAX_OTHER_USERS:
            break
        if owner is not NameOwner.OURS:
            continue
        if what == "holds" and id_.isdigit() and int(id_) < count + _MAX_PASSED_OVER:
            # By slot: for a moment two names may show the same slot.
            holders[int(id_)] = SlotHolder(int(id_), job, int(priority), int(since) / 1000)
        elif what == "waits":
            waiters.append(Waiter(id_, job, int(priority), int(since) / 1000))
    return SlotUse(list(holders.values()), waiters)
