"""``lease``: who coordinates this job. One holder at a time, also on NFS.

The rules:

- A holder raises the counter in ``lease`` every BEAT_SECONDS. An observer believes it for as long as it
  sees that file change within LEASE_SECONDS of *its own* clock: clocks and mtimes of a shared file
  system are not to be trusted. On the holder's own machine a dead pid is believed at once; one that
  cannot be looked at (another user's, under hidepid) is no dead one.
- Who finds a lease dead, or given back, claims the next epoch. An epoch is given once, for ever
  (leasefiles.py); of several claimants one gets it.
- A holder is fenced off as soon as there is a higher epoch than its own. It looks with each beat, and
  ``ensure`` looks before whatever must not be done by a fenced one, if the last beat is so long ago that
  somebody may have taken it for dead. A beat that comes late is overwritten by its successor's next; one
  that comes just before the claim is seen by its successor, who then waits until nobody trusts it.
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
"""After a beat: nobody can have taken the holder for dead by then, though clocks differ in pace."""

LOOK = 0.5

Clock = Callable[[], float]
Pause = Callable[[float], None]


class LeaseHeld(Exception):
    """Another coordinator holds the job."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"{claim.host}, pid {claim.pid}")
        self.claim = claim


class LeaseLost(Exception):
    """Somebody took the lease over while we held it."""


class Lease:
    """A lease that we hold. ``beat`` is called every BEAT_SECONDS; its epoch fences our attempts.

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
        """Who we are, in words."""
        return in_words(self._claim)

    def beat(self) -> None:
        """Raise the counter. Raises LeaseLost or OSError."""
        with self._lock:
            began = self._clock()
            self._check()
            self._claim = replace(self._claim, counter=self._claim.counter + 1)
            self._files.write(self._claim)
            # Whoever claims after this look sees the beat, and waits until it is trusted no more.
            self._check()
            self._beaten_at = began

    def ensure(self) -> None:
        """Return only if it is still ours. Raises LeaseLost or OSError."""
        if self._is_over or self._clock() - self._beaten_at >= TRUSTED_SECONDS:
            self.beat()

    def release(self) -> None:
        """Give the lease back. Never raises."""
        with self._lock, contextlib.suppress(OSError, LeaseLost):
            self._check()
            self._is_over = True
            self._files.write(replace(self._claim, pid=0, counter=0))

    def _check(self) -> None:
        """What was lost, or given back, stays so."""
        self._is_over = self._is_over or self._files.newest_epoch() > self._claim.epoch
        if self._is_over:
            raise LeaseLost


def boot_clock() -> float:
    """Seconds since the machine was started, those included in which it slept (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def take(
    path: Path, clock: Clock = boot_clock, pause: Pause = time.sleep, known_dead: str = ""
) -> Lease:
    """Take the lease, waiting up to LEASE_SECONDS to see whether its holder lives.

    ``known_dead``: what Observer.standing said of one that was watched for so long already. Raises
    LeaseHeld when it does live, OSError when the storage fails.
    """
    return take_from(LeaseFiles(path), _our_claim(), clock, pause, known_dead)


def take_from(
    files: LeaseStore, claim: Claim, clock: Clock, pause: Pause, known_dead: str = ""
) -> Lease:
    """The same, of any storage and for whoever ``claim`` is; its epoch is set here."""
    found = _look_for_dead(files, clock, pause, known_dead)
    mine = replace(claim, counter=1, epoch=found.epoch + 1)
    began = clock()
    if not files.claim(mine):
        raise LeaseHeld(files.claimant(mine.epoch) or found.claim or mine)
    if not found.is_free:
        _outwait(files, found, pause)
    lease = Lease(files, mine, clock, began)
    try:
        lease.beat()
    except LeaseLost:
        raise LeaseHeld(_look(files).claim or mine) from None
    return lease


class _Sight(NamedTuple):
    """What an observer sees: two that are equal mean that nobody has beaten in between.

    ``epoch``: the newest. ``claim``: its holder's, as far as one can tell; None: it cannot be read, or
    there was never one.
    """

    epoch: int
    claim: Claim | None
    beat: Claim | None

    @property
    def is_free(self) -> bool:
        """Whether it was given back, or its holder is a process of this very machine that is no more."""
        claim = self.claim
        if claim is None:
            return self.epoch == 0
        if claim.pid == 0:
            return True
        return self._process() is processidentity.OwnerState.GONE

    @property
    def is_running(self) -> bool:
        """Whether its holder is a process of this very machine that was seen to run just now."""
        return self._process() is processidentity.OwnerState.RUNNING

    def _process(self) -> processidentity.OwnerState:
        claim = self.claim
        if claim is None or claim.pid == 0:
            return processidentity.OwnerState.UNKNOWN
        return processidentity.state(claim.boot, claim.pid, claim.started)

    @property
    def name(self) -> str:
        """In a word, which no other has."""
        beat = self.beat or _NOBODY
        return f"{self.epoch}.{beat.epoch}.{beat.counter}.{beat.token}"


def _look(files: LeaseStore) -> _Sight:
    beat, newest = files.read(), files.newest_epoch()
    if beat is None or beat.epoch < newest:  # its holder has not beaten yet, or a fenced one did, late
        return _Sight(newest, files.claimant(newest) if newest else None, beat)
    return _Sight(beat.epoch, beat, beat)


def _look_for_dead(files: LeaseStore, clock: Clock, pause: Pause, known_dead: str) -> _Sight:
    """What is there once nobody holds it. Raises LeaseHeld."""
    first, end = _look(files), clock() + LEASE_SECONDS
    while not first.is_free and first.name != known_dead:
        pause(LOOK)
        is_time = clock() >= end
        now = _look(files)
        if now.is_free:
            return now
        if now != first:
            raise LeaseHeld(now.claim or _NOBODY)
        if is_time:
            break
    return first


def _outwait(files: LeaseStore, found: _Sight, pause: Pause) -> None:
    """A silent holder may have beaten once more before it could see our claim: let it not trust that."""
    pause(BEAT_SECONDS)  # by then its last write is seen here, and it has seen our claim, if it is well
    if files.read() != found.beat:
        pause(TRUSTED_SECONDS)


def holders(
    paths: Sequence[Path],
    pause: Pause = time.sleep,
    unreadable: dict[Path, OSError] | None = None,
) -> dict[Path, Claim | None]:
    """Who holds each of these leases now; None: nobody. Takes 1.5 beats where that must be watched.

    Those that cannot be read are no part of the answer: they are put into ``unreadable``. Without it
    such a one raises OSError.
    """
    first = _looks(paths, unreadable)
    held = {path: sight for path, sight in first.items() if not sight.is_free}
    unsure = [path for path, sight in held.items() if sight.claim and not sight.is_running]
    if unsure:
        pause(1.5 * BEAT_SECONDS)
    second = _looks(unsure, unreadable)
    for path in unsure:
        if path not in second:
            del first[path]
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
    """Looks at a lease again and again, and believes it while its counter moves.

    A holder that is frozen is no holder, though its pid lives.
    """

    def __init__(self, path: Path, clock: Clock = boot_clock) -> None:
        self._files = LeaseFiles(path)
        self._clock = clock
        self._seen: _Sight | None = None
        self._seen_at = 0.0
        self.has_moved = False
        """Whether it was seen to change: then its holder lives, or did a moment ago."""

    def holder(self) -> Claim | None:
        """Who holds it, as far as one can tell by now; None: nobody. Raises OSError."""
        sight = _look(self._files)
        if sight.is_free:
            self._seen, self.has_moved = sight, False
            return None
        if sight != self._seen:
            self.has_moved = self._seen is not None
            self._seen, self._seen_at = sight, self._clock()
        is_believed = self._clock() - self._seen_at < LEASE_SECONDS
        return (sight.claim or _NOBODY) if is_believed else None

    def standing(self) -> str:
        """What was seen last, in a word: for ``take``, where it has been seen for LEASE_SECONDS."""
        is_long = self._clock() - self._seen_at >= LEASE_SECONDS
        return self._seen.name if self._seen is not None and is_long else ""

    def was_given_back(self) -> bool:
        """Whether its last holder, if there was one, went in order, as far as ``holder`` has seen."""
        seen = self._seen
        return seen is None or seen.epoch == 0 or (seen.claim is not None and seen.claim.pid == 0)


def in_words(claim: Claim) -> str:
    """Who holds it, for people."""
    return f"{claim.host} (pid {claim.pid})"


_NOBODY = Claim(0, 0, "unknown", 0, "", "", "0" * 32)


def _our_claim() -> Claim:
    where, pid, began = processidentity.ourselves()
    return Claim(0, 0, socket.gethostname(), pid, where, began, uuid.uuid4().hex)


def _boot() -> str:
    """This boot and this pid namespace: a pid means something only within both."""
    return processidentity.space()
