"""The job's folder: journal, lease, publishing, history. Nothing is lost and nothing is half there."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.job import fencedfiles, lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history
from sshrender.job.journal.history import PageRecord, keep_present
from sshrender.job.journal.journal import JournalWriter, read_journal
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.journalformat import stamped
from sshrender.job.leasefiles import Claim, LeaseFiles
from sshrender.job.output import publish
from sshrender.job.spec import RenderSettings, job_name, safe_stem
from sshrender.storage.files import rename
from tests.entries import entry, fields_of


def _delivered(page: int) -> JournalEntry:
    record = PageRecord(page, f"page-{page:04d}.png", 10, "ab", 1, 2, "h", "10.0", 0.5, 1, ())
    return stamped(record.as_entry(), 0.0)


@given(
    st.lists(st.integers(1, 30), unique=True, max_size=12), st.integers(0, 4000), st.binary(max_size=20)
)
def test_a_torn_or_damaged_journal_loses_only_the_damaged_lines(
    tmp_path_factory: pytest.TempPathFactory, pages: list[int], cut: int, damage: bytes
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    writer = JournalWriter(path)
    writer.append(_delivered(page) for page in pages)
    writer.close()
    data = path.read_bytes()
    at = min(cut, len(data))
    path.write_bytes(data[:at] + damage)
    writer = JournalWriter(path)
    writer.append([_delivered(99)])
    writer.close()
    found = history.of(read_journal(path)).pages
    whole = data[:at].count(b"\n")
    assert set(pages[:whole]) <= set(found)
    assert set(found) <= {*pages, 99}
    assert 99 in found


def test_a_journal_that_could_not_be_written_is_written_again(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    real = os.write

    def half(descriptor: int, data: memoryview) -> int:
        real(descriptor, data[:7])
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            writer.append([_delivered(1)])
    writer.append([_delivered(1)])
    writer.close()
    assert set(history.of(read_journal(tmp_path / "journal.jsonl")).pages) == {1}


def test_suspicion_and_notes_are_replayed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path)
    writer.append(
        [
            _delivered(1),
            entry("page_suspected", 0.0, page=1, diagnostics=["bad operator"]),
            entry("document_diagnosed", 0.0, diagnostics=["incorrect xref size"]),
        ]
    )
    writer.close()
    damaged = [
        fields_of("page_delivered", 0.0, page="nonsense"),
        {"schema": 99, "type": "page_delivered"},
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in damaged)
    found = history.of(read_journal(path))
    assert found.pages[1].is_suspect
    assert found.notes == ["incorrect xref size"]
    keep_present(found, {"page-0001.png": 9}, "page-{:04}.png".format)
    assert found.pages == {}


def test_a_lease_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    held = lease.take(path)
    moved = iter(range(1000))

    def pause(seconds: float) -> None:
        held.beat()

    with pytest.raises(lease.LeaseHeld):
        lease.take(path, clock=lambda: next(moved), pause=pause)
    held.release()
    again = lease.take(path)
    assert again.epoch == held.epoch + 1


def _take_and_die(path: Path) -> None:
    lease.take(path)
    os._exit(9)


def test_the_lease_of_a_dead_process_of_this_machine_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    process = multiprocessing.get_context("fork").Process(target=_take_and_die, args=(path,))
    process.start()
    process.join()

    def no_pause(seconds: float) -> None:
        raise AssertionError("waited for the dead")

    assert lease.take(path, pause=no_pause).epoch == 2


def test_a_lease_from_elsewhere_that_stands_still_is_taken_over_and_its_holder_notices(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lease"
    first = lease.take(path)
    claim = json.loads(path.read_text())
    path.write_text(json.dumps({**claim, "boot": "another machine"}))
    moments = iter(range(1000))
    second = lease.take(path, clock=lambda: next(moments), pause=lambda seconds: None)
    assert second.epoch == 2
    with pytest.raises(lease.LeaseLost):
        first.beat()
    first.release()
    second.beat()


def test_an_observer_that_died_while_taking_over_does_not_block_the_job(tmp_path: Path) -> None:
    """It has claimed an epoch, and never beaten."""
    path = tmp_path / "lease"
    lease.take(path)
    claim = json.loads(path.read_text())
    path.write_text(json.dumps({**claim, "boot": "elsewhere"}))
    dead = {**claim, "epoch": 2, "boot": "elsewhere too", "token": "d" * 32}
    (tmp_path / ".epochs" / "00000002").write_text(json.dumps(dead))
    moments = iter(range(1000))
    taken = lease.take(path, clock=lambda: next(moments), pause=lambda seconds: None)
    assert taken.epoch == 3


def test_a_beat_that_comes_late_harms_nobody(tmp_path: Path) -> None:
    """Written by one that was frozen between looking and writing, and is not the holder any more."""
    path = tmp_path / "lease"
    lease.take(path)
    late = path.read_text().replace('"boot": "', '"boot": "elsewhere-')
    path.write_text(late)
    moments = iter(range(1000))
    second = lease.take(path, clock=lambda: next(moments), pause=lambda seconds: None)
    path.write_text(late)
    holder = lease.holders([path])[path]
    assert holder is not None
    assert holder.epoch == second.epoch
    second.beat()
    assert json.loads(path.read_text())["epoch"] == 2
    second.release()
    path.write_text(late)
    assert lease.take(path, clock=lambda: next(moments), pause=lambda seconds: None).epoch == 3


def test_an_epoch_is_given_once_even_to_an_observer_that_slept(tmp_path: Path) -> None:
    """It saw the lease dead, and claims the next epoch long after others have had that one, and left."""
    files = LeaseFiles(tmp_path / "lease")
    claims = [Claim(0, 1, "h", 1, "b", "s", f"{number:032x}") for number in range(3)]
    assert files.claim(claims[0])
    assert not files.claim(claims[1])
    assert files.claim(replace(claims[2], epoch=2))
    assert not files.claim(claims[1])
    assert files.newest_epoch() == 2
    assert files.claimant(1) == claims[0]


def test_a_holder_that_was_frozen_looks_before_it_does_anything(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    now = [0.0]
    first = lease.take(path, clock=lambda: now[0])
    first.ensure()
    path.write_text(path.read_text().replace('"boot": "', '"boot": "elsewhere-'))
    moments = iter(range(1000))
    lease.take(path, clock=lambda: next(moments), pause=lambda seconds: None)
    now[0] += lease.LEASE_SECONDS
    with pytest.raises(lease.LeaseLost):
        first.ensure()


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"counter": "x"}', "[1]"])
def test_a_damaged_lease_is_no_lease(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease"
    path.write_text(text)
    lease.take(path).beat()


def test_a_rename_that_worked_though_it_reported_an_error_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, final = tmp_path / "attempt", tmp_path / "final"
    attempt.write_text("x")
    (tmp_path / ".epochs").mkdir()
    (tmp_path / ".epochs" / "00000003").write_text("{}")
    record = tmp_path / "record.json"
    real = os.rename

    def lying(source: str, target: str, **places: int) -> None:
        real(source, target, **places)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", lying)
    rename(attempt, final)
    assert final.read_text() == "x"
    publish.remove(final, publish.identity(final))
    assert not final.exists()
    fencedfiles.write(record, b'{"epoch": 3}', 3)
    assert record.read_bytes() == b'{"epoch": 3}'


def _deliver(final: Path, target: Path) -> None:
    with final.open("rb") as page:
        publish.deliver(page.fileno(), target, hashlib.sha256(final.read_bytes()).hexdigest())


def test_delivery_links_and_replaces_what_is_not_the_page(tmp_path: Path) -> None:
    final, target = tmp_path / "final", tmp_path / "out"
    final.write_text("page")
    target.write_text("something else")
    _deliver(final, target)
    assert target.read_text() == "page"
    assert target.stat().st_ino == final.stat().st_ino
    _deliver(final, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "out"]


def test_delivery_across_file_systems_copies_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, target = tmp_path / "final", tmp_path / "out"
    final.write_text("page")

    def cross_device(source: object, link: object, **kwargs: object) -> None:
        if Path(str(link)).exists():
            raise FileExistsError
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", cross_device)
    _deliver(final, target)
    inode = target.stat().st_ino
    assert target.read_text() == "page"
    _deliver(final, target)
    assert target.stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "out"]


@pytest.mark.parametrize(
    ("san_mode", "job_mode", "work_mode"),
    [
        (0o777, 0o755, 0o1777),
        (0o1777, 0o755, 0o1777),
        (0o775, 0o755, 0o1777),
        (0o770, 0o750, 0o1777),
        (0o700, 0o700, 0o700),
    ],
)
def test_a_job_is_as_open_as_its_san(
    tmp_path: Path, san_mode: int, job_mode: int, work_mode: int
) -> None:
    san = tmp_path / "san"
    san.mkdir()
    san.chmod(san_mode)
    folder = JobFolder(san / "job")
    folder.create()
    assert stat.S_IMODE(folder.path.stat().st_mode) == job_mode
    assert stat.S_IMODE(folder.work.stat().st_mode) == work_mode


@given(st.text(max_size=200))
def test_any_document_name_makes_a_harmless_job_name(stem: str) -> None:
    name = job_name(stem, "0" * 64, RenderSettings(device="png16m", dpi=150, pages="1"))
    assert len(name.encode()) <= 255
    assert "/" not in name
    assert not name.startswith((".", "-"))
    assert safe_stem(stem).isprintable()


def test_a_job_is_named_by_document_and_settings() -> None:
    settings = RenderSettings(device="png16m", dpi=150, pages="1-10")
    name = job_name("big", "a" * 64, settings)
    assert name == job_name("big", "a" * 64, settings)
    assert name != job_name("big", "b" * 64, settings)
    assert name != job_name("big", "a" * 64, RenderSettings(device="png16m", dpi=151, pages="1-10"))


@pytest.mark.parametrize(
    ("page", "total", "name"), [(7, 9, "page-0007.png"), (12, 10440, "page-00012.png")]
)
def test_page_names(page: int, total: int, name: str) -> None:
    assert publish.page_name(page, total, "png") == name
