"""Pages that wait to be verified, in fair turns between hosts, and those that are not visible yet.

A host whose pages take long, or never appear, delays its own. Nothing here reads a file.
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
    """What is queued."""

    @property
    def host(self) -> str:
        """The host whose turn it takes."""
        ...


T = TypeVar("T", bound=Waiting)


class VerificationQueue(Generic[T]):
    """Takes from any thread. One heap holds what is looked for again, however many pages that are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
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
        with self._changed:
            self._open += 1
            self._add(task)
            self._changed.notify()

    def put_later(self, task: T, due: float) -> None:
        """Add a task again that was taken before, for a time on the clock."""
        with self._changed:
            heapq.heappush(self._later, (due, next(self._numbers), task))
            self._later_of[task.host] += 1
            self._changed.notify()

    def waiting_later(self, host: str) -> int:
        """How many of a host's tasks wait for their time."""
        with self._changed:
            return self._later_of[host]

    def take(self) -> T | None:
        """Wait for the next task; it runs until ``done``. None: the queue was closed."""
        with self._changed:
            while not self._is_closed:
                due_in = self._promote()
                task = self._choose()
                if task is not None:
                    self._running[task.host] += 1
                    return task
                self._idle += 1
                self._changed.wait(due_in)
                self._idle -= 1
            return None

    def done(self, task: T) -> None:
        """A task that was taken does not run any more."""
        with self._changed:
            self._running[task.host] -= 1
            if not self._running[task.host]:
                del self._running[task.host]
            self._changed.notify()

    def answered(self, count: int) -> None:
        """So many tasks are not open any more."""
        with self._changed:
            self._open -= count
            self._changed.notify_all()

    def is_empty(self) -> bool:
        """Whether no task could be taken now."""
        with self._changed:
            self._promote()
            return not self._ready

    def keeps_a_host_waiting(self) -> bool:
        """Whether a host has tasks waiting, none running, and no thread is free for it."""
        with self._changed:
            self._promote()
            return self._idle == 0 and any(host not in self._running for host in self._ready)

    def has_backlog(self) -> bool:
        """Whether more tasks wait than run, and no thread is free."""
        with self._changed:
            self._promote()
            return self._idle == 0 and sum(map(len, self._ready.values())) > self._running.total()

    def drain(self, timeout: float) -> bool:
        """Wait until nothing is open; False when it was not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout)

    def close(self) -> None:
        """Have every ``take`` return None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _add(self, task: T) -> None:
        self._ready.setdefault(task.host, deque()).append(task)

    def _promote(self) -> float | None:
        """Make ready what is due; seconds until the next is. Needs the lock."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, _, task = heapq.heappop(self._later)
            self._later_of[task.host] -= 1
            self._add(task)
        return self._later[0][0] - now if self._later else None

    def _choose(self) -> T | None:
        """The next host's first task; a host with none running comes first. Needs the lock."""
        if not self._ready:
            return None
        host = min(self._ready, key=lambda each: self._running[each])  # the longest waiting of equals
        tasks = self._ready.pop(host)
        task = tasks.popleft()
        if tasks:
            self._ready[host] = tasks  # now the last in turn
        return task
