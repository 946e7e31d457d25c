"""The list of all jobs and hosts, and what is said while a document is opened or opened again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.api.joblistsource import DocumentListSource, JobListSource, whole_queue
from sshrender.api.runcontext import FAILED
from sshrender.api.web.jobfeed import JobFeed
from sshrender.config import inventory
from sshrender.config.inventory import HostTable
from sshrender.document import staging
from sshrender.errors import UserError
from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.queue import drains
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings
from sshrender.runner.rendering import diagnosticsearch
from sshrender.runner.rendering.warmsession import Answer, Session
from sshrender.runner.slots.taskqueue import Task
from sshrender.runner.wire import Wire
from sshrender.views.dashboard.source import JobLine, Listed
from sshrender.views.joblines import changed
from tests.entries import entry
from tests.unit.slots import SETUP

PAGES = 4
NOW = time.time()
Made = Callable[..., JobFolder]


@pytest.fixture
def san(home: Path) -> Path:
    """A shared folder."""
    folder = home / "san"
    folder.mkdir()
    return folder


@pytest.fixture
def job(san: Path) -> Made:
    """Make a job of four pages without a document."""

    def make(name: str, at: float = NOW, **attributes: Any) -> JobFolder:
        folder = JobFolder(san / f"{name}-12345678")
        folder.path.mkdir()
        folder.create()
        Attributes().changed(owner="ann@desk", **attributes).save(folder)
        document = DocumentRecord(name=f"{name}.pdf", bytes=1, sha256="0" * 64, pages=PAGES)
        settings = RenderSettings(device="png16m", dpi=36, pages=f"1-{PAGES}")
        created = "2026-01-01T00:00:00.000Z"
        JobSpec(name=folder.name, created=created, document=document, settings=settings).save(folder)
        started: dict[str, Any] = {"output": "", "coordinator": "desk", "hosts": ["node1", "node2"]}
        _write(folder, [entry("run_started", at, epoch=1, pages=PAGES, **started)])
        return folder

    return make


def _write(folder: JobFolder, entries: Sequence[JournalEntry]) -> None:
    writer = JournalWriter(folder.journal)
    writer.append(entries)
    writer.close()


def _delivered(page: int, at: float = NOW) -> JournalEntry:
    facts: dict[str, Any] = {"file": f"page-{page:04d}.png", "bytes": 1, "sha256": "0" * 64, "width": 1}
    facts |= {"height": 1, "ghostscript": "10", "seconds": 0.5, "attempts": 1, "diagnostics": []}
    return entry("page_delivered", at, page=page, host="node1", attempt=f"1.{page}", **facts)


def _sent(page: int) -> JournalEntry:
    return entry("page_sent", NOW, page=page, host="node1", attempt=f"1.{page}")


def _state(host: str, state: str, reason: str = "") -> JournalEntry:
    return entry("host_state", NOW, host=host, state=state, reason=reason)


def _hosts(san: Path, *names: str) -> list[HostTable]:
    file = san.parent / "hosts.toml"
    tables = "".join(f'[[hosts]]\nname = "{name}"\n' for name in names)
    file.write_text(f'[san]\npath = "{san}"\n{tables}')
    return inventory.expand(inventory.load(file))


def test_a_pool_is_listed_for_all_running_jobs_and_a_pilot_with_its_node(san: Path, job: Made) -> None:
    first, second, over = job("first"), job("second"), job("over")
    leases = [lease.take(each.lease) for each in (first, second)]
    for folder in (first, second, over):
        report = entry(
            "pool_reported", NOW, pool="cluster", waiting=2, running=1, reason="why", start=""
        )
        _write(folder, [report])
    pilot = {"host": "slurm:12_3", "cores": 4, "ghostscript": "10", "python": "3", "node": "node07"}
    _write(first, [entry("host_connected", NOW, **pilot), _state("slurm:12_3", "idle")])
    listed = JobListSource(san, "jobs", []).read()
    (pool,) = listed.pools
    assert (pool.name, pool.waiting, pool.running, pool.reason) == ("cluster", 4, 2, "why")
    assert set(pool.jobs) == {first.name, second.name}
    assert {host.name: host.reason for host in listed.hosts}["slurm:12_3"] == "on node07"
    assert len(leases) == 2


def test_a_running_job_is_followed_and_a_finished_one_is_read_again_when_it_has_changed(
    san: Path, job: Made
) -> None:
    old, new = job("old", NOW - 100), job("new")
    _write(old, [_delivered(page, NOW - 90) for page in range(1, PAGES + 1)])
    held = lease.take(new.lease)
    _write(new, [_state("node1", "idle"), _sent(1), _sent(2), _delivered(1)])
    table = JobListSource(san, "jobs", _hosts(san, "node1", "node9"))
    listed = table.read()
    assert [(line.name, line.state, line.done, line.total) for line in listed.jobs] == [
        (new.name, "running", 1, PAGES),
        (old.name, "done", PAGES, PAGES),
    ]
    first, ended = listed.jobs
    assert (first.owner, first.hosts, first.is_coordinated) == ("ann@desk", 1, True)
    assert (first.submitted[-1:], first.ended) == ("Z", "")
    assert ended.ended == timestamp(NOW - 90)

    _write(new, [entry("storage_failed", NOW, reason="No space left on device"), _delivered(2)])
    first = table.read().jobs[0]
    assert (first.state, first.note, first.done) == ("paused", "No space left on device", 2)

    _write(new, [entry("storage_recovered", NOW), _delivered(3), _delivered(4)])
    _write(new, [entry("run_ended", NOW, state="done", reason="")])
    held.release()
    first = table.read().jobs[0]
    assert (first.name, first.state, first.done) == (new.name, "done", PAGES), "the latest one first"


def test_a_running_job_without_a_usable_host_says_so_and_has_no_speed(san: Path, job: Made) -> None:
    folder = job("one", NOW - 20)
    feed = JobFeed(san, folder.name)
    table = JobListSource(san, "jobs", ())
    held = lease.take(folder.lease)
    _write(folder, [_delivered(page, NOW - 9 + 3 * page) for page in (1, 2)])
    for state, words in (("idle", ""), ("drained", "no host is usable: 2 drained")):
        _write(folder, [_state("node1", state), _state("node2", state)])
        feed.update()
        (line,), page = table.read().jobs, feed.status()
        assert (line.state, page["state"]) == ("running", "running")
        assert line.note == page["reason"] == words
        assert [each is None for each in (line.speed, page["speed"])] == [bool(words)] * 2
    held.release()


def test_a_job_that_is_done_need_not_be_held(san: Path, job: Made) -> None:
    folder = job("one", over="done")
    _write(folder, [_delivered(page) for page in range(1, PAGES + 1)])
    table = JobListSource(san, "jobs", ())
    assert table.change(folder.name, Operation.HOLD) == "is done: all pages are delivered"
    (line,) = table.read().jobs
    assert (line.state, line.note) == ("done", "")


def test_unfinished_jobs_come_first_and_one_that_is_gone_is_gone(san: Path, job: Made) -> None:
    job("a-done")
    _write(JobFolder(san / "a-done-12345678"), [_delivered(page) for page in range(1, PAGES + 1)])
    job("b-queued", submitted="2026-01-01T00:00:00.000Z")
    job("c-held", submitted="2026-01-01T00:00:00.000Z", held="bob@lab")
    damaged = job("d-damaged")
    damaged.spec.write_text("{")
    table = JobListSource(san, "jobs", ())
    listed = table.read()
    states = [line.state for line in listed.jobs]
    assert states[:2] == ["held", "queued"]
    assert set(states[2:]) == {"done", "unreadable"}
    assert not next(line for line in listed.jobs if line.state == "unreadable").key, (
        "it cannot be opened"
    )
    (san / "b-queued-12345678").rename(san / ".removed-b")
    assert len(table.read().jobs) == 3
    assert table.open("c-held-12345678").facts.document == "c-held.pdf"


def test_queued_jobs_are_listed_as_they_will_start(san: Path, job: Made) -> None:
    job("first", submitted="2026-01-01T00:00:00.000Z")
    job("second", submitted="2026-01-01T00:00:05.000Z")
    job("urgent", submitted="2026-01-01T00:00:09.000Z", priority=500)
    names = [line.name.removesuffix("-12345678") for line in JobListSource(san, "jobs", ()).read().jobs]
    assert names == ["urgent", "first", "second"]


def test_hosts_are_those_of_all_running_jobs_and_of_the_inventory(san: Path, job: Made) -> None:
    leases = []
    for name in ("one", "two"):
        folder = job(name)
        leases.append(lease.take(folder.lease))
        facts = {"cores": 4, "slots": 4, "ghostscript": "10", "python": "3"}
        _write(folder, [entry("host_connected", NOW, host="node1", **facts), _state("node1", "idle")])
        _write(folder, [_sent(1), _state("node2", "lost", "not heard for 8 s")])
        small = entry("host_connected", NOW, host="node3", **{**facts, "slots": 1})
        _write(
            folder,
            [
                small,
                _state("node3", "idle"),
                entry("page_sent", NOW, page=2, host="node3", attempt="1.2"),
            ],
        )
    drains.drain(san, "node9", "bob@lab", "a new disk")
    listed = JobListSource(san, "jobs", _hosts(san, "node1", "node9")).read()
    by_name = {host.name: host for host in listed.hosts}
    assert list(by_name) == ["node1", "node2", "node3", "node9"]
    shared = by_name["node3"]
    assert (shared.running, shared.slots) == (1, 1), "two jobs share the slot: one page waits"
    assert (by_name["node1"].running, by_name["node1"].slots) == (2, 4), "a page of each job"
    assert len(by_name["node1"].jobs) == 2
    assert (by_name["node2"].state, by_name["node2"].reason) == ("lost", "not heard for 8 s")
    assert by_name["node9"].state == "drained"
    assert "a new disk" in by_name["node9"].reason
    for held in leases:
        held.release()


def test_documents_without_a_job_wait_or_say_why_they_failed(san: Path, job: Made) -> None:
    opened: list[str] = []
    stages = {"b.pdf": "counting the pages", "c.pdf": FAILED + "c.pdf: not a PDF"}
    names = ["a.pdf", "b.pdf", "c.pdf", "d.pdf"]
    table = DocumentListSource(san, (), names, jobs=lambda: opened, stages=lambda: stages)
    states = [(line.name, line.state, line.note) for line in table.read().jobs]
    assert states == [
        ("a.pdf", "waiting", ""),
        ("b.pdf", "opening", "counting the pages"),
        ("c.pdf", "failed", "c.pdf: not a PDF"),
        ("d.pdf", "waiting", ""),
    ]
    opened.append(job("a").name)
    assert [line.name for line in table.read().jobs] == ["a-12345678", "b.pdf", "c.pdf", "d.pdf"]


def test_a_shared_folder_that_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        whole_queue(home / "nowhere", None)


def test_without_a_terminal_each_job_that_has_changed_is_a_line() -> None:
    one = JobLine("a", "a-1", "running", 10, 3, hosts=2, speed=4.2, left=2.0, is_coordinated=True)
    two = JobLine("b", "long-name-2", "partial", 10, 8, 0, 2, note="2 pages failed")
    before = Listed((one, two))
    (first, second) = changed(None, before, NOW)
    assert first.endswith("a-1          running, 3/10 pages, on 2 hosts, 4.2 pages/s, 2s left")
    assert second.endswith("long-name-2  partial, 8/10 pages, 2 failed: 2 pages failed")
    faster = JobLine("a", "a-1", "running", 10, 3, hosts=1, speed=4.5, left=1.0, is_coordinated=True)
    assert list(changed(before, Listed((faster, two)), NOW)) == [], "nothing has happened"
    (gone,) = changed(before, Listed((one,)), NOW)
    assert gone.endswith("long-name-2  removed")
    assert list(changed(None, Listed(), NOW)) == ["no jobs"]


def test_copying_a_document_reports_how_much_was_read(tmp_path: Path) -> None:
    source = tmp_path / "big.pdf"
    source.write_bytes(b"x" * (3 << 20))
    read: list[int] = []
    with staging.Staged(source, tmp_path, read.append) as staged:
        assert staged.sha256 == staging.digest(source, read.append)
    assert read == [1 << 20, 2 << 20, 3 << 20] * 2


class _Opened:
    """Stands for a Session whose document reports a problem when it is closed."""

    setup = SETUP

    def open(self, _timeout: float) -> Answer:
        return Answer("4", [])

    def close_document(self, _timeout: float) -> Answer:
        return Answer("", [])


class _Sent:
    """Stands for a Wire."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def post(self, type_: str, can_wait: bool = False, **fields: Any) -> None:
        """Keep a message."""
        self.messages.append((type_, fields))


@pytest.mark.parametrize("seconds", [0.1, 31.0])
def test_a_slot_reports_that_it_opens_a_document_again_if_that_takes_long(
    tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    fake = SimpleNamespace(monotonic=lambda: next(clock) * seconds)
    monkeypatch.setattr("sshrender.runner.rendering.diagnosticsearch.time", fake)
    sent, session = _Sent(), cast("Session", _Opened())
    window = diagnosticsearch.DiagnosticWindow(
        cast("Wire", sent), str(tmp_path), 60.0, lambda _: session
    )
    window.open(session)
    window.add(Task("1.7", 7, "source.pdf", 7, "out"), 1.0)
    window.close(session)
    expected = {"attempt": "1.7", "page": 7, "seconds": seconds}
    found = [(type_, fields) for type_, fields in sent.messages]
    if seconds < 1:
        assert found == []
    else:
        assert found == [
            ("reopening", {**expected, "is_over": False}),
            ("reopening", {**expected, "is_over": True}),
        ]
