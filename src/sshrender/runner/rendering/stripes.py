"""Shares the encoding of one large page among threads: its own, and helpers on free slots of the host.

The rows are cut into stripes. Each thread takes the next stripe and encodes it; the page's own thread
writes what is finished, in order. Helpers come and go: they work only while they hold the lock of a slot
that nothing else uses, and while the host is idle.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from sshrender.renderers.encoders.rows import Span
from sshrender.runner.host import processlimits
from sshrender.runner.slots import slotlocks

STRIPE = 4 << 20
"""Bytes of raster of a stripe: small beside a page's memory, large beside what its start costs."""

MAX_HELPERS = 7
MAX_AHEAD = 3
"""Finished stripes for each thread that may wait to be written: they are in memory."""


class Stripe(NamedTuple):
    """An encoded stripe: its blocks, their checksum, and how many bytes of rows they stand for."""

    data: bytes
    checksum: int
    length: int


Encode = Callable[[Span], Stripe]


class Stripes:
    """The stripes of one page. ``encode`` of each thread is its own."""

    def __init__(self, spans: List[Span]) -> None:
        self._spans = spans
        self._changed = threading.Condition()
        # Numbers of the next stripe to encode and of the next one to write; both only rise.
        self._taken = self._written = 0
        self._limit = MAX_AHEAD
        self._found: Dict[int, Stripe] = {}
        self._error: Optional[BaseException] = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to take."""
        # Read without the lock by helpers: a late answer costs one more look.
        return self._taken >= len(self._spans) or self._error is not None

    def work(self, encode: Encode) -> bool:
        """Encode the next stripe. Return whether there was one that may be begun."""
        with self._changed:
            # Not too far ahead of the writer: finished stripes are in memory.
            if self.is_over or self._taken - self._written >= self._limit:
                return False
            number = self._taken
            self._taken += 1
        try:
            # Outside of the lock: this is the work that is shared.
            found = encode(self._spans[number])
        except BaseException as error:
            # The page's own thread raises it in in_order(); helpers see is_over and end.
            with self._changed:
                self._error = error
                self._changed.notify_all()
            raise
        with self._changed:
            self._found[number] = found
            self._changed.notify_all()
        return True

    def in_order(self, encode: Encode) -> Iterator[Stripe]:
        """Yield all stripes, and encode meanwhile. Raises what an encoder has raised."""
        for number in range(len(self._spans)):
            while number not in self._found:
                # An error of any thread: the stripe that is waited for may never come.
                if self._error is not None:
                    raise self._error
                # Nothing may be begun: the missing stripe is in a helper's hands, so its end is waited
                # for.
                if not self.work(encode):
                    with self._changed:
                        self._changed.wait(0.1)
            with self._changed:
                found = self._found.pop(number)
                self._written += 1
                self._changed.notify_all()
            yield found

    def add_thread(self) -> None:
        """Permit as many more finished stripes as one thread may have."""
        with self._changed:
            self._limit += MAX_AHEAD

    def end(self) -> None:
        """Make helpers stop."""
        with self._changed:
            # Nothing is left to take; helpers finish the stripe that they have.
            self._taken = len(self._spans)


class Helpers:
    """Starts helpers for large pages. ``is_idle``: whether other people leave the host to us."""

    def __init__(self, slots: int, share: slotlocks.JobShare, is_idle: Callable[[], bool]) -> None:
        self._slots = slots
        self._share = share
        self._is_idle = is_idle

    def start(self, stripes: Stripes, make: Callable[[], Encode]) -> List[threading.Thread]:
        """Start a helper for each other slot; those of a job with a limit are all its own."""
        count = min(self._slots - 1, MAX_HELPERS) if self._share.slot_limit is None else 0
        threads = [
            threading.Thread(target=self._help, args=(stripes, make), daemon=True, name="helper")
            for _ in range(count)
        ]
        for each in threads:
            each.start()
        return threads

    def _help(self, stripes: Stripes, make: Callable[[], Encode]) -> None:
        # A lock of its own, and with it a place of its own among the waiters of the host.
        locks = slotlocks.SlotLocks(self._slots, self._share)
        encode: Optional[Encode] = None
        processlimits.lower_own_priority()
        try:
            while not stripes.is_over:
                # Checked before each stripe, so the owner of the host waits for one stripe at most.
                if not self._is_idle() or (locks.is_held and locks.must_yield()):
                    locks.release()
                elif locks.acquire():
                    # Made by the thread that uses it, and only when it has a lock.
                    if encode is None:
                        encode = make()
                        stripes.add_thread()
                    if stripes.work(encode):
                        continue
                # No stripe may be begun, or no slot is free.
                time.sleep(slotlocks.POLL_INTERVAL)
        except Exception:  # noqa: BLE001 - the page's own thread raises it, in in_order()
            return
        finally:
            locks.release()
