"""Seats: one for each slot of a host, shared by all jobs of this user that render there.

A seat is a name in the kernel's table of abstract sockets (unix(7)): one socket has it at a time, and
no file is left behind. A renderer inherits the socket, so the seat is taken until the last of those who
work on it is gone, in whatever way and whoever of them goes first. Names that another user has are
passed over: so many others follow.

Who sits, and who waits, shows that under names of its own, so that all see from /proc/net/unix whose
turn it is (fairshare.py). That is advice; what counts is who has the seat's name.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import socket
import struct
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from sshrender.runner import fairshare
from sshrender.runner.fairshare import SlotHolder, Waiter

LOOK = 0.03
"""Seconds between two looks for a free seat, where there are up to LOOKED_AT."""

LOOKED_AT = 16
"""Seats: of more, a look costs more, and one comes free more often."""

CONSIDER = 0.25
"""Seconds between two looks of one who sits at those who wait."""

GRACE = 0.5
"""Seconds that a seat stays free for who is next: he may be stopped, or gone."""

BETWEEN = 2.0
"""Seconds between bind(2) and listen(2), at most, on a host that is busy: a name that is taken for so
long and answers nobody is another user's. Taken for one too soon, there would be a seat too many."""

ONE_OFF_TIMEOUT = 10.0
"""Seconds in which a seat is found for what belongs to no job and takes a moment."""

_PASSED_OVER = 64
"""Names of seats that other users may have."""

_MAX_REQUESTED = 64
"""Names of another user that may be among those who wait: each costs a connect(2)."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7), SO_PEERCRED): pid, uid, gid."""


class Namespace:
    """The job that wants seats here. ``priority`` and ``width`` may change while it does.

    ``width``: how many seats it may have at once; None: any number.
    """

    def __init__(self, job: str, priority: int = 0, width: Optional[int] = None) -> None:
        self.job = re.sub(r"[^A-Za-z0-9]", "", job)[-40:] or "job"
        self.priority = priority
        self.width = width

    def allows(self, number: int) -> bool:
        """Whether this one of its slots may work."""
        width = self.width
        return width is None or number < width


class Seen(NamedTuple):
    """Who sits and who waits at a moment."""

    sitters: List[SlotHolder]
    waiters: List[Waiter]


class SlotLocks:
    """The seats of this host, as one slot sees them. ``count``: how many there are."""

    def __init__(
        self,
        count: int,
        place: Namespace,
        room: Optional[str] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._room = room or _room()
        self._count = count
        self._place = place
        self._clock = clock
        self._who = os.urandom(6).hex()
        self._held: Optional[socket.socket] = None
        self._seat = -1
        self._sign: Optional[socket.socket] = None
        self._bell: Optional[socket.socket] = None
        self._wants_since = 0.0
        self._sits_since = 0.0
        self._sits_as = self._wants_as = 0
        self._free_since: Optional[float] = None
        self._next_try = self._next_look = 0.0
        self._is_called = False

    @property
    def is_held(self) -> bool:
        """Whether this slot may have a renderer."""
        return self._held is not None

    @property
    def descriptors(self) -> Tuple[int, ...]:
        """What a renderer inherits, so that the seat is taken for as long as it lives."""
        return () if self._held is None else (self._held.fileno(),)

    def take(self) -> bool:
        """Sit down, if it is this slot's turn; True while a seat is held."""
        if self._held is not None:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + LOOK * max(1, self._count // LOOKED_AT)
        if self._sign is None and not self.is_wanted():
            found = self._free_seat()  # nobody waits: no need to look at who sits
            if found is not None:
                self._sit(*found, now=now, priority=self._place.priority)
                return True
        self._wait(now)
        return self._held is not None

    def is_called(self) -> bool:
        """Whether this slot is to get up for another, now that its page is drawn."""
        if self._held is None:
            return False
        now = self._clock()
        is_over = self._sits_as != fairshare.FOREMOST or now - self._sits_since >= fairshare.TURN
        if is_over and self._sits_as != self._place.priority:
            self._show_that_it_sits(self._place.priority)
        if now >= self._next_look:
            self._next_look = now + CONSIDER
            self._is_called = self.is_wanted() and self._is_to_get_up(now)
        return self._is_called

    def leave(self) -> None:
        """Get up, and want none."""
        for each in (self._held, self._sign, self._bell):
            _release(each)
        self._held = self._sign = self._bell = None
        self._seat = -1
        self._is_called = False
        self._free_since = None

    # How

    def _sit(self, seat: int, held: socket.socket, now: float, priority: int) -> None:
        for each in (self._sign, self._bell):
            _release(each)
        self._sign = self._bell = None
        self._seat, self._held = seat, held
        self._sits_since = now
        self._free_since = None
        self._next_look = now + CONSIDER
        self._is_called = False
        self._show_that_it_sits(priority)

    def _show_that_it_sits(self, priority: int) -> None:
        _release(self._sign)
        self._sits_as = priority
        self._sign = _claim(self._name("sits", self._seat, self._place.job, priority, self._sits_since))

    def _wait(self, now: float) -> None:
        """Want a seat, and take one that is free if this slot is among the next."""
        if self._sign is None:
            self._wants_since = now
        if self._sign is None or self._wants_as != self._place.priority:
            _release(self._sign)
            self._wants_as = self._place.priority
            self._sign = _claim(
                self._name("wants", self._who, self._place.job, self._wants_as, self._wants_since)
            )
        self._bell = self._bell or _claim(self._bell_name())
        if not self._may_be_free():
            self._free_since = None
            return
        if self._free_since is None:
            self._free_since = now
        if now - self._free_since < GRACE and not self._is_next(look(self._room, self._count), now):
            return
        found = self._free_seat()
        if found is not None:
            is_starved = now - self._wants_since >= fairshare.STARVED
            self._sit(
                *found, now=now, priority=fairshare.FOREMOST if is_starved else self._place.priority
            )

    def _is_next(self, seen: Seen, now: float) -> bool:
        free = max(1, self._count - len(seen.sitters))
        first = fairshare.order(seen.waiters, seen.sitters, now)[:free]
        return not seen.waiters or any(waiter.who == self._who for waiter in first)

    def _is_to_get_up(self, now: float) -> bool:
        seen = look(self._room, self._count)
        free = max(0, self._count - len(seen.sitters))
        return fairshare.gets_up(self._seat, seen.sitters, seen.waiters, free, now)

    def _may_be_free(self) -> bool:
        """Whether a seat's name seems to be had, without having it: nobody is to be kept from it."""
        ours = 0
        for number in range(self._count + _PASSED_OVER):
            holder = _ask(self._seat_name(number))
            ours += holder is _Holder.OURS
            if holder is _Holder.NOBODY or ours == self._count:
                return holder is _Holder.NOBODY
        return False

    def _free_seat(self) -> Optional[Tuple[int, socket.socket]]:
        """There are as many seats as there should be: names that other users have are no seats."""
        ours = 0
        for number in range(self._count + _PASSED_OVER):
            seat, is_ours = _claim_or_ask(self._seat_name(number))
            if seat is not None:
                return number, seat
            ours += is_ours
            if ours == self._count:
                break
        return None

    def _seat_name(self, number: int) -> bytes:
        return _named(self._room, "seat-%d" % number)

    def is_wanted(self) -> bool:
        """Whether anybody waits for a seat here. Who waits rings: to look who it is would be dearer."""
        name = self._bell_name()
        return _ask(name) is _Holder.OURS

    def _bell_name(self) -> bytes:
        return _named(self._room, "bell")

    def _name(self, what: str, who: object, job: str, priority: int, since: float) -> bytes:
        return _named(self._room, "%s-%s-%s-%d-%d" % (what, who, job, priority, int(1000 * since)))


@contextlib.contextmanager
def guest(count: int, within: float = ONE_OFF_TIMEOUT) -> Iterator[Tuple[int, ...]]:
    """A seat for what belongs to no job and takes a moment: before anybody's next page.

    Yields the descriptors that a renderer inherits. Where no seat comes free within so many seconds, it
    is done beside those who sit: without it there would be no job here.
    """
    seat = SlotLocks(count, Namespace("guest", fairshare.FOREMOST))
    end = time.monotonic() + within
    while not seat.take() and time.monotonic() < end:
        time.sleep(LOOK)
    try:
        yield seat.descriptors
    finally:
        seat.leave()


def left_to(place: Namespace, count: int) -> int:
    """The seats that other jobs leave to this one: those that it has, and those that are free."""
    seen = look(_room(), count)
    return max(0, count - sum(sitter.job != place.job for sitter in seen.sitters))


def look(room: str, count: int) -> Seen:
    """Who sits and who waits now. What another user shows under such a name does not count."""
    sitters: Dict[int, SlotHolder] = {}
    waiters: List[Waiter] = []
    strangers = 0
    for word in _listed(room):
        what, who, job, priority, since = word
        holder = _ask(_named(room, "%s-%s-%s-%s-%s" % word))
        strangers += holder is _Holder.STRANGER
        if strangers > _MAX_REQUESTED:
            break
        if holder is not _Holder.OURS:
            continue
        if what == "sits" and who.isdigit() and int(who) < count + _PASSED_OVER:
            sitters[int(who)] = SlotHolder(int(who), job, int(priority), int(since) / 1000)
        elif what == "wants":
            waiters.append(Waiter(who, job, int(priority), int(since) / 1000))
    return Seen(list(sitters.values()), waiters)


def _listed(room: str) -> List[Tuple[str, str, str, str, str]]:
    """The names of this room (proc(5), net/unix: an abstract one begins with @); none without /proc."""
    pattern = re.compile(
        r"@sshrender-%s-(sits|wants)-(\w{1,20})-(\w{1,40})-(-?\d{1,5})-(\d{1,15})$" % re.escape(room),
        re.MULTILINE | re.ASCII,
    )
    try:
        with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
            return sorted(set(pattern.findall(file.read())))
    except OSError:
        return []


def _room() -> str:
    """This user in this name space of processes: a container's are others.

    SSHRENDER_ROOM adds to it: for tests that are not to share their slots.
    """
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    own = re.sub(r"[^A-Za-z0-9]", "", os.environ.get("SSHRENDER_ROOM", ""))[-20:]
    return "%d-%x%s" % (os.getuid(), space, own and "-" + own)


def _named(room: str, what: str) -> bytes:
    return ("\0sshrender-%s-%s" % (room, what)).encode("ascii")


def _claim(name: bytes) -> Optional[socket.socket]:
    """The name, if nobody has it."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(name)
        claimed.listen(16)
    except OSError:
        claimed.close()
        return None
    return claimed


def _claim_or_ask(name: bytes) -> Tuple[Optional[socket.socket], bool]:
    """The name; or whether it is this user's who has it, as far as BETWEEN tells.

    A name that nobody has any more when it is asked is claimed again.
    """
    end = time.monotonic() + BETWEEN
    while True:
        claimed = _claim(name)
        if claimed is not None:
            return claimed, False
        holder = _ask(name)
        if holder is not _Holder.NOBODY:
            return None, holder is _Holder.OURS
        if time.monotonic() > end:
            return None, False
        time.sleep(0.01)


class _Holder(enum.Enum):
    """Who has a name, as anybody may take any."""

    NOBODY = 0
    """Or somebody who does not listen yet."""
    OURS = 1
    """Or somebody who cannot be asked now."""
    STRANGER = 2


def _ask(name: bytes) -> _Holder:
    """Who has this name now. Who has a seat listens, but never accepts: to be asked is all it is for."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(name)
            size = _CREDENTIALS.size
            found = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except ConnectionRefusedError:
            return _Holder.NOBODY
        except OSError:
            return _Holder.OURS
    return _Holder.OURS if _CREDENTIALS.unpack(found)[1] == os.getuid() else _Holder.STRANGER


def _release(claimed: Optional[socket.socket]) -> None:
    if claimed is not None:
        claimed.close()
