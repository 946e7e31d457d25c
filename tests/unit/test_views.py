"""Board, plain lines and summary: complete, no wider than the terminal, and harmless to it."""

from __future__ import annotations

import io
import json
import os
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from sshrender.core.snapshot import HostView, Snapshot
from sshrender.errors import ExitCode, UserError
from sshrender.job.journal.journalentries import HostStateChanged, PageSuspected
from sshrender.views import jsonl, plain, progressboard, summary
from sshrender.views.hostwords import word
from sshrender.views.jsonl import JsonLinesView
from sshrender.views.nonblocking import NonBlockingStream
from sshrender.views.rate import Rate
from sshrender.views.reporter import Reporter
from sshrender.views.text import clean, duration

STATES = ("idle", "busy", "connecting", "unknown", "quarantined", "lost", "refused")
EVIL = "gone\x1b[2J\x07\u202e\nnext"


def _host(name: str, state: str, reason: str = "", slots: int = 2) -> HostView:
    return HostView(name, state, reason, slots, 1, 0.25, 0.5, 12, 0, 0.07)


def _snapshot(*hosts: HostView, total: int = 261, done: int = 100) -> Snapshot:
    return Snapshot(total, done, 2, 1, 50, 4, done, "", "", hosts)


def _shown(snapshot: Snapshot, width: int, height: int = 24, color: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=color)
    console.print(progressboard.render(snapshot, "job-12345678", Rate(), 10.0, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 50, 69, 70, 80, 160])
def test_a_long_reason_takes_no_width_from_other_columns(width: int) -> None:
    hosts = [_host(f"node{n}", state, "because " * 40) for n, state in enumerate(STATES)]
    shown = _shown(_snapshot(*hosts), width)
    for line in shown.splitlines():
        assert len(line) <= width
    for host in hosts:
        assert any(
            host.name in line and word(host.state, is_working=True) in line
            for line in shown.splitlines()
        )
    assert "102 of 261 pages" in shown
    assert "4 pages in work" in shown


def test_states_differ_without_colour() -> None:
    lines = _shown(_snapshot(*(_host("n", state) for state in STATES)), 80).splitlines()
    symbols = [line.split()[1] for line in lines if line.startswith("n ")]
    assert len(set(symbols)) == len(STATES)


def test_hosts_beyond_the_height_are_counted_and_busy_ones_come_first() -> None:
    hosts = [_host(f"dead{n}", "lost") for n in range(60)] + [_host("worker", "idle")]
    shown = _shown(_snapshot(*hosts), 80, height=24)
    assert len(shown.splitlines()) <= 24
    assert "worker" in shown
    assert "more" in shown


def test_text_from_a_host_cannot_act_on_the_terminal() -> None:
    host = _host("node", "lost", EVIL)
    for text in (
        _shown(_snapshot(host), 80),
        plain.describe(HostStateChanged(host=EVIL, state="lost", reason=EVIL)) or "",
        plain.describe(PageSuspected(page=1, diagnostics=(EVIL,))) or "",
    ):
        assert not set(text) & set("\x1b\x07\u202e")
    assert "\n" not in clean(EVIL)


def test_markup_in_a_reason_is_only_text() -> None:
    shown = _shown(_snapshot(_host("node", "lost", "[red]see[/red] [link=x]this[/link]")), 120)
    assert "[red]see[/red]" in shown


def test_the_rate_is_recent_and_not_shown_too_soon() -> None:
    rate = Rate()
    rate.note(0.0, 0)
    rate.note(0.5, 10)
    assert rate.per_second(1.0) is None
    rate.note(4.0, 40)
    assert rate.per_second(4.0) == pytest.approx(10.0)
    assert rate.left(4.0, 100) == pytest.approx(10.0)
    for second in range(5, 100):
        rate.note(float(second), 40 + second)
    assert rate.per_second(99.0) == pytest.approx(1.0, rel=0.1)


def test_while_no_host_is_usable_no_view_of_a_run_promises_a_time() -> None:
    rate = Rate()
    for second in range(10):
        rate.note(float(second), second)
    for state, has_time in (("idle", True), ("lost", False)):
        snapshot = _snapshot(_host("a", state), _host("b", "busy"), total=100, done=9)
        assert (" left" in plain.progress_line(snapshot, rate, 9.0)) is has_time
        assert (" left" in progressboard._pace(snapshot, rate, 9.0).plain) is has_time
        told = jsonl.status(snapshot, rate, 9.0)
        assert [told[key] is not None for key in ("seconds_left", "rate")] == [has_time] * 2
    assert plain.progress_line(snapshot, rate, 9.0).endswith(
        ", no host is usable: 1 lost, 1 busy (others)"
    )


def test_plain_lines_say_again_and_again_that_no_host_is_usable_while_one_is_needed() -> None:
    lost = replace(_snapshot(_host("a", "lost")), done=100)
    lines = {}
    for kind, shot in (
        ("lost", lost),
        ("held", replace(lost, held="held by ann")),
        ("complete", replace(lost, total=lost.settled)),
    ):
        stream = io.StringIO()
        view = plain.PlainView(stream)
        for second in range(200):
            view.snapshot(shot, float(second))
        lines[kind] = stream.getvalue().splitlines()
    assert len(lines["lost"]) >= 4
    assert all(line.endswith(", no host is usable: 1 lost") for line in lines["lost"])
    assert not any("usable" in line for line in lines["held"] + lines["complete"])
    assert all("held by ann" in line for line in lines["held"])


def test_progress_lines_are_rare_in_a_long_run() -> None:
    stream = io.StringIO()
    view = plain.PlainView(stream)
    for second in range(600):
        view.snapshot(_snapshot(_host("a", "idle"), total=10_000, done=second), float(second))
    assert 5 <= len(stream.getvalue().splitlines()) <= 20


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.2, 59.4, 60, 200, 3900)] == ["0s", "59s", "1m00s", "3m20s", "1h05m"]


def test_a_summary_lists_a_bounded_number_of_pages_and_hosts() -> None:
    failed = [
        {"page": n, "kind": "timeout", "reason": EVIL, "attempts": 3, "hosts": ["a", "b"]}
        for n in range(1, 101)
    ]
    lines = list(
        summary.lines(
            {
                "job": "j",
                "state": "partial",
                "output": "/out",
                "seconds": 12.0,
                "pages": {"total": 200, "done": 100, "suspect": 0, "failed": 100, "missing": 0},
                "failed_pages": failed,
                "suspect_pages": [],
                "notes": [],
                "fonts_missing": [],
                "hosts": [
                    {"name": f"n{n}", "state": "lost", "reason": EVIL, "pages": 0, "failures": 0}
                    for n in range(60)
                ],
            }
        )
    )
    assert len(lines) < 50
    assert "100 of 200 pages" in lines[0]
    assert any("80 more failed pages" in line for line in lines)
    assert "40 more hosts with problems" in lines[-1]
    assert not any("\x1b" in line for line in lines)


class _Stuck(io.StringIO):
    """A terminal that was stopped with Ctrl-S: writing to it blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed = threading.Event()

    def write(self, text: str) -> int:
        self.resumed.wait()
        return super().write(text)


def test_a_stopped_terminal_does_not_block_the_writer() -> None:
    stream = _Stuck()
    nonblocking = NonBlockingStream(stream)
    for number in range(100):
        print(f"line {number}", file=nonblocking, flush=True)
    assert stream.getvalue() == ""
    stream.resumed.set()
    nonblocking.drain()
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(100)]


def test_a_reader_that_exits_is_not_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    reporter = Reporter(stream, progress="plain")
    with reporter.showing("job") as view:
        view.print_line("lost")
    reporter.error(UserError(ExitCode.USAGE, "lost", "lost, too"))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_jsonl_tells_every_five_seconds_how_far_a_run_is() -> None:
    stream = io.StringIO()
    view = JsonLinesView(stream, "big-12345678")
    for second in range(13):
        view.snapshot(_snapshot(done=10 * second), float(second))
    view.close()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {(each["type"], each["job"], each["schema"]) for each in told} == {
        ("status", "big-12345678", 1)
    }
    assert [each["pages"]["done"] for each in told] == [0, 50, 100, 120]
    assert [each["percent"] for each in told] == sorted(each["percent"] for each in told)
    assert (told[0]["rate"], told[0]["seconds_left"]) == (None, None)
    assert told[1]["rate"] > 0
    assert told[1]["seconds_left"] > 0
