"""What a run waits for, and until when, in every view; and that no view counts that time as work."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import snapshot
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import FailureKind, JobEnd
from sshrender.views import jsonl, plain, progressboard
from sshrender.views.dashboard import tables
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import JobModel
from sshrender.views.rate import JournalRate, Rate, follow
from sshrender.views.text import clock_time
from tests.machine.test_scheduler import Script
from tests.tui.journals import BEGAN, Journal
from tests.unit.test_statements import _headline, _model, _report, _whole, journal_time

DESK = "desk (pid 7)"
UNTIL = f", waits until {clock_time(journal_time(121.0))}"


def _lost() -> Journal:
    """A job of ten pages; its only host was lost after a second, and is waited for two minutes."""
    journal = Journal(10, ["node1"])
    journal.deliver(1, "node1", journal.send(1, "node1"))
    journal.now = 1.0
    journal.state("node1", "lost", "no message for 8 s")
    journal.write("hosts_awaited", waits=120.0)
    return journal


def test_without_a_usable_host_every_view_says_until_when_the_run_waits() -> None:
    journal = _lost()
    words = f"no host is usable: 1 lost{UNTIL}"
    assert words in _headline(journal, DESK)
    assert f"waits     {words}" in _whole(_report(journal))
    told = _report(journal).as_json()["no_host"]
    assert told == {
        "reason": "no host is usable", "since": journal_time(1.0), "until": journal_time(121.0)
    }  # fmt: skip


@pytest.mark.parametrize("end", ["hosts_awaited", "run_ended", "run_started"])
def test_the_wait_for_a_host_ends(end: str) -> None:
    """Without a limit, too: then a host that others use is waited for until it is free."""
    journal = _lost()
    fields: dict[str, dict[str, Any]] = {
        "hosts_awaited": {"waits": 0.0},
        "run_ended": {"state": "partial", "reason": "x"},
        "run_started": {"epoch": 2},
    }
    journal.write(end, **fields[end])
    assert _report(journal).as_json()["no_host"] is None
    assert "waits until" not in _headline(journal, DESK) + _whole(_report(journal))


def _waits(script: Script) -> list[float]:
    return [each.seconds for each in script.log if isinstance(each, do.ReportNoHost)]


def test_a_run_records_how_long_it_waits_for_a_host_and_that_it_waits_no_more() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 9, Policy(wait=30.0))
    script.send(ev.HostLost("a", "cable"))
    assert _waits(script) == [], "another may still connect"
    script.send(ev.HostLost("b", "cable"), after=1.0)
    script.beat_until(10, [])
    assert _waits(script) == [30.0], "once, not on every turn"
    shot = snapshot.take(script.scheduler)
    assert shot.no_host_left == 20.0
    line = plain.progress_line(shot, Rate(), 0.0)
    assert line.endswith("no host is usable: 2 lost, waits 20s more")
    assert progressboard._waits(shot) == "no host is usable: 2 lost, waits 20s more"
    assert jsonl.status(shot, Rate(), 0.0)["no_host_seconds_left"] == 20.0
    script.connect("a")
    assert _waits(script) == [30.0, 0.0]
    assert snapshot.take(script.scheduler).no_host_left is None


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (ev.HoldRequested("ann"), ev.ReleaseRequested("ann")),
        (ev.StorageFailed("full"), ev.StorageRecovered()),
    ],
)
def test_time_in_which_no_host_could_render_is_no_time_without_hosts(
    begin: ev.Event, end: ev.Event
) -> None:
    """Else a job that was held overnight would end with its release."""
    script = Script([HostPlan("a", 1)], 9, Policy(wait=30.0))
    script.send(ev.HostLost("a", "cable"))
    script.beat_until(10, [])
    script.send(begin)
    script.beat_until(200, [])
    script.send(end)
    script.beat_until(29, [])
    assert script.end() is None
    script.beat_until(2, [])
    ended = script.end()
    assert ended is not None
    assert ended.end is JobEnd.NO_HOST


# Pages that cannot be written though the storage works


def _withheld() -> Journal:
    journal = Journal(10, ["node1", "node2"])
    attempt = journal.send(1, "node1")
    journal.now = 1.0
    journal.write(
        "attempt_failed", page=1, host="node1", attempt=attempt, kind="storage", reason="quota"
    )
    journal.write("storage_suspected", host="node1", reason="quota", waits=120.0)
    return journal


def _rows(model: JobModel) -> dict[str, str]:
    rows = tables.hosts(model, Styles(), "host", False)
    return {row.key: " ".join(map(str, row.cells)) for row in rows}


def test_a_free_host_that_gets_no_page_says_why_and_until_when() -> None:
    journal = _withheld()
    until = clock_time(journal_time(121.0))
    model = _model(journal)
    for name in ("node1", "node2"):
        assert "waits" in _rows(model)[name]
        assert f"waits until {until}: node1: quota" in _rows(model)[name]
        assert "free" not in _rows(model)[name]
    assert f"no page is sent, waits until {until}: node1: quota" in _headline(journal, DESK)
    report = _report(journal)
    assert f"node2 waits: waits until {until}: node1: quota" in _whole(report)
    assert report.as_json()["withheld"] == {
        "reason": "node1: quota", "since": journal_time(1.0), "until": journal_time(121.0)
    }  # fmt: skip
    assert {host["state"] for host in report.as_json()["hosts"]} == {"idle"}, "programs rely on that"
    journal.send(1, "node2")
    assert "free" in _rows(_model(journal))["node1"]
    assert _report(journal).as_json()["withheld"] is None


def test_a_page_that_was_in_work_does_not_end_the_time_without_pages() -> None:
    journal = Journal(10, ["node1", "node2"])
    early, late = journal.send(2, "node2"), journal.send(3, "node2")
    journal.write("storage_suspected", host="node1", reason="quota", waits=120.0)
    journal.now += 60.0
    journal.deliver(2, "node2", early)
    assert _report(journal).as_json()["withheld"] is not None
    journal.now += 61.0
    journal.deliver(3, "node2", late)
    assert _report(journal).as_json()["withheld"] is None


def test_a_run_records_that_no_page_is_sent_for_a_while() -> None:
    """The first probe follows at once, which is no wait."""
    script = Script([HostPlan("a", 1)], 9, Policy(storage_failures=9, storage_probe=2.0))
    script.connect("a")
    found = []
    for _ in range(3):
        attempt = next(iter(script.scheduler.hosts["a"].in_flight.values()))
        commands = script.send(ev.AttemptFailed("a", attempt.name, FailureKind.STORAGE, "quota"))
        found.append([each for each in commands if isinstance(each, do.ReportSuspicion)])
        shot = snapshot.take(script.scheduler)
        script.send(ev.LoadSampled("a", 0.0, 0.0), ev.StorageRecovered(), after=5.0)
    assert found == [
        [], [do.ReportSuspicion("a", "quota", 2.0)], [do.ReportSuspicion("a", "quota", 4.0)]
    ]  # fmt: skip
    assert (shot.withheld, shot.withheld_left) == ("a: quota", 4.0)
    assert plain.progress_line(shot, Rate(), 0.0).endswith("no page is sent for 4s: a: quota")
    assert snapshot.take(script.scheduler).withheld == ""


# The rate


def _ten_pages(journal: Journal, first: int) -> None:
    """Deliver ten pages, one a second."""
    for page in range(first, first + 10):
        attempt = journal.send(page, "node1")
        journal.now += 1.0
        journal.deliver(page, "node1", attempt)


def _hold(journal: Journal, op: str) -> None:
    journal.write("requested", op=op, by="ann", host="", page=0, note="", is_late=False)


STANDSTILLS: dict[str, tuple[Any, Any]] = {
    "a hold": (lambda each: _hold(each, "hold"), lambda each: _hold(each, "release")),
    "a pause": (
        lambda each: each.write("storage_failed", reason="full", waits=300.0),
        lambda each: each.write("storage_recovered"),
    ),
    "no host": (
        lambda each: each.state("node1", "lost", "no message for 8 s"),
        lambda each: each.state("node1", "idle", ""),
    ),
}


@pytest.mark.parametrize("kind", STANDSTILLS)
def test_after_a_standstill_the_first_page_promises_what_the_pages_before_it_did(kind: str) -> None:
    journal = Journal(100, ["node1"])
    begin, end = STANDSTILLS[kind]
    _ten_pages(journal, 1)
    begin(journal)
    journal.now += 3600.0
    end(journal)
    attempt = journal.send(11, "node1")
    journal.now += 1.0
    journal.deliver(11, "node1", attempt)
    left = _model(journal, 100).left(BEGAN + journal.now)
    assert left is not None
    assert 80 < left < 100
    rate = JournalRate()
    list(rate.following(journal.entries))
    told = rate.left(BEGAN + journal.now, 89)
    assert told is not None
    assert 80 < told < 100


def test_pages_that_are_delivered_after_a_hold_began_take_time() -> None:
    """Those in work are finished: the job stands still when the last of them is delivered."""
    journal = Journal(100, ["node1"])
    attempts = [journal.send(page, "node1") for page in range(1, 11)]
    _hold(journal, "hold")
    for page, attempt in enumerate(attempts, start=1):
        journal.now += 1.0
        journal.deliver(page, "node1", attempt)
    journal.now += 3600.0
    _hold(journal, "release")
    left = _model(journal, 100).left(BEGAN + journal.now)
    assert left is not None
    assert 80 < left < 100


def test_the_lines_of_a_run_promise_no_wild_time_after_a_standstill() -> None:
    script = Script([HostPlan("a", 1)], 100)
    script.connect("a")
    shot = snapshot.take(script.scheduler)
    for held, paused in (("held by ann", ""), ("", "full")):
        rate = Rate()
        for second in range(11):
            follow(rate, replace(shot, done=second, delivered_here=second), float(second))
        for second in range(11, 3611):
            still = replace(shot, done=10, delivered_here=10, running=0, held=held, paused=paused)
            follow(rate, still, float(second))
        view = io.StringIO()
        after = replace(shot, done=11, delivered_here=11)
        follow(rate, after, 3612.0)
        view.write(plain.progress_line(after, rate, 3612.0))
        told = jsonl.status(after, rate, 3612.0)["seconds_left"]
        assert 80 < told < 100, view.getvalue()
