"""Threads that all connections share to write: a few are enough, unless hosts do not read.

A thread for each connection would wait most of the time. A write may block for seconds on a host that
does not read, so threads are added while all of them are in use, and end when they are not needed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

IDLE_TIMEOUT = 5.0
"""Seconds after which a thread without a task ends."""


class ElasticPool:
    """Runs tasks in threads, each at once: a task never waits for another one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle_count = 0
        """Threads that wait, less the tasks that wait for one of them to wake up."""

    def run(self, task: Callable[[], None]) -> None:
        """Run a task, which must not raise, in a thread that is free, or in a new one."""
        with self._lock:
            # Reserved here, under the lock: two callers cannot count on the same thread.
            has_free = self._idle_count > 0
            self._idle_count -= has_free
        # Put before a thread is started: it finds the task at once.
        self._tasks.put(task)
        if has_free:
            return
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:  # the system has no more threads: one that is in use takes the task later
            with self._lock:
                self._idle_count -= 1

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=IDLE_TIMEOUT)
            except queue.Empty:
                with self._lock:
                    if self._idle_count > 0:  # else a task is on its way to this thread
                        self._idle_count -= 1
                        return
                continue
            task()
            with self._lock:
                # After the task: a thread that works is not free.
                self._idle_count += 1


class Pinged(Protocol):
    """A connection on which something has to be sent at intervals."""

    def ping_if_due(self, now: float) -> None:
        """Send a ping if nothing was sent for long enough. Never blocks, never raises."""
        ...


class Pinger:
    """Reminds connections to send pings, in one thread, which ends when no connection is left."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._connections: dict[int, Pinged] = {}
        self._is_running = False

    def add(self, connection: Pinged) -> None:
        """Remind this connection from now on."""
        with self._lock:
            self._connections[id(connection)] = connection
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._work, name="pings", daemon=True).start()

    def remove(self, connection: Pinged) -> None:
        """Stop reminding this connection."""
        with self._lock:
            self._connections.pop(id(connection), None)

    def _work(self) -> None:
        while True:
            time.sleep(self._interval)
            with self._lock:
                connections = list(self._connections.values())
                if not connections:
                    # In the same step as the test: add() either finds the thread alive, or starts one.
                    self._is_running = False
                    return
            for connection in connections:
                connection.ping_if_due(time.monotonic())
