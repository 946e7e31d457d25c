"""Queues pages for verification: hosts take turns, and files that are not visible yet are tried later.

A host whose pages take long, or never appear, delays only its own. Nothing here reads a file.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """A queued task."""

    @property
    def host(self) -> str:
        """Return the host whose turn the task uses."""
        ...


T = TypeVar("T", bound=Waiting)


class VerificationQueue(Generic[T]):
    """A thread-safe queue. One heap holds all tasks that are tried later."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A lock and two conditions: threads that wait for a task, and drain(). An answer wakes no thread
        # that would find nothing to do, several times a page.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)
        self._ready: dict[str, deque[T]] = {}
        self._later: list[tuple[float, int, T]] = []
        self._later_of: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._running: Counter[str] = Counter()
        self._open = 0
        self._idle = 0
        self._is_closed = False

    def put(self, task: T) -> None:
        """Add a task, which is open until ``answered``."""
        with self._lock:
            self._open += 1
            self._add(task)
            self._changed.notify()

    def put_later(self, task: T, due: float) -> None:
        """Add a task again that was taken before, due at a time on the clock."""
        with self._lock:
            # The number decides between equal times: tasks cannot be compared.
            heapq.heappush(self._later, (due, next(self._numbers), task))
            self._later_of[task.host] += 1
            self._changed.notify()

    def waiting_later(self, host: str) -> int:
        """Return how many of a host's tasks wait for their time."""
        with self._lock:
            return self._later_of[host]

    def take(self) -> T | None:
        """Wait for the next task, which runs until ``done``. None: the queue was closed."""
        with self._lock:
            while not self._is_closed:
                # Under the lock in each turn: waiting releases it.
                due_in = self._promote()
                task = self._choose()
                if task is not None:
                    self._running[task.host] += 1
                    return task
                # Counted while it waits, for has_backlog() and keeps_a_host_waiting().
                self._idle += 1
                self._changed.wait(due_in)
                self._idle -= 1
            return None

    def done(self, task: T) -> None:
        """Note that a task that was taken does not run any more."""
        with self._lock:
            self._running[task.host] -= 1
            if not self._running[task.host]:
                del self._running[task.host]

    def answered(self, count: int) -> None:
        """Note that this many tasks are not open any more."""
        with self._lock:
            self._open -= count
            if self._open == 0:
                self._drained.notify_all()

    def is_empty(self) -> bool:
        """Return whether no task could be taken now."""
        with self._lock:
            self._promote()
            return not self._ready

    def keeps_a_host_waiting(self) -> bool:
        """Return whether a host has waiting tasks but none running, and no thread is free."""
        with self._lock:
            self._promote()
            return self._idle == 0 and any(host not in self._running for host in self._ready)

    def has_backlog(self) -> bool:
        """Return whether more tasks wait than run, and no thread is free."""
        with self._lock:
            self._promote()
            return self._idle == 0 and sum(map(len, self._ready.values())) > self._running.total()

    def drain(self, timeout: float) -> bool:
        """Wait until no task is open; return False if that took too long."""
        with self._lock:
            return self._drained.wait_for(lambda: self._open == 0, timeout)

    def close(self) -> None:
        """Make every ``take`` return None."""
        with self._lock:
            self._is_closed = True
            self._changed.notify_all()

    def _add(self, task: T) -> None:
        self._ready.setdefault(task.host, deque()).append(task)

    def _promote(self) -> float | None:
        """Make due tasks ready; return the seconds until the next one is due. Needs the lock."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, _, task = heapq.heappop(self._later)
            self._later_of[task.host] -= 1
            self._add(task)
        return self._later[0][0] - now if self._later else None

    def _choose(self) -> T | None:
        """Take the first task of the next host; hosts with none running come first. Needs the lock."""
        if not self._ready:
            return None
        # min() takes the first of equals, and the dictionary is in the order of waiting.
        host = min(
            self._ready, key=lambda each: self._running[each]
        )  # of equals, the one that waits longest
        tasks = self._ready.pop(host)
        task = tasks.popleft()
        if tasks:
            self._ready[host] = tasks  # its turn is last now
        return task
