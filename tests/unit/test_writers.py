"""The threads that all connections share: few while hosts read, more where some do not."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from sshrender.coordinator.hosts import writers
from sshrender.coordinator.hosts.writers import ElasticPool, Pinger

LONGEST = 30.0


def _threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_a_task_that_blocks_holds_no_other_one() -> None:
    pool, release, done = ElasticPool("blocked"), threading.Event(), queue.SimpleQueue[int]()
    for _ in range(5):
        pool.run(lambda: (release.wait(LONGEST), None)[1])
    for number in range(20):
        pool.run(lambda number=number: done.put(number))  # type: ignore[misc]
    assert {done.get(timeout=LONGEST) for _ in range(20)} == set(range(20))
    release.set()


def test_tasks_that_come_one_after_the_other_share_a_thread() -> None:
    pool, done = ElasticPool("in turn"), queue.SimpleQueue[str]()
    names = []
    for _ in range(50):
        pool.run(lambda: done.put(threading.current_thread().name))
        names.append(done.get(timeout=LONGEST))
    # One more may start where the first has put its result, and does not wait again yet.
    assert _threads("in turn") <= 3


def test_threads_without_a_task_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "IDLE_TIMEOUT", 0.01)
    pool, done = ElasticPool("short"), queue.SimpleQueue[Any]()
    for _ in range(10):
        pool.run(lambda: done.put(threading.current_thread()))
    for _ in range(10):
        done.get(timeout=LONGEST).join(LONGEST)
    # A thread that was started for a task, and found that another one had taken it, ends as well.
    for thread in threading.enumerate():
        if thread.name == "short":
            thread.join(LONGEST)
    assert _threads("short") == 0
    pool.run(lambda: done.put(None))
    assert done.get(timeout=LONGEST) is None


def test_a_task_is_run_though_no_more_threads_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done, release = ElasticPool("limited"), queue.SimpleQueue[int](), threading.Event()
    pool.run(lambda: (release.wait(LONGEST), done.put(1))[1])

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.run(lambda: done.put(2))
    release.set()
    assert [done.get(timeout=LONGEST) for _ in range(2)] == [1, 2]


class _Connection:
    def __init__(self) -> None:
        self.pings: queue.SimpleQueue[float] = queue.SimpleQueue()

    def ping_if_due(self, now: float) -> None:
        self.pings.put(now)


def test_connections_are_reminded_until_they_are_removed() -> None:
    pinger, one, other = Pinger(0.01), _Connection(), _Connection()
    for _ in range(2):  # the thread ends when nothing is left, and another one is started later
        pinger.add(one)
        pinger.add(other)
        one.pings.get(timeout=LONGEST)
        other.pings.get(timeout=LONGEST)
        pinger.remove(one)
        pinger.remove(other)
        pinger.remove(other)
