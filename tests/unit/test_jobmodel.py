"""The job model that dashboard and overview share: whatever a journal holds, its counts are right."""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sshrender.coordinator.hosts.loadsampler import MIN_CHANGE, SAMPLE_INTERVAL, LoadSamples
from sshrender.coordinator.workers.thumbnailwriter import ThumbnailWriter
from sshrender.core.policy import HostPlan
from sshrender.core.records import Host
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import JournalTail, JournalWriter
from sshrender.job.journal.journalentries import UnknownEntry
from sshrender.job.journal.journalformat import SCHEMA
from sshrender.job.output import thumbnails
from sshrender.job.verification.errors import VerificationFailed
from sshrender.views import jobmodel
from sshrender.views.dashboard import terminalgraphics
from sshrender.views.jobmodel import JobModel, Span, packed
from tests.entries import entry, parsed
from tests.tui.journals import BEGAN, Journal, eventful

NAMES = ["a", "b"]
KINDS = [
    "run_started",
    "run_ended",
    "host_state",
    "host_connected",
    "hosts_sampled",
    "page_sent",
    "page_returned",
    "attempt_failed",
    "page_delivered",
    "page_suspected",
    "page_withdrawn",
    "page_failed",
    "storage_failed",
    "storage_recovered",
    "storage_suspected",
    "hosts_awaited",
    "document_diagnosed",
    "document_reopening",
    "requested",
    "something_new",
]
anything = st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=3) | st.floats()
entries = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "time": st.just("2026-11-23T20:00:00.000Z") | anything},
    optional={
        "page": st.integers(1, 5) | anything,
        "host": st.sampled_from(NAMES) | anything,
        "attempt": st.sampled_from(["1.1", "1.2", "1.3"]) | anything,
        "state": st.sampled_from(["idle", "lost", "done"]) | anything,
        "reason": anything,
        "kind": anything,
        "seconds": st.floats(0, 10) | anything,
        "diagnostics": st.lists(st.text(max_size=3), max_size=2) | anything,
        "loads": st.dictionaries(st.sampled_from(NAMES), st.tuples(st.floats(), st.floats())) | anything,
        "file": anything,
        "bytes": anything,
        "width": anything,
        "height": anything,
        "attempts": anything,
        "cores": anything,
        "slots": anything,
        "ghostscript": anything,
        "op": st.sampled_from(["hold", "release", "retry"]) | anything,
        "is_late": anything,
        "by": anything,
        "hosts": st.lists(st.sampled_from(NAMES)) | anything,
    },
)


@given(st.lists(entries, max_size=40))
def test_no_journal_however_damaged_breaks_the_job_model(told: list[dict[str, Any]]) -> None:
    job = JobModel(range(1, 6))
    for fields in told:
        found = parsed({"schema": SCHEMA, **fields})
        if found is not None:
            job.take(found)
        states = Counter(page.state for page in job.pages.values())
        assert states == +job.counts
    assert job.settled + job.missing == 5
    job.drawings(job.now + 1)
    job.left(job.now + 1)
    job.bars(20, job.now)


def test_the_job_model_knows_what_every_page_and_host_is() -> None:
    job = JobModel(range(1, 61))
    for each in eventful().entries:
        job.take(each)
    assert (job.counts["done"], job.counts["suspect"], job.counts["failed"]) == (37, 1, 1)
    assert job.counts["sent"] == 3
    assert {host.name: host.state for host in job.hosts.values()} == {
        "node1": "idle",
        "node2": "lost",
        "node3": "busy",
        "node4": "refused",
    }
    assert [drawing.flight.page for drawing in job.drawings(job.now)] == [41, 42]


def test_a_new_run_forgets_what_the_last_one_left_undone() -> None:
    told = eventful()
    told.write(
        "run_started", epoch=2, pages=60, output="/out", coordinator="attic (pid 9)", hosts=["node1"]
    )
    job = JobModel(range(1, 61))
    for each in told.entries:
        job.take(each)
    assert job.counts["sent"] == job.counts["failed"] == 0
    assert job.coordinator == "attic (pid 9)"
    assert job.drawings(job.now) == []


def test_nobody_is_told_how_long_a_held_job_will_take() -> None:
    told = Journal(100, ["node1"])
    for page in range(1, 30):
        told.now += 0.5
        told.deliver(page, "node1", told.send(page, "node1"))
    job = JobModel(range(1, 101))
    for each in told.entries:
        job.take(each)
    left = job.left(BEGAN + told.now)
    assert left == pytest.approx(71 / 2, rel=0.1)
    told.write("requested", op="hold", by="ann", host="", page=0, note="", is_late=False)
    job.take(told.entries[-1])
    assert job.left(BEGAN + told.now) is None


def test_while_no_host_is_usable_no_time_is_promised_and_the_reason_is_said() -> None:
    model = JobModel(range(1, 61))
    for each in eventful().entries:
        model.take(each)
    assert model.left(BEGAN + 10.0) is not None
    assert not model.none_usable
    for name, state in (("node1", "lost"), ("node3", "busy")):
        model.take(entry("host_state", BEGAN + 10.0, host=name, state=state, reason="gone"))
    assert model.none_usable == "no host is usable: 1 refused, 2 lost, 1 busy (others)"
    assert model.left(BEGAN + 10.0) is None


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 100), st.floats(0.01, 5)), max_size=60),
    st.integers(1, 4),
)
def test_a_timeline_never_shows_more_pages_at_once_than_a_host_has_slots(
    reports: list[tuple[str, float, float]], slots: int
) -> None:
    reports.sort(key=lambda report: report[1])
    spans = [Span(host, 1, end - seconds, end, True) for host, end, seconds in reports]
    shown = packed(spans, dict.fromkeys(NAMES, slots))
    assert [span.host for span in shown] == [span.host for span in spans]
    for span, before in zip(shown, spans, strict=True):
        assert span.end <= before.end + 1e-6
        assert span.end - span.start == pytest.approx(before.end - before.start)
    for span in shown:
        middle = (span.start + span.end) / 2
        at_once = [s for s in shown if s.host == span.host and s.start < middle < s.end]
        assert len(at_once) <= slots


def test_a_journal_is_followed_line_by_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    tail = JournalTail(path)
    assert tail.new() == []
    writer = JournalWriter(path)
    first, second = (
        entry("page_sent", BEGAN, page=page, host="a", attempt=f"1.{page}") for page in (1, 2)
    )
    writer.append([first])
    assert tail.new() == [first]
    with path.open("ab") as file:
        file.write(b'{"schema": 2, "time": "2026-11-23T20:00:00.000Z", "ty')
        file.flush()
        assert tail.new() == []
        file.write(b'pe": "x"}\nnonsense\n')
    assert [each.name for each in tail.new() if isinstance(each, UnknownEntry)] == ["x"]
    writer.append([second])
    assert tail.new() == [second]


def test_a_lease_is_believed_while_its_counter_moves(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    held = lease.take(path)
    now = [0.0]
    observer = lease.Observer(path, clock=lambda: now[0])
    assert observer.holder() is not None
    # A claim of another machine, whose pid nobody here can look at.
    elsewhere = path.read_text().replace('"boot": "', '"boot": "elsewhere-')
    path.write_text(elsewhere)
    assert observer.holder() is not None
    for _ in range(3):
        now[0] += 3
        assert observer.holder() is not None
    now[0] += 2
    assert observer.holder() is None
    path.write_text(elsewhere.replace('"counter": ', '"counter": 1'))
    assert observer.holder() is not None
    held.beat()
    path.write_text("{}")
    assert observer.holder() is not None  # its next beat mends that
    held.release()
    assert observer.holder() is None


def test_a_holder_that_runs_here_but_renews_nothing_is_named(tmp_path: Path) -> None:
    """Its process is stopped, or cannot write; another coordinator may take the job over."""
    held = lease.take(tmp_path / "lease")
    now = [0.0]
    observer = lease.Observer(tmp_path / "lease", clock=lambda: now[0])
    assert observer.holder() is not None
    assert observer.unresponsive() is None
    for _ in range(4):
        now[0] += 3
        last = observer.holder()
    assert last is None
    found = observer.unresponsive()
    assert found is not None
    assert found.pid == os.getpid()
    held.release()
    assert observer.holder() is None
    assert observer.unresponsive() is None


def test_time_in_which_nobody_could_look_says_nothing_about_a_holder(tmp_path: Path) -> None:
    """The shared folder hung for all, or the machine slept: the holder renews a moment later."""
    path = tmp_path / "lease"
    lease.take(path)
    path.write_text(path.read_text().replace('"boot": "', '"boot": "elsewhere-'))
    now = [0.0]
    observer = lease.Observer(path, clock=lambda: now[0])
    assert observer.holder() is not None
    now[0] += 3600
    assert observer.holder() is not None
    assert observer.dead_lease() == ""
    assert observer.unresponsive() is None  # it is of another machine
    looks = []

    def sleep_for_an_hour_once(seconds: float) -> None:
        looks.append(seconds)
        now[0] += 3600 if len(looks) == 1 else seconds
        if len(looks) == 3:  # the holder, which slept as well, renews now
            path.write_text(path.read_text().replace('"counter": ', '"counter": 1'))

    with pytest.raises(lease.LeaseHeld):
        lease.take(path, clock=lambda: now[0], pause=sleep_for_an_hour_once)


def test_loads_are_told_when_they_move_and_not_too_often() -> None:
    samples = LoadSamples()
    host = Host(HostPlan("a"), cores=2)
    host.others = 1.0
    assert samples.due([host], 100.0) == {"a": (0.5, 0.0)}
    host.others = 4.0
    assert samples.due([host], 100.0 + SAMPLE_INTERVAL / 2) == {}
    assert samples.due([host], 100.0 + SAMPLE_INTERVAL) == {"a": (2.0, 0.0)}
    host.others += MIN_CHANGE
    assert samples.due([host], 100.0 + 2 * SAMPLE_INTERVAL) == {}


def test_the_loads_of_a_large_farm_do_not_fill_the_journal() -> None:
    samples = LoadSamples()
    hosts = [Host(HostPlan(f"h{number}"), cores=2) for number in range(1000)]
    recorded = 0
    for second in range(600):
        for host in hosts:
            host.others = second % 2
        recorded += len(samples.due(hosts, float(second)))
    assert recorded <= 600 * 100 / SAMPLE_INTERVAL


def _jpeg(width: int = 158, height: int = 224) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "JPEG")
    return data.getvalue()


def test_a_thumbnail_is_kept_if_it_is_one(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.create()
    thumbnails.save(folder, "page-0007.png", _jpeg())
    assert (folder.thumbnails / "page-0007.jpg").read_bytes() == _jpeg()
    for bad in (b"", b"<script>", _jpeg()[:-2], _jpeg(4000, 10)):
        with pytest.raises(VerificationFailed):
            thumbnails.save(folder, "page-0008.png", bad)
    assert [path.name for path in folder.thumbnails.iterdir()] == ["page-0007.jpg"]


def test_what_a_gallery_could_not_keep_is_counted(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    thumbnail_writer = ThumbnailWriter(folder)  # nobody has made its folder
    thumbnail_writer.submit("page-0001.png", _jpeg())
    thumbnail_writer.submit("page-0002.png", b"no picture")
    thumbnail_writer.close(10)
    assert thumbnail_writer.lost == 2
    assert thumbnail_writer.reason == "No such file or directory"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"\x1b[?62;4;6c", terminalgraphics.SIXEL),
        (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", terminalgraphics.KITTY),
        (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c", terminalgraphics.SIXEL),
        (b"\x1b[?1;2c", terminalgraphics.CELLS),
        (b"\x1b[?64;44c", terminalgraphics.CELLS),
        (b"typed ahead", terminalgraphics.CELLS),
        (b"", terminalgraphics.CELLS),
    ],
)
def test_which_pictures_a_terminal_shows(answer: bytes, kind: str) -> None:
    assert terminalgraphics._kind_in(answer) == kind


def test_every_state_of_the_job_model_is_terminal_or_not() -> None:
    assert {jobmodel.DONE, jobmodel.SUSPECT, jobmodel.FAILED} == set(jobmodel.SETTLED)
