"""Take, renew and observe ``lease``: it gives a job one coordinator at a time, also on NFS.

The rules:

- A holder raises the counter in ``lease`` every BEAT_SECONDS. An observer believes the lease for as
  long as it sees that file change within LEASE_SECONDS of *its own* clock: clocks and mtimes of a
  shared file system are not reliable. A long pause between two looks counts only in part
  (MAX_COUNTED). On the holder's own machine a dead pid counts at once; a process that cannot be
  inspected (another user's, under hidepid) does not count as dead.
- A process that finds a lease dead, or released, claims the next epoch. An epoch is given only once
  (leasefiles.py); of several claimants one gets it.
- A holder is fenced off as soon as there is a higher epoch than its own. It checks with each heartbeat,
  and ``ensure`` checks before whatever a fenced coordinator must not do, if the last heartbeat is so
  old that another process may have found the lease dead. A heartbeat that comes late is overwritten by
  the successor's next one; one that comes just before the claim is seen by the successor, which then
  waits until nothing relies on it any more.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sshrender.job.leasefiles import Claim, LeaseFiles, LeaseStore
from sshrender.storage import processidentity

LEASE_SECONDS = 10.0
BEAT_SECONDS = 2.0

TRUSTED_SECONDS = LEASE_SECONDS - 2 * BEAT_SECONDS
"""Seconds after a heartbeat in which no other process can treat the lease as expired, even if clocks run
at different speeds."""

LOOK = 0.5

MAX_COUNTED = LEASE_SECONDS / 2
"""Seconds that count between two looks. While the storage hangs, or the machine sleeps, holder and
observer stand still together: the silence of that time says nothing about the holder."""

Clock = Callable[[], float]
Pause = Callable[[float], None]


class LeaseHeld(Exception):
    """Another coordinator holds the job."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"{claim.host}, pid {claim.pid}")
        self.claim = claim


class LeaseLost(Exception):
    """Another process took the lease over while this one held it."""


class Lease:
    """A lease that this process holds. ``beat`` is called every BEAT_SECONDS; its epoch fences attempts.

    May be used by several threads.
    """

    def __init__(self, files: LeaseStore, claim: Claim, clock: Clock, beaten_at: float) -> None:
        self._files = files
        self._claim = claim
        self._clock = clock
        self._beaten_at = beaten_at
        self._is_over = False
        self._lock = threading.Lock()

    @property
    def epoch(self) -> int:
        """Raised at every take-over: part of every attempt's name."""
        return self._claim.epoch

    @property
    def holder(self) -> str:
        """The holder as a text for users."""
        return in_words(self._claim)

    def beat(self) -> None:
        """Raise the counter. Raises LeaseLost or OSError."""
        # The lock is held during the I/O, so that counters are written in their order.
        with self._lock:
            # Taken before the write: from then on the lease is trusted, however long the write took.
            began = self._clock()
            self._check()
            self._claim = replace(self._claim, counter=self._claim.counter + 1)
            self._files.write(self._claim)
            # A process that claims after this check sees the heartbeat, and waits until it has expired.
            self._check()
            self._beaten_at = began

    def ensure(self) -> None:
        """Return only if this process still holds the lease. Raises LeaseLost or OSError."""
        # Without the lock: both values are read once, and a stale one only causes a heartbeat that was
        # not needed.
        if self._is_over or self._clock() - self._beaten_at >= TRUSTED_SECONDS:
            self.beat()

    def release(self) -> None:
        """Release the lease. Never raises."""
        with self._lock, contextlib.suppress(OSError, LeaseLost):
            # A released or lost lease is left alone: its file belongs to another one.
            self._check()
            self._is_over = True
            self._files.write(replace(self._claim, pid=0, counter=0))

    def _check(self) -> None:
        """Raise LeaseLost if the lease was lost or released before: that is final."""
        # Final, whatever epochs are listed later.
        self._is_over = self._is_over or self._files.newest_epoch() > self._claim.epoch
        if self._is_over:
            raise LeaseLost


def boot_clock() -> float:
    """Return the seconds since the machine started, with those in which it slept (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def take(
    path: Path, clock: Clock = boot_clock, pause: Pause = time.sleep, known_dead: str = ""
) -> Lease:
    """Take the lease; wait for LEASE_SECONDS of silence to find out whether its holder is alive.

    ``known_dead``: what Observer.dead_lease returned for a lease that was observed for so long already.
    Raises LeaseHeld when the holder is alive, OSError when the storage fails.
    """
    return take_from(LeaseFiles(path), _our_claim(), clock, pause, known_dead)


def take_from(
    files: LeaseStore, claim: Claim, clock: Clock, pause: Pause, known_dead: str = ""
) -> Lease:
    """Take a lease from any store, for any claimant; the epoch of ``claim`` is set here. See take."""
    found = _look_for_dead(files, clock, pause, known_dead)
    mine = replace(claim, counter=1, epoch=found.epoch + 1)
    # Before the claim: the time that it takes counts as used up.
    began = clock()
    # Another process got this epoch: it holds the lease, or will in a moment.
    if not files.claim(mine):
        raise LeaseHeld(files.claimant(mine.epoch) or found.claim or mine)
    # A holder that released it, or has ended, writes nothing more.
    if not found.is_free:
        _outwait(files, found, pause)
    lease = Lease(files, mine, clock, began)
    try:
        lease.beat()
    except LeaseLost:
        raise LeaseHeld(_look(files).claim or mine) from None
    return lease


class _Sight(NamedTuple):
    """One observation of a lease. Two equal ones mean that there was no heartbeat between them.

    ``epoch``: the newest. ``claim``: its holder's, as far as it can be read; None: it cannot, or there
    was never one.
    """

    epoch: int
    claim: Claim | None
    beat: Claim | None

    @property
    def is_free(self) -> bool:
        """Whether it was released, or its holder was a process of this machine that has ended."""
        claim = self.claim
        if claim is None:
            return self.epoch == 0
        # pid 0: the sign of a released lease (Lease.release).
        if claim.pid == 0:
            return True
        return self._process() is processidentity.OwnerState.GONE

    @property
    def is_running(self) -> bool:
        """Whether its holder is a process of this machine that is running now."""
        return self._process() is processidentity.OwnerState.RUNNING

    def _process(self) -> processidentity.OwnerState:
        claim = self.claim
        if claim is None or claim.pid == 0:
            return processidentity.OwnerState.UNKNOWN
        return processidentity.state(claim.boot, claim.pid, claim.started)

    @property
    def name(self) -> str:
        """A unique identifier of this observation."""
        beat = self.beat or _NOBODY
        return f"{self.epoch}.{beat.epoch}.{beat.counter}.{beat.token}"


def _look(files: LeaseStore) -> _Sight:
    beat, newest = files.read(), files.newest_epoch()
    # The newest epoch counts, though ``lease`` has an older one's content: that was written late.
    if beat is None or beat.epoch < newest:  # no heartbeat yet, or a late one of a fenced holder
        return _Sight(newest, files.claimant(newest) if newest else None, beat)
    return _Sight(beat.epoch, beat, beat)


def _look_for_dead(files: LeaseStore, clock: Clock, pause: Pause, known_dead: str) -> _Sight:
    """Return what is there once the lease is free or dead. Raises LeaseHeld."""
    first, looked_at, silent = _look(files), clock(), 0.0
    while not first.is_free and first.name != known_dead:
        pause(LOOK)
        # Tested before the look: what is seen after the end of the time has been there for all of it.
        before, looked_at = looked_at, clock()
        silent += min(looked_at - before, MAX_COUNTED)
        is_time = silent >= LEASE_SECONDS
        now = _look(files)
        if now.is_free:
            return now
        # A heartbeat, or another claim.
        if now != first:
            raise LeaseHeld(now.claim or _NOBODY)
        if is_time:
            break
    return first


def _outwait(files: LeaseStore, found: _Sight, pause: Pause) -> None:
    """Wait until a silent holder that renewed just before the claim no longer relies on that."""
    pause(BEAT_SECONDS)  # by then its last write is seen here, and it has seen our claim, if it is well
    if files.read() != found.beat:
        pause(TRUSTED_SECONDS)


def holders(
    paths: Sequence[Path],
    pause: Pause = time.sleep,
    unreadable: dict[Path, OSError] | None = None,
) -> dict[Path, Claim | None]:
    """Return the holder of each of these leases; None: it has none.

    Takes 1.5 heartbeats if a lease has to be observed. Leases that cannot be read are left out: they are
    put into ``unreadable``. Without it such a lease raises OSError.
    """
    first = _looks(paths, unreadable)
    held = {path: sight for path, sight in first.items() if not sight.is_free}
    unsure = [path for path, sight in held.items() if sight.claim and not sight.is_running]
    if unsure:
        # One and a half: at least one heartbeat is in between, unless the holder is slow.
        pause(1.5 * BEAT_SECONDS)
    second = _looks(unsure, unreadable)
    for path in unsure:
        if path not in second:
            del first[path]
        # Unchanged: no heartbeat, so no holder.
        elif second[path] == first[path]:
            del held[path]
    return {path: held[path].claim if path in held else None for path in first}


def _looks(paths: Sequence[Path], unreadable: dict[Path, OSError] | None) -> dict[Path, _Sight]:
    """See holders."""
    found = {}
    for path in paths:
        try:
            found[path] = _look(LeaseFiles(path))
        except OSError as error:
            if unreadable is None:
                raise
            unreadable[path] = error
    return found


class Observer:
    """Observes a lease, and believes it while its counter moves.

    A holder that is frozen counts as none, though its pid exists.
    """

    def __init__(self, path: Path, clock: Clock = boot_clock) -> None:
        self._files = LeaseFiles(path)
        self._clock = clock
        self._seen: _Sight | None = None
        self._looked_at = self._silent = 0.0
        self.has_moved = False
        """Whether it was seen to change: then its holder lives, or did a moment ago."""

    def holder(self) -> Claim | None:
        """Return the holder's claim, as far as known by now; None: it has none. Raises OSError."""
        sight = _look(self._files)
        before, self._looked_at = self._looked_at, self._clock()
        self._silent += min(self._looked_at - before, MAX_COUNTED)
        if sight.is_free:
            self._seen, self.has_moved = sight, False
            return None
        if sight != self._seen:
            # The first look shows no change: has_moved stays False then.
            self.has_moved = self._seen is not None
            self._seen, self._silent = sight, 0.0
        return (sight.claim or _NOBODY) if self._silent < LEASE_SECONDS else None

    def dead_lease(self) -> str:
        """Return an identifier of the last observation, for ``take``, once it is LEASE_SECONDS old."""
        is_long = self._silent >= LEASE_SECONDS
        return self._seen.name if self._seen is not None and is_long else ""

    def unresponsive(self) -> Claim | None:
        """Return the holder that ``holder`` no longer believes, if its process runs on this machine.

        It is stopped, or cannot write into the shared folder.
        """
        seen = self._seen
        is_silent = seen is not None and self._silent >= LEASE_SECONDS
        return seen.claim if seen is not None and is_silent and seen.is_running else None

    def was_given_back(self) -> bool:
        """Whether the last holder, if there was one, released it, as far as ``holder`` has seen."""
        # A claim that cannot be read was not released: it counts as a holder that vanished.
        seen = self._seen
        return seen is None or seen.epoch == 0 or (seen.claim is not None and seen.claim.pid == 0)


def in_words(claim: Claim) -> str:
    """Return a holder as a text for users."""
    return f"{claim.host} (pid {claim.pid})"


# Stands for a holder whose claim cannot be read.
_NOBODY = Claim(0, 0, "unknown", 0, "", "", "0" * 32)


def _our_claim() -> Claim:
    where, pid, began = processidentity.ourselves()
    return Claim(0, 0, socket.gethostname(), pid, where, began, uuid.uuid4().hex)
