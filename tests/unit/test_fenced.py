"""A coordinator that was stopped between the check of its lease and what it does then does no harm."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.coordinator import jobrun
from sshrender.coordinator.jobplan import JobPlan
from sshrender.errors import UserError
from sshrender.job import fencedfiles, jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.history import History
from sshrender.job.journal.journal import JournalTail, JournalWriter
from sshrender.job.journal.journalformat import as_fields
from sshrender.job.lease import LeaseLost
from sshrender.job.nonce import Nonce
from sshrender.job.output import manifest, publish
from sshrender.job.queue import queueoperations
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings
from tests.entries import entry, lines_of

OPERATIONS = ("rename", "link", "unlink", "open", "listdir", "stat", "fsync")


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """Of a job."""
    made = JobFolder(tmp_path / "job")
    made.create()
    return made


class _At:
    """Does something at the ``number``-th operation on files, before it is carried out."""

    def __init__(self, number: int, work: Callable[[], object]) -> None:
        self.left = number
        self.work: Callable[[], object] | None = work

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            work = self.work
            if work is not None:
                self.left -= 1
                if self.left < 0:
                    self.work = None
                    work()
            return operation(*args, **kwargs)

        return counted


def _epoch(folder: JobFolder) -> int:
    """The next one, claimed and given back."""
    held = lease.take(folder.lease)
    held.release()
    return held.epoch


def test_attributes_of_a_lower_epoch_never_replace_a_higher_one_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor comes at any moment of a late coordinator's write."""
    refused = moment = 0
    while True:
        folder = JobFolder(tmp_path / f"job{moment}")
        folder.create()
        Attributes(why="first").save(folder)
        late = _epoch(folder)
        Attributes(why="second").save(folder, late)

        def succeed(folder: JobFolder = folder) -> None:
            Attributes(held="ann", why="by the successor").save(folder, _epoch(folder))

        at = _At(moment, succeed)
        with monkeypatch.context() as context:
            for name in OPERATIONS:
                context.setattr(os, name, at.wrap(getattr(os, name)))
            try:
                Attributes(why="late").save(folder, late)
            except LeaseLost:
                refused += 1
        if at.work is not None:
            break  # it had finished by then
        assert jobattributes.load(folder).held == "ann", moment
        assert json.loads(folder.attributes.read_text())["why"] == "by the successor", moment
        moment += 1
    assert refused == moment > 10
    assert jobattributes.load(folder).why == "late", "nobody has come"


def test_a_reader_finds_the_newest_attributes_though_the_file_is_away_for_a_moment(
    folder: JobFolder,
) -> None:
    epoch = _epoch(folder)
    Attributes(why="kept").save(folder, epoch)
    folder.attributes.unlink()
    assert jobattributes.load(folder).why == "kept"


def test_old_attributes_laid_as_a_higher_epoch_s_do_not_count(folder: JobFolder) -> None:
    """Neither for a reader nor for the next writer; not with the number in them a second time either."""
    first = _epoch(folder)
    Attributes(why="old").save(folder, first)
    old = folder.attributes.read_bytes()
    second = _epoch(folder)
    Attributes(why="new").save(folder, second)
    laid = folder.path / ".epochs" / "attributes.json.99999999"
    laid.write_bytes(old)
    assert jobattributes.load_signed(folder).why == "new"
    (folder.path / ".epochs" / "99999999").touch()
    assert jobattributes.load_signed(folder).why == "new"
    laid.write_bytes(old.replace(b"{", b'{"epoch": 99999999,', 1))
    with pytest.raises(UserError, match="damaged"):
        jobattributes.load_signed(folder)
    (folder.path / ".epochs" / "99999999").unlink()
    folder.attributes.write_bytes(b'{"schema": 1, "epoch": 99999999}')
    Attributes(why="newest").save(folder, second)
    assert jobattributes.load_signed(folder).why == "newest"


def test_a_file_has_its_plain_name_at_every_moment_of_a_write(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that are not this one read manifest.json by that name."""
    Attributes(why="first").save(folder, _epoch(folder))
    seen: list[bool] = []
    for name in OPERATIONS:
        operation = getattr(os, name)

        def looked(*args: Any, operation: Callable[..., Any] = operation, **kwargs: Any) -> Any:
            seen.append(os.path.lexists(folder.attributes))
            return operation(*args, **kwargs)

        monkeypatch.setattr(os, name, looked)
    for _ in range(2):
        Attributes(why="second").save(folder, _epoch(folder))
    assert len(seen) > 10
    assert all(seen)


def test_what_a_higher_epoch_s_hosts_write_stays_in_the_work_folder(folder: JobFolder) -> None:
    theirs = ["p000001.e8.a1.c0ffee", "s00ff.e8.1", "s00ff.e8.png", ".probe.e8.c0ffee-0011"]
    ours = ["p000001.e7.a1.c0ffee", "s00ff.e7.1", "s00ff.e6.png", ".probe.e6.space-0011", "sff.1"]
    for name in theirs + ours:
        (folder.work / name).touch()
    folder.clear_work(8)
    assert sorted(path.name for path in folder.work.iterdir()) == sorted(theirs)


def test_a_nonce_is_not_removed_by_a_lower_epoch(folder: JobFolder) -> None:
    higher = Nonce.create(folder, 8)
    Nonce.create(folder, 7)
    assert higher.path.exists()
    Nonce.create(folder, 9)
    assert not higher.path.exists()


def test_a_page_that_another_coordinator_has_published_meanwhile_is_not_removed(tmp_path: Path) -> None:
    page = tmp_path / "page-0001.png"
    page.write_text("damaged")
    seen = publish.identity(page)
    (tmp_path / "new").write_text("whole")
    (tmp_path / "new").rename(page)
    publish.remove(page, seen)
    assert page.read_text() == "whole"
    publish.remove(page, publish.identity(page))
    assert list(tmp_path.iterdir()) == []


def test_what_a_replaced_coordinator_writes_into_the_journal_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writers = [JournalWriter(path), JournalWriter(path)]
    tail = JournalTail(path)
    seen = []
    for epoch, kind in ((7, "run_started"), (7, "a"), (8, "run_started"), (7, "c"), (8, "b")):
        writers[epoch - 7].append([entry(kind, 0.0, epoch=epoch)])
        seen += tail.new()
    writers[0].append([entry("storage_recovered", 0.0)])
    seen += tail.new()
    told = ["run_started", "a", "run_started", "b", "storage_recovered"]
    assert [as_fields(line)["type"] for line in seen] == told
    assert [line["type"] for line in lines_of(path)] == told
    for writer in writers:
        with contextlib.suppress(OSError):
            writer.close()


def test_a_manifest_of_a_lower_epoch_never_replaces_a_higher_one_s(folder: JobFolder) -> None:
    def save(epoch: int, host: str) -> None:
        history = History(hosts={host: {"ghostscript": "10.00"}})
        manifest.save(folder, spec, history, [], "2026-01-01T00:00:00.000Z", epoch)

    document = DocumentRecord(name="doc.pdf", bytes=1, sha256="0" * 64, pages=1, needs_password=False)
    settings = RenderSettings(device="png16m", dpi=150, pages="1", split=0)
    spec = JobSpec(name="doc-00000000", created="", document=document, settings=settings)
    late, newer = _epoch(folder), _epoch(folder)
    save(newer, "newer")
    with pytest.raises(LeaseLost):
        save(late, "late")
    assert list(json.loads(folder.manifest.read_text())["hosts"]) == ["newer"]


@pytest.mark.parametrize("successor", ["a run", "a command"])
def test_a_successor_that_changes_nothing_still_refuses_what_its_predecessor_writes_late(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, successor: str
) -> None:
    """The predecessor was stopped after it had made sure that no higher epoch was claimed."""
    late = _epoch(folder)
    Attributes(over="done").save(folder, late)
    if successor == "a run":
        Attributes().save(folder, late)
        plan = SimpleNamespace(
            folder=folder,
            spec=SimpleNamespace(name="job"),
            attributes=None,
            request=SimpleNamespace(
                is_from_queue=False, is_delivered_as_asked=False, job_settings={}, changes={}
            ),
            compare_document=lambda: None,
        )
        held = lease.take(folder.lease)
        jobrun._apply_changes(cast(JobPlan, plan), held)
        held.release()
    else:
        queueoperations.change(folder, Request(Operation.RELEASE, "ann@desk"))
    with monkeypatch.context() as context:
        context.setattr(fencedfiles, "_require_newest", lambda path, epoch: None)
        with contextlib.suppress(LeaseLost):
            Attributes(why="late").save(folder, late)
    assert jobattributes.load(folder).why == ""
