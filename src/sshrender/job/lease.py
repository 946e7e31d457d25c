"""``lease``: who coordinates this job. One holder at a time, also on NFS.

The file's content is a counter that the holder raises, with its epoch, host, boot and pid. An
observer believes a lease for as long as it sees the counter change within LEASE_SECONDS of *its own*
clock: clocks and mtimes of a shared file system are not to be trusted. It is taken by ``link(2)``
from a file of one's own, which is sound on every NFS when one looks at the link count afterwards
(open(2), O_EXCL). On the holder's own machine a dead pid is believed at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sshrender.files import file_mode, rename

LEASE_SECONDS = 10.0
BEAT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The content of a lease file."""

    counter: int
    epoch: int
    host: str
    pid: int
    boot: str
    started: str
    token: str


class LeaseHeld(Exception):
    """Another coordinator holds the job."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"{claim.host}, pid {claim.pid}")
        self.claim = claim


class LeaseLost(Exception):
    """Somebody took the lease over while we held it."""


class Lease:
    """A lease that we hold. ``beat`` is called every BEAT_SECONDS; its epoch fences our attempts."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self._path = path
        self._claim = claim

    @property
    def epoch(self) -> int:
        """Raised at every take-over: part of every attempt's name."""
        return self._claim.epoch

    @property
    def holder(self) -> str:
        """Who we are, in words."""
        return f"{self._claim.host} (pid {self._claim.pid})"

    def beat(self) -> None:
        """Raise the counter. Raises LeaseLost or OSError."""
        found = _read(self._path)
        if found is None or found.token != self._claim.token:
            raise LeaseLost
        self._claim = Claim(**{**asdict(self._claim), "counter": self._claim.counter + 1})
        _replace(self._path, self._claim)

    def release(self) -> None:
        """Give the lease back, keeping its epoch on record. Never raises."""
        with contextlib.suppress(OSError):
            found = _read(self._path)
            if found is not None and found.token == self._claim.token:
                _replace(self._path, Claim(**{**asdict(self._claim), "pid": 0, "counter": 0}))


def take(
    path: Path,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Lease:
    """Take the lease, waiting up to LEASE_SECONDS to see whether its holder lives.

    Raises LeaseHeld when it does, OSError when the storage fails.
    """
    seen = _read(path)
    if seen is not None and not _is_over(seen):
        _watch(path, seen, clock, pause)
    epoch = (seen.epoch if seen else 0) + 1
    claim = _our_claim(epoch)
    if seen is None:
        _create(path, claim)
        return Lease(path, claim)
    try:
        _take_over(path, seen, claim)
    except LeaseHeld as other:
        if not _is_dead_guard(path, seen, other.claim, clock, pause):
            raise
        _clear_guards(path)
        _take_over(path, seen, claim)
    return Lease(path, claim)


def holders(
    paths: Sequence[Path], pause: Callable[[float], None] = time.sleep
) -> dict[Path, Claim | None]:
    """Who holds each of these leases now; None: nobody. Takes 1.5 beats where that must be watched.

    Raises OSError.
    """
    first = {path: _read(path) for path in paths}
    claims = {path: claim for path, claim in first.items() if claim is not None and not _is_over(claim)}
    unsure = [path for path, claim in claims.items() if claim.boot != _boot()]
    if unsure:
        pause(1.5 * BEAT_SECONDS)
    for path in unsure:
        if _read(path) == first[path]:
            del claims[path]
    return {path: claims.get(path) for path in paths}


class Observer:
    """Looks at a lease again and again, and believes it while its counter moves."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen: Claim | None = None
        self._seen_at = 0.0

    def holder(self) -> Claim | None:
        """Who holds it, as far as one can tell by now; None: nobody. Raises OSError."""
        claim = _read(self._path)
        if claim is None or _is_over(claim):
            return None
        if claim != self._seen:
            self._seen, self._seen_at = claim, self._clock()
        is_here = claim.boot == _boot()  # then a living pid is all the proof that it takes
        return claim if is_here or self._clock() - self._seen_at < LEASE_SECONDS else None


def _is_dead_guard(
    path: Path,
    seen: Claim,
    guard: Claim,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> bool:
    """Whether the observer that holds the guard of this dead lease is dead too."""
    found = _read(path)
    if found is None or found.token != seen.token or guard.token == seen.token:
        return False
    if not _is_over(guard):
        _watch(path, seen, clock, pause)
    found = _read(path)
    return found is not None and found.token == seen.token


def _our_claim(epoch: int) -> Claim:
    return Claim(
        1,
        epoch,
        socket.gethostname(),
        os.getpid(),
        _boot(),
        _started(os.getpid()),
        uuid.uuid4().hex,
    )


def _is_over(claim: Claim) -> bool:
    """Given back, or held by a process of this very machine that is no more."""
    if claim.pid == 0:
        return True
    return claim.boot == _boot() and _started(claim.pid) != claim.started


def _watch(path: Path, seen: Claim, clock: Callable[[], float], pause: Callable[[float], None]) -> None:
    end = clock() + LEASE_SECONDS
    while clock() < end:
        pause(0.5)
        found = _read(path)
        if found is None or _is_over(found):
            return
        if (found.counter, found.token) != (seen.counter, seen.token):
            raise LeaseHeld(found)


def _create(path: Path, claim: Claim) -> None:
    own = _write_own(path, claim)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
        if own.stat().st_nlink != 2:
            raise LeaseHeld(_read(path) or claim)
    finally:
        own.unlink(missing_ok=True)


def _take_over(path: Path, seen: Claim, claim: Claim) -> None:
    """Only one of several observers may replace a dead lease: whoever links the guard of its token.

    The guard of an observer that died in between is removed; it was watched like a lease.
    """
    guard = path.with_name(f".{path.name}.{seen.token}.{seen.counter}")
    own = _write_own(path, claim)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, guard)
        found = _read(path)
        is_ours = own.stat().st_nlink == 2 and (found is None or found.token == seen.token)
        if not is_ours:
            raise LeaseHeld(_read(guard) or found or seen)
        rename(own, path)
    finally:
        own.unlink(missing_ok=True)
    _clear_guards(path)


def _clear_guards(path: Path) -> None:
    for old in path.parent.glob(f".{path.name}.*"):
        old.unlink(missing_ok=True)


def _write_own(path: Path, claim: Claim) -> Path:
    """A file of our own with the claim in it: nobody else knows our token. Leaves none on failure."""
    own = path.with_name(f".{path.name}-{claim.token}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(own, flags, file_mode(path.parent))
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(asdict(claim)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        own.unlink(missing_ok=True)
        raise
    return own


def _replace(path: Path, claim: Claim) -> None:
    rename(_write_own(path, claim), path)


def _read(path: Path) -> Claim | None:
    """What the lease says; a damaged one counts as given back, with its epoch lost to 0."""
    try:
        claim = Claim(**json.loads(path.read_text(encoding="ascii")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        return _DAMAGED
    return claim if _is_sound(claim) else _DAMAGED


_DAMAGED = Claim(0, 0, "unknown", 0, "", "", "damaged")
_TOKEN = re.compile(r"[0-9a-f]{32}")


def _is_sound(claim: Claim) -> bool:
    """Whether it could have been written by us: parts of it go into names of files."""
    numbers = (claim.counter, claim.epoch, claim.pid)
    texts = (claim.host, claim.boot, claim.started, claim.token)
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        return False
    return all(type(text) is str for text in texts) and _TOKEN.fullmatch(claim.token) is not None


def _boot() -> str:
    """This boot and this pid name space: a pid means something only within both."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process of this machine began (proc(5), stat, field 22); "" when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[19].decode("ascii")
    except (OSError, IndexError):
        return ""
