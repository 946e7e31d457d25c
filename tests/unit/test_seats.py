"""A host's slots, shared by jobs: who sits, who waits, who gets up for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.runner import fairshare, slotlocks
from sshrender.runner.fairshare import SLICE, STARVED, TURN, SlotHolder, Waiter

NOW = 1000.0


def _sitters(*jobs: str, priority: int = 0, sat: float = 10.0) -> list[SlotHolder]:
    return [SlotHolder(number, job, priority, NOW - sat) for number, job in enumerate(jobs)]


def _waiters(*jobs: str, priority: int = 0, waited: float = 1.0) -> list[Waiter]:
    return [Waiter(f"w{number}", job, priority, NOW - waited) for number, job in enumerate(jobs)]


def _leaving(sitters: list[SlotHolder], waiters: list[Waiter], free: int = 0) -> list[str]:
    """The jobs of those who get up."""
    return [s.job for s in sitters if fairshare.gets_up(s.seat, sitters, waiters, free, NOW)]


class TestTurns:
    """The rules, without a host."""

    def test_nobody_gets_up_for_nobody(self) -> None:
        assert _leaving(_sitters("a", "a"), []) == []

    def test_a_job_alone_has_everything(self) -> None:
        assert _leaving(_sitters("a", "a", "a"), _waiters("a")) == []

    def test_equal_jobs_share_equally(self) -> None:
        four = _sitters("a", "a", "a", "a")
        assert _leaving(four, _waiters("b", "b")) == ["a", "a"]
        assert _leaving(_sitters("a", "a", "b", "b"), _waiters("b", "a")) == []

    def test_what_cannot_be_divided_goes_round(self) -> None:
        assert _leaving(_sitters("a", sat=SLICE / 2), _waiters("b")) == []
        assert _leaving(_sitters("a", sat=SLICE), _waiters("b")) == ["a"]

    def test_a_high_priority_goes_first_and_at_once(self) -> None:
        low = _sitters("a", "a", priority=-5, sat=0.0)
        assert _leaving(low, _waiters("b", "b", priority=7)) == ["a", "a"]
        assert _leaving(_sitters("b", priority=7), _waiters("a", priority=-5)) == []

    def test_the_lowest_gets_up_first(self) -> None:
        mixed = [*_sitters("high", priority=5), SlotHolder(1, "low", -5, NOW - 1)]
        assert _leaving(mixed, _waiters("urgent", priority=9)) == ["low"]

    def test_nobody_starves(self) -> None:
        high = _sitters("a", "a", priority=1023)
        low = _waiters("b", "b", priority=-1024, waited=STARVED)
        assert len(_leaving(high, low)) == 2
        assert fairshare.order([*_waiters("a", priority=1023), *low], high, NOW)[0].job == "b"
        just = [SlotHolder(0, "b", fairshare.FOREMOST, NOW - TURN / 2)]
        assert _leaving(just, _waiters("a", priority=1023, waited=STARVED)) == []

    def test_who_finds_a_free_seat_drives_nobody_away(self) -> None:
        assert _leaving(_sitters("a", "a"), _waiters("b"), free=1) == []

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3), st.floats(0, 60)), max_size=6),
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-3, 3), st.floats(0, 60)), max_size=6),
        st.integers(0, 2),
    )
    def test_no_more_get_up_than_wait_and_never_for_a_lower_one_that_can_wait(
        self,
        sits: list[tuple[str, int, float]],
        waits: list[tuple[str, int, float]],
        free: int,
    ) -> None:
        sitters = [SlotHolder(n, job, p, NOW - sat) for n, (job, p, sat) in enumerate(sits)]
        waiters = [Waiter(str(n), job, p, NOW - sat) for n, (job, p, sat) in enumerate(waits)]
        leaving = [s for s in sitters if fairshare.gets_up(s.seat, sitters, waiters, free, NOW)]
        assert len(leaving) <= max(0, len(waiters) - free)
        for sitter in leaving:
            assert any(
                waiter.job != sitter.job
                and (waiter.priority >= sitter.priority or waiter.is_starved(NOW))
                for waiter in waiters
            )
        ordered = fairshare.order(waiters, sitters, NOW)
        assert Counter(ordered) == Counter(waiters)


_made: list[slotlocks.SlotLocks] = []


def _seat(room: str, count: int = 1, job: str = "a", priority: int = 0) -> slotlocks.SlotLocks:
    made = slotlocks.SlotLocks(count, slotlocks.Namespace(job, priority), room)
    _made.append(made)
    return made


@pytest.fixture(autouse=True)
def _nothing_stays_held() -> Iterator[None]:
    """Release what a test holds when it ends, as the end of its process would."""
    yield
    while _made:
        _made.pop().leave()


class TestSeats:
    """Real ones: names in the kernel."""

    def test_there_are_only_so_many_and_they_come_back(self, tmp_path: Path) -> None:
        people = [_seat(tmp_path.name, 2) for _ in range(3)]
        assert [each.take() for each in people] == [True, True, False]
        people[0].leave()
        time.sleep(2 * slotlocks.LOOK)
        assert people[2].take()
        assert people[1].take(), "who sits, sits"

    def test_who_sits_is_called_for_one_who_waits_and_not_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fairshare, "SLICE", 0.1)
        sits, waits = _seat(tmp_path.name, job="a"), _seat(tmp_path.name, job="b")
        assert sits.take()
        time.sleep(2 * slotlocks.CONSIDER)
        assert not sits.is_called()
        assert not waits.take()
        time.sleep(2 * slotlocks.CONSIDER)
        assert sits.is_called()
        sits.leave()
        time.sleep(2 * slotlocks.LOOK)
        assert waits.take()
        assert not sits.take()

    def test_a_high_priority_is_next_though_it_came_last(self, tmp_path: Path) -> None:
        sits = _seat(tmp_path.name, job="sits")
        low, high = _seat(tmp_path.name, job="low"), _seat(tmp_path.name, job="high", priority=9)
        assert sits.take()
        assert not low.take()
        assert not high.take()
        time.sleep(2 * slotlocks.CONSIDER)
        assert sits.is_called()
        sits.leave()
        time.sleep(2 * slotlocks.LOOK)
        assert not low.take()
        assert high.take()

    def test_a_free_seat_is_not_kept_for_one_who_does_not_come(self, tmp_path: Path) -> None:
        sits = _seat(tmp_path.name, job="sits")
        low, high = _seat(tmp_path.name, job="low"), _seat(tmp_path.name, job="high", priority=9)
        assert sits.take()
        assert not low.take()
        assert not high.take()
        sits.leave()
        end = time.monotonic() + 4 * slotlocks.GRACE
        while not low.take():
            assert time.monotonic() < end
            time.sleep(slotlocks.LOOK)

    def test_equal_jobs_get_equal_turns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fairshare, "SLICE", 0.05)
        monkeypatch.setattr(slotlocks, "CONSIDER", 0.02)
        had = [0.0, 0.0, 0.0]

        def work(number: int) -> None:
            seat = _seat(tmp_path.name, job=f"job{number}")
            end = time.monotonic() + 5
            while time.monotonic() < end:
                if seat.take():
                    time.sleep(0.02)
                    had[number] += 0.02
                    if seat.is_called():
                        seat.leave()
                else:
                    time.sleep(slotlocks.LOOK)
            seat.leave()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert min(had) > sum(had) / 8, had

    def test_a_killed_process_leaves_its_seat(self, tmp_path: Path) -> None:
        other = _sits_elsewhere(tmp_path.name)
        seat = _seat(tmp_path.name)
        assert not seat.take()
        other.kill()
        other.wait()
        time.sleep(2 * slotlocks.LOOK)
        assert seat.take()

    def test_a_seat_that_is_left_while_somebody_asks_for_it_is_had_by_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sits, comes, third = (_seat(tmp_path.name, job=job) for job in "abc")
        assert sits.take()

        def leave_and_ask(name: bytes, ask: Callable[[bytes], object] = slotlocks._ask) -> object:
            if name.endswith(b"seat-0"):
                sits.leave()
            return ask(name)

        monkeypatch.setattr(slotlocks, "_ask", leave_and_ask)
        assert comes.take()
        assert comes.descriptors
        for _ in range(3):
            assert not third.take()
            time.sleep(2 * slotlocks.LOOK)

    def test_a_seat_is_taken_until_its_renderer_is_gone(self, tmp_path: Path) -> None:
        sits, waits = _seat(tmp_path.name, job="a"), _seat(tmp_path.name, job="b")
        assert sits.take()
        renderer = subprocess.Popen(["sleep", "60"], pass_fds=sits.descriptors)
        sits.leave()
        time.sleep(2 * slotlocks.LOOK)
        assert not waits.take()
        renderer.kill()
        renderer.wait()
        time.sleep(2 * slotlocks.LOOK)
        assert waits.take()

    def test_the_seats_of_a_large_host_go_round_too(self, tmp_path: Path) -> None:
        many = [_seat(tmp_path.name, 70) for _ in range(70)]
        assert all(each.take() for each in many)
        urgent = [_seat(tmp_path.name, 70, f"u{number}", priority=9) for number in range(3)]
        assert not any(each.take() for each in urgent)
        time.sleep(2 * slotlocks.CONSIDER)
        assert sum(each.is_called() for each in many) == 3

    def test_a_guest_is_next_and_goes_without_where_nobody_gets_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSHRENDER_ROOM", uuid.uuid4().hex[:12])
        sits = slotlocks.SlotLocks(1, slotlocks.Namespace("a", 1023))
        _made.append(sits)
        assert sits.take()
        time.sleep(2 * slotlocks.CONSIDER)
        called: list[bool] = []

        def work() -> None:
            while not called:
                time.sleep(slotlocks.LOOK)
                called.extend([True] if sits.is_called() else [])
            sits.leave()

        with slotlocks.guest(1, within=0.0) as seat:
            assert seat == ()
        thread = threading.Thread(target=work)
        thread.start()
        with slotlocks.guest(1) as seat:
            assert len(seat) == 1
            assert not sits.take()
        thread.join()
        time.sleep(2 * slotlocks.LOOK)
        assert sits.take()

    def test_a_name_that_another_user_keeps_is_no_seat(self, tmp_path: Path) -> None:
        if os.getuid() != 0:
            return  # only root can be another user
        other = _sits_elsewhere(tmp_path.name, "os.setuid(65534);")
        try:
            ours = [_seat(tmp_path.name) for _ in range(3)]
            assert [each.take() for each in ours] == [True, False, False]
            assert [sitter.seat for sitter in slotlocks.look(tmp_path.name, 1).sitters] == [1]
        finally:
            other.kill()
            other.wait()


def _sits_elsewhere(room: str, before: str = "") -> subprocess.Popen[bytes]:
    """Another process that has the only seat."""
    code = (
        f"import os, sys, time; from sshrender.runner import slotlocks; {before}"
        "seat = slotlocks.SlotLocks(1, slotlocks.Namespace('x'), sys.argv[1]); seat.take();"
        "print('sits', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, room], stdout=subprocess.PIPE)
    assert other.stdout is not None
    with other.stdout as lines:
        assert lines.readline() == b"sits\n"
    return other
