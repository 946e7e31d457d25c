"""Which job is next: priorities, holds, moments, jobs that come after others; who looks after them."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.config import times
from sshrender.coordinator.queuedispatcher import (
    DEFECTS,
    FIRST_PAUSE,
    Clocks,
    JobActions,
    QueueDispatcher,
)
from sshrender.core import queueorder
from sshrender.core.queueorder import AGING_INTERVAL, Entry, LeaseHolder, QueueState
from sshrender.errors import ExitCode
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.queue.queuescanner import QueueScanner, QueueSnapshot
from sshrender.storage import hangguard
from sshrender.storage.primitives import HangDetector
from tests import signed
from tests.stretch import wait_until

NOW = 1_000_000.0


def _entry(name: str, **fields: object) -> Entry:
    return Entry(name, submitted=NOW - 10)._replace(**fields)  # type: ignore[arg-type]  # any field


def _ready(*entries: Entry) -> list[str]:
    unfinished = {entry.name for entry in entries if not entry.is_over}
    return [entry.name for entry in queueorder.ready(entries, unfinished, NOW)]


class TestOrder:
    """The pure rules."""

    def test_first_come_first_served(self) -> None:
        assert _ready(_entry("b", submitted=NOW - 5), _entry("a", submitted=NOW - 9)) == ["a", "b"]

    def test_a_higher_priority_goes_first(self) -> None:
        assert _ready(_entry("a"), _entry("urgent", priority=7), _entry("z", priority=-7)) == [
            "urgent",
            "a",
            "z",
        ]

    def test_none_waits_for_ever(self) -> None:
        old = _entry("old", priority=-1024, submitted=NOW - 2048 * AGING_INTERVAL)
        assert _ready(_entry("new", priority=1023), old) == ["old", "new"]

    @pytest.mark.parametrize(
        ("entry", "state"),
        [
            (_entry("a", is_over=True), QueueState.FINISHED),
            (_entry("a", is_held=True), QueueState.HELD),
            (_entry("a", holder=LeaseHolder.ACTIVE), QueueState.RUNNING),
            (_entry("a", holder=LeaseHolder.UNSURE), QueueState.UNSURE),
            (_entry("a", not_before=NOW + 1), QueueState.DEFERRED),
            (_entry("a", not_before=NOW), QueueState.READY),
            (_entry("a", after=("b",)), QueueState.BLOCKED),
            (_entry("a", after=("gone",)), QueueState.READY),
            (_entry("a", after=("a",)), QueueState.READY),
            (_entry("a", holder=LeaseHolder.VANISHED), QueueState.READY),
            (_entry("a", submitted=None), QueueState.NOT_SUBMITTED),
            (_entry("a", submitted=None, holder=LeaseHolder.VANISHED), QueueState.READY),
        ],
    )
    def test_what_a_job_waits_for(self, entry: Entry, state: QueueState) -> None:
        assert queueorder.state(entry, {"b", "a"}, NOW) is state

    def test_the_way_round_a_circle_is_told(self) -> None:
        known = {"a": (), "b": ("a",), "c": ("x", "b"), "d": ("d",)}
        assert queueorder.circle("a", ["c"], known) == ("a", "c", "b", "a")
        assert queueorder.circle("c", ["a", "x"], known) == ()
        assert queueorder.circle("d", ["d", "a"], known) == ()

    @given(
        st.dictionaries(
            st.sampled_from("abcde"), st.lists(st.sampled_from("abcde"), max_size=3), max_size=5
        )
    )
    def test_jobs_wait_for_ever_only_in_a_circle(self, after: dict[str, list[str]]) -> None:
        left = {name: _entry(name, after=tuple(others)) for name, others in after.items()}
        while ready := _ready(*left.values()):
            for name in ready:
                del left[name]
        circles = [queueorder.circle(name, others, after) for name, others in after.items()]
        assert bool(left) is any(circles)
        for circle in filter(None, circles):
            assert circle[0] == circle[-1]
            assert all(later in after[name] for name, later in itertools.pairwise(circle))

    def test_an_urgent_job_does_not_wait_for_a_place(self) -> None:
        entries = [_entry("a", priority=1), _entry("b", priority=9), _entry("c", priority=8)]
        chosen = queueorder.choose(entries, [0, 5], 2, NOW)
        assert [entry.name for entry in chosen] == ["b"], "c is not more urgent than b, which runs now"
        assert queueorder.choose(entries, [0, 5, 3, 2], 2, NOW) == [], "twice as many are the most"

    @given(
        st.lists(st.integers(-5, 5), max_size=8),
        st.lists(st.integers(-5, 5), max_size=8),
        st.integers(1, 4),
    )
    def test_there_are_never_too_many_and_never_too_few(
        self, waiting: list[int], running: list[int], at_once: int
    ) -> None:
        entries = [_entry(f"j{number}", priority=each) for number, each in enumerate(waiting)]
        chosen = queueorder.choose(entries, running, at_once, NOW)
        assert len(running) + len(chosen) <= max(2 * at_once, len(running))
        assert len(chosen) >= min(len(entries), at_once - len(running))
        assert len({entry.name for entry in chosen}) == len(chosen)


HERE = datetime(2026, 1, 31, 21, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("22:30", datetime(2026, 1, 31, 21, 30, tzinfo=UTC)),
        ("20:59", datetime(2026, 2, 1, 19, 59, tzinfo=UTC)),
        ("2026-02-01 06:00", datetime(2026, 2, 1, 5, 0, tzinfo=UTC)),
        ("2026-02-01T06:00Z", datetime(2026, 2, 1, 6, 0, tzinfo=UTC)),
        ("2h", datetime(2026, 1, 31, 22, 0, tzinfo=UTC)),
        ("+1h30m", datetime(2026, 1, 31, 21, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_understood_as_people_write_them(text: str, moment: datetime) -> None:
    assert times.parse(text, HERE) == moment


BERLIN = ZoneInfo("Europe/Berlin")
"""Summer time from 29 March to 25 October in 2026."""


@pytest.mark.parametrize(
    ("text", "now", "moment"),
    [
        (
            "22:30",
            datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN),
            datetime(2026, 3, 29, 20, 30, tzinfo=UTC),
        ),
        (
            "22:30",
            datetime(2026, 10, 24, 23, 0, tzinfo=BERLIN),
            datetime(2026, 10, 25, 21, 30, tzinfo=UTC),
        ),
        (
            "2026-07-01 12:00",
            datetime(2026, 1, 31, 12, 0, tzinfo=BERLIN),
            datetime(2026, 7, 1, 10, 0, tzinfo=UTC),
        ),
        # 2:30 does not exist on the first of these days, and comes twice on the second.
        ("02:30", datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (
            "02:30",
            datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN),
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        ),
        (
            "02:30",
            datetime(2026, 10, 25, 2, 45, fold=1, tzinfo=BERLIN),
            datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
        ),
        ("2h", datetime(2026, 3, 29, 1, 0, tzinfo=BERLIN), datetime(2026, 3, 29, 2, 0, tzinfo=UTC)),
    ],
)
def test_a_local_time_follows_the_rules_of_summer_time(
    monkeypatch: pytest.MonkeyPatch, text: str, now: datetime, moment: datetime
) -> None:
    assert times.parse(text, now) == moment
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert times.parse(text, now.replace(tzinfo=None)) == moment
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "noon", "25:00", "2026-13-01", "-3h"])
def test_what_is_no_moment_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="a start time is"):
        times.parse(text, HERE)


def _job(san: Path, name: str, **fields: object) -> JobFolder:
    """A job's folder, as far as the queue looks at it."""
    folder = JobFolder(san / name)
    folder.path.mkdir()
    folder.create()
    Attributes().changed(**{"submitted": "2026-01-01T00:00:00.000Z", **fields}).save(folder)
    signed.spec(folder)
    return folder


class TestShelf:
    """What is read of real folders."""

    def test_a_lease_is_somebodys_once_it_moves_and_nobodys_once_it_stands_still(
        self, tmp_path: Path
    ) -> None:
        folder = _job(tmp_path, "a")
        now = [0.0]
        queue_scanner = QueueScanner(tmp_path, clock=lambda: now[0])
        queue_scanner._observers["a"] = lease.Observer(folder.lease, clock=lambda: now[0])
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.NONE
        held = lease.take(folder.lease)
        queue_scanner = QueueScanner(tmp_path, clock=lambda: now[0])
        queue_scanner._observers["a"] = lease.Observer(folder.lease, clock=lambda: now[0])
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.UNSURE
        held.beat()
        now[0] += 2
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.ACTIVE
        now[0] += lease.LEASE_SECONDS / 2
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.ACTIVE
        now[0] += lease.LEASE_SECONDS / 2
        vanished = queue_scanner.scan().entries[0]
        assert vanished.holder is LeaseHolder.VANISHED
        found = lease._look(held._files)
        assert vanished.dead_lease == found.name, "the process that takes it does not watch it again"
        held.beat()
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.ACTIVE
        held.release()
        assert queue_scanner.scan().entries[0].holder is LeaseHolder.NONE

    def test_a_damaged_job_is_named_and_keeps_nobody(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        _job(tmp_path, "b").attributes.write_text('{"schema": 1, "priority": "high"}')
        queue_scanner = QueueScanner(tmp_path)
        found = queue_scanner.scan()
        assert [entry.name for entry in found.entries] == ["a"]
        assert "damaged" in found.damaged["b"]

    def test_what_cannot_be_read_of_one_job_keeps_no_other(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        folder = _job(tmp_path, "b")
        folder.attributes.unlink()
        folder.attributes.mkdir()
        folder = _job(tmp_path, "c")
        folder.spec.unlink()
        folder.spec.symlink_to(folder.spec)
        found = QueueScanner(tmp_path).scan()
        assert [entry.name for entry in found.entries] == ["a"]
        assert found.damaged["b"].endswith("attributes.json: not a regular file")
        assert "symbolic links" in found.damaged["c"]
        assert found.unfinished == {"a", "b", "c"}, "who comes after one of them waits"

    def test_a_san_that_is_gone_is_no_damage_of_its_jobs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        san = tmp_path / "san"
        san.mkdir()
        _job(san, "a")
        queue_scanner = QueueScanner(san)
        assert [entry.name for entry in queue_scanner.scan().entries] == ["a"]

        def goes(folder: JobFolder, job: str) -> Attributes:
            shutil.rmtree(san)
            raise OSError(116, "Stale file handle", str(folder.attributes))

        monkeypatch.setattr(jobattributes, "load_signed", goes)
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                queue_scanner.scan()

    def test_what_is_being_removed_is_no_job(self, tmp_path: Path) -> None:
        _job(tmp_path, "a").path.rename(tmp_path / ".removed-a-0123abcd")
        assert QueueScanner(tmp_path).scan() == QueueSnapshot([], frozenset(), {})

    def test_others_jobs_are_waited_for_and_not_seen_through(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(JobFolder, "belongs_to", lambda folder, user: "their" not in folder.name)
        _job(tmp_path, "their-queued")
        _job(tmp_path, "their-done", over="done")
        _job(tmp_path, "their-unnamed")
        _job(tmp_path, "their-render").attributes.unlink()
        _job(tmp_path, "their-damaged").attributes.write_text("{")
        _job(tmp_path, "their-list").attributes.write_text("[]")
        fifo = _job(tmp_path, "their-fifo").attributes
        fifo.unlink()
        os.mkfifo(fifo)
        _job(tmp_path, "their-loop").spec.unlink()
        (tmp_path / "their-loop" / "job.json").symlink_to("job.json")
        kinds = ["queued", "done", "render", "damaged", "list", "fifo", "loop", "gone"]
        _job(tmp_path, "a", after=[f"their-{kind}" for kind in kinds])
        found = QueueScanner(tmp_path).scan()
        assert [entry.name for entry in found.entries] == ["a"]
        assert found.damaged == {}, "it is not ours to tell"
        unknown = {"render", "damaged", "fifo", "loop", "queued"}
        assert found.unfinished == {"a", *(f"their-{kind}" for kind in unknown)} | {"their-list"}

    def test_what_is_over_is_read_again_when_it_changes_and_now_and_then(self, tmp_path: Path) -> None:
        folder = _job(tmp_path, "a", over="partial")
        now = [0.0]
        queue_scanner = QueueScanner(tmp_path, clock=lambda: now[0])
        assert queue_scanner.scan().entries[0].is_over
        jobattributes.load(folder).changed(over="").save(folder)
        assert not queue_scanner.scan().entries[0].is_over  # submitted again: it starts at once
        jobattributes.load(folder).changed(over="done").save(folder)
        assert queue_scanner.scan().entries[0].is_over
        # NFS shows the folder as it was for a while.
        known = queue_scanner._finished["a"]
        jobattributes.load(folder).changed(over="").save(folder)
        queue_scanner._finished["a"] = known._replace(folder=folder.path.lstat())
        assert queue_scanner.scan().entries[0].is_over
        now[0] += 60
        assert not queue_scanner.scan().entries[0].is_over


class _Worker:
    """A process that ends when it is told to, with this code."""

    def __init__(self, folder: JobFolder, code: int | None, why: str = "") -> None:
        self.folder, self.code, self.why = folder, code, why
        self.signals: list[int] = []

    def ended(self) -> int | None:
        if self.code == ExitCode.OK:
            jobattributes.load(self.folder).changed(over="done").save(self.folder)
        return self.code

    def reason(self) -> str:
        return self.why

    def needs_user(self) -> bool:
        return False

    def stop(self, number: int) -> None:
        self.signals.append(number)
        self.code = 128 + number


class _Queue:
    """A foreman over real folders, with workers that end as planned and a clock of its own."""

    def __init__(self, san: Path, codes: dict[str, list[int | None]], *, is_once: bool = True) -> None:
        self.san, self.codes = san, codes
        self.started: list[str] = []
        self.begun_at: list[float] = []
        self.workers: list[_Worker] = []
        self.aside: dict[str, str] = {}
        self.said: list[str] = []
        self.remarks: list[tuple[str, str]] = []
        self.now = 0.0
        # Tests replace these two.
        self.start: Callable[[Entry], _Worker] = self._start
        self.put_aside: Callable[[str, str], None] = self._put_aside
        actions = JobActions(
            lambda entry: self.start(entry),
            lambda name, why: self.put_aside(name, why),
            lambda name, why: self.remarks.append((name, why)),
            self.said.append,
        )
        clocks = Clocks(lambda: self.now, lambda: time.time() + self.now, self._pause)
        self.dispatcher = QueueDispatcher(san, actions, at_once=2, is_once=is_once, clocks=clocks)
        self.stops_at = 10_000.0

    def _start(self, entry: Entry) -> _Worker:
        name = entry.name
        self.started.append(name)
        self.begun_at.append(self.now)
        worker = _Worker(JobFolder(self.san / name), self.codes.get(name, [0]).pop(0), "why")
        self.workers.append(worker)
        return worker

    def _put_aside(self, name: str, reason: str) -> None:
        self.aside[name] = reason
        folder = JobFolder(self.san / name)
        jobattributes.load(folder).changed(held="foreman", why=reason).save(folder)

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.stops_at:
            self.dispatcher.stop(signal.SIGTERM)


class TestForeman:
    """Who starts what, and what becomes of it."""

    def test_all_that_waits_is_seen_through_and_then_it_ends(self, tmp_path: Path) -> None:
        for name, priority in (("a", 0), ("b", 5), ("c", -5)):
            _job(tmp_path, name, priority=priority)
        _job(tmp_path, "held", held="ann")
        _job(tmp_path, "later", not_before="2999-01-01T00:00:00.000Z")
        _job(tmp_path, "somebodys", submitted="")
        queue = _Queue(tmp_path, {})
        assert queue.dispatcher.run() is None
        assert queue.started == ["b", "a", "c"]
        assert queue.dispatcher.tally.codes == {0: 3}

    def test_one_comes_after_another(self, tmp_path: Path) -> None:
        _job(tmp_path, "a", after=["b"], priority=9)
        _job(tmp_path, "b")
        queue = _Queue(tmp_path, {})
        queue.dispatcher.run()
        assert queue.started == ["b", "a"]

    def test_what_cannot_be_mended_by_waiting_is_held_with_the_reason(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.DOCUMENT]})
        queue.dispatcher.run()
        assert queue.aside == {"a": "why"}
        assert queue.started == ["a"]
        assert queue.dispatcher.tally.codes == {ExitCode.DOCUMENT: 1}

    def test_where_no_host_was_found_it_is_tried_again_after_a_growing_while(
        self, tmp_path: Path
    ) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [4, 6, 0]}, is_once=False)
        queue.stops_at = 4 * FIRST_PAUSE
        assert queue.dispatcher.run() == signal.SIGTERM
        assert queue.started == ["a", "a", "a"]
        assert f"next try in {FIRST_PAUSE:g} s" in queue.said[0]
        assert f"next try in {2 * FIRST_PAUSE:g} s" in queue.said[1]

    def test_what_is_wrong_on_this_machine_alone_holds_nobody_else_up(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.USAGE, 0]}, is_once=False)
        queue.stops_at = 2 * FIRST_PAUSE
        queue.dispatcher.run()
        assert queue.remarks == [("a", "why")]
        assert queue.started == ["a", "a"]

    def test_once_tries_once(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [4]})
        queue.dispatcher.run()
        assert queue.started == ["a"]

    def test_a_job_that_somebody_else_got_is_his(self, tmp_path: Path) -> None:
        folder = _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.LEASE]})
        queue.stops_at = 30

        def got(entry: Entry) -> _Worker:
            jobattributes.load(folder).changed(over="done").save(folder)
            return _Queue._start(queue, entry)

        queue.start = got
        queue.dispatcher.run()
        assert not queue.dispatcher.tally.codes

    @pytest.mark.parametrize("code", [ExitCode.PARTIAL, ExitCode.LEASE])
    def test_a_job_that_ended_and_still_waits_is_not_started_for_ever(
        self, tmp_path: Path, code: ExitCode
    ) -> None:
        """A host has damaged what the queue goes by, or lays old attributes again and again."""
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [code] * 99})
        queue.dispatcher.run()
        assert queue.started == ["a", "a"]
        queue = _Queue(tmp_path, {"a": [code] * 99}, is_once=False)
        queue.stops_at = 200
        queue.dispatcher.run()
        assert queue.started == ["a"] * 4, "at once, then after 30 and 60 seconds"

    def test_a_signal_is_passed_on_and_waited_for(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [None]}, is_once=False)
        queue.stops_at = 5
        assert queue.dispatcher.run() == signal.SIGTERM
        assert queue.workers[0].signals == [signal.SIGTERM]
        assert queue.aside == {}

    def test_a_san_that_is_gone_is_told_once_and_waited_for(self, tmp_path: Path) -> None:
        san = tmp_path / "san"
        queue = _Queue(san, {}, is_once=False)
        queue.stops_at = 20
        san.mkdir()
        _job(san, "a")

        def fails() -> QueueSnapshot:
            if queue.now < 5:
                raise OSError(116, "Stale file handle", str(san))
            return QueueScanner(san).scan()

        queue.dispatcher._queue_scanner.scan = fails  # type: ignore[method-assign]  # a SAN that fails
        queue.dispatcher.run()
        assert queue.said[:2] == [
            f"the queue cannot be read: {san}: Stale file handle",
            "the queue can be read again",
        ]
        assert queue.started == ["a"]

    def test_a_signal_during_a_look_starts_nothing(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {}, is_once=False)
        look = queue.dispatcher._queue_scanner.scan

        def interrupted() -> QueueSnapshot:
            queue.dispatcher.stop(signal.SIGTERM)
            return look()

        queue.dispatcher._queue_scanner.scan = interrupted  # type: ignore[method-assign]  # a signal comes
        assert queue.dispatcher.run() == signal.SIGTERM
        assert queue.started == []

    def test_a_signal_while_one_is_being_started_reaches_it_once(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            _job(tmp_path, name)
        queue = _Queue(tmp_path, {"a": [None]}, is_once=False)

        class Slow(_Worker):
            """Needs a while to account for what it did."""

            def stop(self, number: int) -> None:
                self.signals.append(number)

            def ended(self) -> int | None:
                return 128 + signal.SIGTERM if queue.now > 5 else None

        def interrupted(entry: Entry) -> _Worker:
            queue.started.append(entry.name)
            queue.workers.append(Slow(JobFolder(tmp_path / entry.name), None))
            queue.dispatcher.stop(signal.SIGTERM)
            return queue.workers[-1]

        queue.start = interrupted
        assert queue.dispatcher.run() == signal.SIGTERM
        assert queue.started == ["a"]
        assert queue.workers[0].signals == [signal.SIGTERM]

    def test_a_look_that_hangs_is_waited_for_and_keeps_its_shelf(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _job(tmp_path, "a")
        is_back = threading.Event()
        looks: list[QueueScanner] = []
        real = QueueScanner.scan

        def look(queue_scanner: QueueScanner) -> QueueSnapshot:
            looks.append(queue_scanner)
            is_back.wait(30)
            return real(queue_scanner)

        monkeypatch.setattr(QueueScanner, "scan", look)
        monkeypatch.setattr(hangguard, "POLL_INTERVAL", 0.01)
        monkeypatch.setattr(HangDetector, "is_hanging", lambda watch: not is_back.is_set())
        queue = _Queue(tmp_path, {}, is_once=False)
        queue.stops_at = 20
        pause = queue.dispatcher._pause

        def passes(seconds: float) -> None:
            pause(seconds)
            if queue.now == 10:
                assert len(looks) == 1, "nobody looks while one hangs"
                is_back.set()
                guard = queue.dispatcher._hang_guard
                wait_until(lambda: not guard._abandoned.is_alive(), 30)  # type: ignore[union-attr]

        queue.dispatcher._pause = passes
        queue.dispatcher.run()
        assert len(queue.said) == 2
        assert queue.started == ["a"]
        assert all(queue_scanner is not looks[0] for queue_scanner in looks[1:])

    def test_it_comes_after_anothers_job_and_after_one_that_cannot_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(JobFolder, "belongs_to", lambda folder, user: "their" not in folder.name)
        theirs, damaged = _job(tmp_path, "theirs"), _job(tmp_path, "damaged")
        damaged.attributes.write_text("{")
        _job(tmp_path, "a", after=["theirs"])
        _job(tmp_path, "b", after=["damaged"])
        queue = _Queue(tmp_path, {})
        assert queue.dispatcher.run() is None
        assert queue.started == []
        Attributes().changed(over="done").save(theirs)
        shutil.rmtree(damaged.path)
        queue = _Queue(tmp_path, {})
        queue.dispatcher.run()
        assert sorted(queue.started) == ["a", "b"]

    def test_one_that_can_be_neither_seen_through_nor_held_is_left_alone_for_a_growing_while(
        self, tmp_path: Path
    ) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.DOCUMENT] * 9}, is_once=False)
        queue.put_aside = lambda name, reason: None  # the SAN is full, say
        queue.stops_at = 8 * FIRST_PAUSE
        queue.dispatcher.run()
        first, second, third = queue.begun_at[:3]
        assert second - first >= FIRST_PAUSE
        assert third - second >= 2 * FIRST_PAUSE

    def test_one_that_is_released_begins_at_once(self, tmp_path: Path) -> None:
        folder = _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.DOCUMENT, 0]}, is_once=False)
        queue.stops_at = FIRST_PAUSE / 2
        pause = queue.dispatcher._pause

        def released(seconds: float) -> None:
            pause(seconds)
            if queue.now == 5:
                jobattributes.load(folder).changed(held="").save(folder)

        queue.dispatcher._pause = released
        queue.dispatcher.run()
        assert queue.started == ["a", "a"]
        assert queue.dispatcher._failures == {}

    @pytest.mark.parametrize("code", [1, 5, 11, 127])
    def test_a_process_that_ends_without_a_word_tells_nothing_of_its_job(
        self, tmp_path: Path, code: int
    ) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [*[code] * 4, 0]}, is_once=False)
        start = queue.start

        def silent(entry: Entry) -> _Worker:
            worker = start(entry)
            assert isinstance(worker, _Worker)
            worker.why = ""
            return worker

        queue.start = silent
        queue.stops_at = 16 * FIRST_PAUSE
        queue.dispatcher.run()
        assert queue.started == ["a"] * 5
        assert queue.aside == {}
        assert f"(exit code {code})" in queue.said[0]

    def test_a_defect_is_for_a_person_once_it_came_again_and_again(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {"a": [ExitCode.BUG] * 9}, is_once=False)
        queue.stops_at = 16 * FIRST_PAUSE
        queue.dispatcher.run()
        assert len(queue.started) == DEFECTS == 3
        assert queue.remarks == [("a", "why")] * (DEFECTS - 1)
        assert queue.aside == {"a": "why"}

    def test_a_machine_that_has_no_room_for_a_process_tries_again(self, tmp_path: Path) -> None:
        _job(tmp_path, "a")
        queue = _Queue(tmp_path, {}, is_once=False)
        queue.stops_at = 2 * FIRST_PAUSE
        start = queue.start

        def full(entry: Entry) -> _Worker:
            queue.start = start
            raise BlockingIOError(11, "Resource temporarily unavailable")

        queue.start = full
        assert queue.dispatcher.run() == signal.SIGTERM
        assert queue.started == ["a"]
        assert "Resource temporarily unavailable" in queue.said[0]
