"""The slots of a host, shared by jobs: which slot is held, which waits, which yields to which."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.runner.slots import fairshare, slotlocks, socketlocks
from sshrender.runner.slots.fairshare import (
    MIN_HOLD_TIME,
    STARVATION_TIMEOUT,
    TIME_SLICE,
    SlotHolder,
    Waiter,
)
from tests.stretch import wait_until

NOW = 1000.0


def _holders(*jobs: str, priority: int = 0, held: float = 10.0) -> list[SlotHolder]:
    return [SlotHolder(number, job, priority, NOW - held) for number, job in enumerate(jobs)]


def _waiters(*jobs: str, priority: int = 0, waited: float = 1.0) -> list[Waiter]:
    return [Waiter(f"w{number}", job, priority, NOW - waited) for number, job in enumerate(jobs)]


def _yielding(holders: list[SlotHolder], waiters: list[Waiter], free: int = 0) -> list[str]:
    """Return the jobs of the holders that must yield."""
    return [s.job for s in holders if fairshare.must_yield(s.slot, holders, waiters, free, NOW)]


class TestFairShare:
    """The rules, without a host."""

    def test_without_waiters_no_slot_yields(self) -> None:
        assert _yielding(_holders("a", "a"), []) == []

    def test_a_job_alone_has_everything(self) -> None:
        assert _yielding(_holders("a", "a", "a"), _waiters("a")) == []

    def test_equal_jobs_share_equally(self) -> None:
        four = _holders("a", "a", "a", "a")
        assert _yielding(four, _waiters("b", "b")) == ["a", "a"]
        assert _yielding(_holders("a", "a", "b", "b"), _waiters("b", "a")) == []

    def test_what_cannot_be_divided_goes_round(self) -> None:
        assert _yielding(_holders("a", held=TIME_SLICE / 2), _waiters("b")) == []
        assert _yielding(_holders("a", held=TIME_SLICE), _waiters("b")) == ["a"]

    def test_a_high_priority_goes_first_and_at_once(self) -> None:
        low = _holders("a", "a", priority=-5, held=0.0)
        assert _yielding(low, _waiters("b", "b", priority=7)) == ["a", "a"]
        assert _yielding(_holders("b", priority=7), _waiters("a", priority=-5)) == []

    def test_the_lowest_priority_yields_first(self) -> None:
        mixed = [*_holders("high", priority=5), SlotHolder(1, "low", -5, NOW - 1)]
        assert _yielding(mixed, _waiters("urgent", priority=9)) == ["low"]

    def test_no_waiter_starves(self) -> None:
        high = _holders("a", "a", priority=1023)
        low = _waiters("b", "b", priority=-1024, waited=STARVATION_TIMEOUT)
        assert len(_yielding(high, low)) == 2
        assert fairshare.order([*_waiters("a", priority=1023), *low], high, NOW)[0].job == "b"
        just = [SlotHolder(0, "b", fairshare.TOP_PRIORITY, NOW - MIN_HOLD_TIME / 2)]
        assert _yielding(just, _waiters("a", priority=1023, waited=STARVATION_TIMEOUT)) == []

    def test_a_waiter_that_finds_a_free_slot_makes_none_yield(self) -> None:
        assert _yielding(_holders("a", "a"), _waiters("b"), free=1) == []

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3), st.floats(0, 60)), max_size=6),
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-3, 3), st.floats(0, 60)), max_size=6),
        st.integers(0, 2),
    )
    def test_no_more_yield_than_wait_and_never_to_a_lower_priority_that_can_wait(
        self,
        holds: list[tuple[str, int, float]],
        waits: list[tuple[str, int, float]],
        free: int,
    ) -> None:
        holders = [SlotHolder(n, job, p, NOW - held) for n, (job, p, held) in enumerate(holds)]
        waiters = [Waiter(str(n), job, p, NOW - held) for n, (job, p, held) in enumerate(waits)]
        yielding = [s for s in holders if fairshare.must_yield(s.slot, holders, waiters, free, NOW)]
        assert len(yielding) <= max(0, len(waiters) - free)
        for holder in yielding:
            assert any(
                waiter.job != holder.job
                and (waiter.priority >= holder.priority or waiter.is_starved(NOW))
                for waiter in waiters
            )
        ordered = fairshare.order(waiters, holders, NOW)
        assert Counter(ordered) == Counter(waiters)


_made: list[slotlocks.SlotLocks] = []


def _locks(namespace: str, count: int = 1, job: str = "a", priority: int = 0) -> slotlocks.SlotLocks:
    made = slotlocks.SlotLocks(count, slotlocks.JobShare(job, priority), namespace)
    _made.append(made)
    return made


@pytest.fixture
def namespace() -> str:
    """Return a name of its own: slots are those of the machine, on which other tests may run."""
    return uuid.uuid4().hex[:12]


@pytest.fixture(autouse=True)
def _nothing_stays_held() -> Iterator[None]:
    """Release what a test holds when it ends, as the end of its process would."""
    yield
    while _made:
        _made.pop().release()


class TestSlotLocks:
    """Real locks: names in the kernel."""

    def test_there_are_only_so_many_and_they_come_back(self, namespace: str) -> None:
        slots = [_locks(namespace, 2) for _ in range(3)]
        assert [each.acquire() for each in slots] == [True, True, False]
        slots[0].release()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert slots[2].acquire()
        assert slots[1].acquire(), "a held slot stays held"

    def test_a_holder_must_yield_when_another_waits_and_not_before(
        self, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fairshare, "TIME_SLICE", 0.1)
        holds, waits = _locks(namespace, job="a"), _locks(namespace, job="b")
        assert holds.acquire()
        time.sleep(2 * slotlocks.YIELD_CHECK_INTERVAL)
        assert not holds.must_yield()
        assert not waits.acquire()
        time.sleep(2 * slotlocks.YIELD_CHECK_INTERVAL)
        assert holds.must_yield()
        holds.release()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert waits.acquire()
        assert not holds.acquire()

    def test_a_high_priority_is_next_though_it_came_last(
        self, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(slotlocks, "GRACE_PERIOD", 600.0)
        holds = _locks(namespace, job="holds")
        low, high = _locks(namespace, job="low"), _locks(namespace, job="high", priority=9)
        assert holds.acquire()
        assert not low.acquire()
        assert not high.acquire()
        time.sleep(2 * slotlocks.YIELD_CHECK_INTERVAL)
        assert holds.must_yield()
        holds.release()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert not low.acquire()
        assert high.acquire()

    def test_a_free_slot_is_not_kept_for_a_waiter_that_does_not_come(self, namespace: str) -> None:
        holds = _locks(namespace, job="holds")
        low, high = _locks(namespace, job="low"), _locks(namespace, job="high", priority=9)
        assert holds.acquire()
        assert not low.acquire()
        assert not high.acquire()
        holds.release()
        wait_until(low.acquire, 4 * slotlocks.GRACE_PERIOD, "no slot", slotlocks.POLL_INTERVAL)

    def test_equal_jobs_get_equal_shares(self, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fairshare, "TIME_SLICE", 0.05)
        monkeypatch.setattr(slotlocks, "YIELD_CHECK_INTERVAL", 0.02)
        turns = [0, 0, 0]

        def work(number: int) -> None:
            locks = _locks(namespace, job=f"job{number}")
            while sum(turns) < 200:
                if locks.acquire():
                    time.sleep(0.02)
                    turns[number] += 1
                    if locks.must_yield():
                        locks.release()
                else:
                    time.sleep(slotlocks.POLL_INTERVAL)
            locks.release()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert min(turns) > sum(turns) / 8, turns

    def test_a_killed_process_releases_its_slot(self, namespace: str) -> None:
        other = _hold_elsewhere(namespace)
        locks = _locks(namespace)
        assert not locks.acquire()
        other.kill()
        other.wait()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert locks.acquire()

    def test_a_slot_that_is_released_while_another_asks_for_it_goes_to_one(
        self, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        holds, comes, third = (_locks(namespace, job=job) for job in "abc")
        assert holds.acquire()

        ask = socketlocks.owner_of

        def release_and_ask(name: bytes) -> socketlocks.NameOwner:
            if name.endswith(b"slot-0"):
                holds.release()
            return ask(name)

        monkeypatch.setattr(socketlocks, "owner_of", release_and_ask)
        assert comes.acquire()
        assert comes.descriptors
        for _ in range(3):
            assert not third.acquire()
            time.sleep(2 * slotlocks.POLL_INTERVAL)

    def test_a_slot_is_held_until_its_renderer_is_gone(self, namespace: str) -> None:
        holds, waits = _locks(namespace, job="a"), _locks(namespace, job="b")
        assert holds.acquire()
        renderer = subprocess.Popen(["sleep", "600"], pass_fds=holds.descriptors)
        holds.release()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert not waits.acquire()
        renderer.kill()
        renderer.wait()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert waits.acquire()

    def test_the_slots_of_a_large_host_go_round_too(self, namespace: str) -> None:
        many = [_locks(namespace, 70) for _ in range(70)]
        assert all(each.acquire() for each in many)
        urgent = [_locks(namespace, 70, f"u{number}", priority=9) for number in range(3)]
        assert not any(each.acquire() for each in urgent)
        time.sleep(2 * slotlocks.YIELD_CHECK_INTERVAL)
        assert sum(each.must_yield() for each in many) == 3

    def test_a_one_off_slot_is_next_and_is_done_without_where_none_yields(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSHRENDER_SLOT_NAMESPACE", uuid.uuid4().hex[:12])
        holds = slotlocks.SlotLocks(1, slotlocks.JobShare("a", 1023))
        _made.append(holds)
        assert holds.acquire()
        time.sleep(2 * slotlocks.YIELD_CHECK_INTERVAL)
        called: list[bool] = []

        def work() -> None:
            while not called:
                time.sleep(slotlocks.POLL_INTERVAL)
                called.extend([True] if holds.must_yield() else [])
            holds.release()

        with slotlocks.one_off_slot(1, within=0.0) as locks:
            assert locks == ()
        thread = threading.Thread(target=work)
        thread.start()
        with slotlocks.one_off_slot(1, within=600.0) as locks:
            assert len(locks) == 1
            assert not holds.acquire()
        thread.join()
        time.sleep(2 * slotlocks.POLL_INTERVAL)
        assert holds.acquire()

    def test_a_name_that_another_user_keeps_is_no_slot(self, namespace: str) -> None:
        if os.getuid() != 0:
            return  # only root can be another user
        other = _hold_elsewhere(namespace, "os.setuid(65534);")
        try:
            ours = [_locks(namespace) for _ in range(3)]
            assert [each.acquire() for each in ours] == [True, False, False]
            assert [holder.slot for holder in slotlocks.read_use(namespace, 1).holders] == [1]
        finally:
            other.kill()
            other.wait()


def _hold_elsewhere(namespace: str, before: str = "") -> subprocess.Popen[bytes]:
    """Start another process that holds the only slot."""
    code = (
        f"import os, sys, time; from sshrender.runner.slots import slotlocks; {before}"
        "locks = slotlocks.SlotLocks(1, slotlocks.JobShare('x'), sys.argv[1]); locks.acquire();"
        "print('holds', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, namespace], stdout=subprocess.PIPE)
    assert other.stdout is not None
    with other.stdout as lines:
        assert lines.readline() == b"holds\n"
    return other
