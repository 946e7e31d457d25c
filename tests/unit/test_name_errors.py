"""An error that belongs to one name fails that page or names that file; the storage is not suspected."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pwd
import queue
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from sshrender.api.storageconditions import check_storage
from sshrender.coordinator import inboxhandlers, pagerestoration
from sshrender.coordinator.storageerrors import output_error, run_error, storage_error
from sshrender.coordinator.workers import journalwriter, leaserenewer, writeerrorscope
from sshrender.coordinator.workers.journalwriter import JournalWriterThread
from sshrender.coordinator.workers.leaserenewer import LeaseRenewer
from sshrender.coordinator.workers.verificationresults import (
    Rejected,
    Result,
    StorageTrouble,
    SyncRefused,
    Unwritable,
    VerificationTask,
    Verified,
    Waits,
)
from sshrender.coordinator.workers.verifier import Verifier
from sshrender.coordinator.workers.writeerrorscope import (
    OUTPUT,
    SAN,
    NameTrouble,
    OutputFailed,
    classify,
)
from sshrender.core import events as ev
from sshrender.core.states import FailureKind
from sshrender.errors import ExitCode, UserError
from sshrender.job import lease
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.history import PageRecord
from sshrender.job.journal.journal import JournalWriter, read_journal
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.leasefiles import Claim
from sshrender.job.output import publish
from sshrender.job.spec import load_spec
from sshrender.job.status import jobstatus
from sshrender.job.verification.verify import Expected
from sshrender.renderers.devices import DEVICES
from sshrender.storage import primitives
from sshrender.storage.files import read_plain
from sshrender.views import joblist, plain
from sshrender.views.text import clock_time
from tests.cli import jobs

SOMEBODY = 5000
OF_ONE_NAME = (
    *("EISDIR", "ENOTDIR", "EPERM", "EACCES", "EBUSY", "ESTALE", "ETXTBSY", "ENAMETOOLONG", "ELOOP"),
    *("EROFS", "EXDEV", "EIO", "ENOTEMPTY", "EINVAL", "EFBIG"),
)
OF_ALL = ("ENOSPC", "EDQUOT", "ENOTCONN")


class _Sizes:
    def box(self, page: int) -> tuple[float, float] | None:
        return None

    def is_sound(self) -> bool:
        return True


@pytest.fixture(scope="module")
def image() -> bytes:
    """A page."""
    data = io.BytesIO()
    Image.new("RGB", (10, 10)).save(data, "PNG")
    return data.getvalue()


def _task(folder: Path, name: str, image: bytes) -> VerificationTask:
    for each in ("work", "pages", "out"):
        (folder / each).mkdir(exist_ok=True)
    (folder / "work" / name).write_bytes(image)
    places = (folder / "work" / name, folder / "pages" / name, folder / "out" / name)
    return VerificationTask("host", 1, name, *places, Expected(DEVICES["png16m"], 20, None))


def _verify(tasks: list[VerificationTask], name_wait: float = 0.2) -> list[Result | SyncRefused | Waits]:
    posted: list[Result | SyncRefused | Waits] = []
    verifier = Verifier(_Sizes(), lambda: None, posted.append, name_wait=name_wait)
    try:
        for task in tasks:
            verifier.submit(task)
        assert verifier.drain(60)
    finally:
        verifier.stop()
    return posted


def _of(posted: list[Result | SyncRefused | Waits], kind: type) -> dict[str, str]:
    found = [each for each in posted if isinstance(each, kind)]
    return {each.task.attempt: getattr(each, "reason", "") for each in found}  # type: ignore[union-attr]


@pytest.mark.parametrize("place", [OUTPUT, SAN])
def test_an_error_of_one_name_fails_that_page_after_a_while_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bytes, place: str
) -> None:
    """Told as it begins and as it ends; what belongs to all names is the storage's at once."""
    real = {"deliver": publish.deliver, "publish": publish.publish}
    name = "deliver" if place == OUTPUT else "publish"

    def refuse(page: int, *paths: Path | str) -> object:
        path = Path(paths[-2])
        if hasattr(errno, path.name):
            raise OSError(getattr(errno, path.name), "refused", str(path))
        return real[name](page, *paths)  # type: ignore[operator]

    monkeypatch.setattr(publish, name, refuse)
    names = (*OF_ONE_NAME, *OF_ALL, "free", "also")
    posted = _verify([_task(tmp_path, each, image) for each in names])
    failed = _of(posted, Unwritable)
    assert set(failed) == set(_of(posted, Waits)) == set(OF_ONE_NAME)
    assert set(_of(posted, Verified)) == {"free", "also"}
    troubles = _of(posted, StorageTrouble)
    assert set(troubles) == set(OF_ALL)
    folder = tmp_path / ("out" if place == OUTPUT else "pages")
    for each, reason in (failed | troubles).items():
        assert reason == f"{place}: {folder / each}: refused"


def test_a_name_that_becomes_free_in_time_is_delivered(tmp_path: Path, image: bytes) -> None:
    task = _task(tmp_path, "page", image)
    task.target.mkdir()
    posted: queue.SimpleQueue[Result | SyncRefused | Waits] = queue.SimpleQueue()
    verifier = Verifier(_Sizes(), lambda: None, posted.put, name_wait=60)
    try:
        verifier.submit(task)
        assert isinstance(posted.get(timeout=60), Waits)
        task.target.rmdir()
        assert isinstance(posted.get(timeout=60), Verified)
    finally:
        verifier.stop()
    assert task.target.read_bytes() == image


@contextlib.contextmanager
def _immutable(path: Path) -> Iterator[None]:
    path.write_text("old")
    if os.geteuid() or subprocess.run(["chattr", "+i", str(path)], check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    (path / "mine").mkdir(parents=True)
    yield


@contextlib.contextmanager
def _long(path: Path) -> Iterator[None]:
    yield


@pytest.mark.parametrize("what", [_immutable, _folder, _long])
def test_what_really_has_a_page_s_name_is_told_and_left_alone(
    tmp_path: Path, image: bytes, what: Callable[[Path], contextlib.AbstractContextManager[None]]
) -> None:
    task = _task(tmp_path, "page", image)
    if what is _long:
        task = VerificationTask(
            *("host", 1, "page", task.work, task.final, task.target.with_name("x" * 300)), task.expected
        )
    with what(task.target):
        (posted,) = [each for each in _verify([task]) if not isinstance(each, Waits)]
        assert isinstance(posted, Unwritable)
        assert posted.reason.startswith(f"{OUTPUT}: {task.target}: ")
        assert [path.name for path in (tmp_path / "out").iterdir()] in (["page"], [])
        if what is _immutable:
            told = run_error(
                OutputFailed.at(task.target, PermissionError(errno.EPERM, "x")), tmp_path, tmp_path
            )
            assert os.system(told.hint.partition(": ")[2]) == 0
    assert task.final.read_bytes() == image


def test_a_file_of_another_user_in_a_sticky_folder_is_that_name_s_error() -> None:
    if os.geteuid():
        pytest.skip("only root can be several users")
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are private
        reason, is_one_name = _of_another_user(Path(name))
    assert is_one_name
    assert f"{name}/page-0001.png" in reason


def _of_another_user(folder: Path) -> tuple[str, bool]:
    """Return how a user classifies that root's file has a page's name in a sticky folder."""
    folder.chmod(0o1777)
    target = folder / "page-0001.png"
    target.write_text("root's")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(SOMEBODY, SOMEBODY, SOMEBODY)
            os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
            own = folder / "own"
            own.write_text("a page")
            try:
                primitives.rename(str(own), str(target))
            except OSError as error:
                failure = classify(OutputFailed.at(target, error), target, target, "page")
                os.write(write, json.dumps(failure).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    reason, is_one_name = json.loads(os.read(read, 4096))
    return reason, is_one_name


@pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS, errno.EIO])
def test_a_folder_that_takes_no_file_is_the_storage_s_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(primitives, "rename", refuse)
    target = tmp_path / "page-0001.png"
    error = OSError(number, "refused", str(tmp_path / ".page-0001.png.12"), None, str(target))
    assert classify(error, target, target, "page") == (f"{SAN}: {target}: refused", False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("removed", ["pages", "work"])
def test_a_removed_folder_of_the_job_is_the_storage_s_error_and_no_host_s(
    tmp_path: Path, image: bytes, removed: str
) -> None:
    task = _task(tmp_path, "page", image)
    shutil.rmtree(tmp_path / removed)
    reason = f"{SAN}: {tmp_path / removed}: the folder is gone"
    assert _verify([task]) == [StorageTrouble(task, reason)]


@pytest.mark.parametrize("name", ["manifest.json", "overview.html", "attributes.json"])
def test_a_folder_in_the_place_of_a_job_s_file_is_told_with_what_frees_the_name(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "job" / name / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as raised:
        (tmp_path / "job" / "new").touch()
        (tmp_path / "job" / "new").rename(tmp_path / "job" / name)
    told = storage_error(raised.value, tmp_path)
    assert told.code is ExitCode.STORAGE
    assert told.what == f"{tmp_path / 'job' / name}: Is a directory"
    assert "mounted" not in told.hint
    assert os.system(told.hint.partition(": ")[2]) == 0
    (tmp_path / "job" / "new").rename(tmp_path / "job" / name)


def test_after_a_hang_the_hint_does_not_look_at_the_folder(tmp_path: Path) -> None:
    hang = TimeoutError(errno.ETIMEDOUT, "it does not answer", str(tmp_path))
    command = storage_error(hang, tmp_path).hint.rpartition(": ")[2]
    assert str(tmp_path) not in command
    assert os.system(f"{command} > {os.devnull}") == 0


@pytest.mark.parametrize("owner", ["another", "this user"])
def test_a_job_s_file_that_may_not_be_written_says_whose_the_job_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    (tmp_path / "job" / ".epochs").mkdir(parents=True)
    if owner == "another":
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    path = tmp_path / "job" / ".epochs" / ".lease-1"
    told = storage_error(PermissionError(errno.EACCES, "Permission denied", str(path)), tmp_path)
    (shown,) = shlex.split(told.hint.rpartition(": ls -ld ")[2])
    mine = pwd.getpwuid(os.getuid()).pw_name
    assert (f"user {mine}," in told.hint, shown) == (
        (True, str(tmp_path / "job")) if owner == "another" else (False, str(tmp_path))
    )


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # the name of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


@pytest.mark.parametrize("make", [_socket, os.mkfifo, os.mkdir, lambda path: path.symlink_to("gone")])
@pytest.mark.parametrize("name", ["lease", "journal.jsonl"])
def test_what_is_no_file_in_the_place_of_a_job_s_file_is_told_with_what_frees_the_name(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(OSError, match=name) as raised:
        read_plain(tmp_path / name)
    told = storage_error(raised.value, tmp_path)
    assert told.what.startswith(f"{tmp_path / name}: ")
    assert os.system(told.hint.partition(": ")[2]) == 0
    assert not os.path.lexists(tmp_path / name)


def test_a_file_in_the_place_of_a_folder_is_told_with_what_frees_the_name(tmp_path: Path) -> None:
    (tmp_path / ".epochs").touch()
    with pytest.raises(NotADirectoryError) as raised:
        next((tmp_path / ".epochs").iterdir())
    told = storage_error(raised.value, tmp_path)
    assert os.system(told.hint.partition(": ")[2]) == 0
    assert not (tmp_path / ".epochs").exists()


@pytest.mark.parametrize("is_one_name", [True, False])
def test_what_alone_cannot_be_removed_from_the_published_pages_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_name: bool
) -> None:
    """It is left to the page, which waits for its name; an error names the file itself."""
    path = tmp_path / "page-0002.png"
    path.write_text("of somebody")
    real = os.rename

    def refuse(source: str, target: str, **folders: int) -> None:
        if not is_one_name or source == path.name:
            raise OSError(errno.EPERM, "refused", source, None, target)
        real(source, target, **folders)

    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(primitives, "rename", refuse)
    seen = publish.identity(path)
    with pytest.raises(OSError, match="refused") as raised:
        publish.remove(path, seen)
    assert (raised.value.filename, raised.value.filename2) == (str(path), None)
    with contextlib.nullcontext() if is_one_name else pytest.raises(OSError, match="refused"):
        pagerestoration._remove(path, seen, lambda: None)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("number", [errno.EISDIR, errno.ENOSPC, errno.EPERM])
def test_an_error_in_the_output_folder_names_it_and_not_the_shared_folder(
    tmp_path: Path, number: int
) -> None:
    output, san = tmp_path / "out", tmp_path / "san"
    named = OSError(number, "refused", str(output / ".x"), None, str(output / "all.pdf"))
    for error in (named, OutputFailed.at(output / "all.pdf", OSError(number, "refused"))):
        told = run_error(error, san, output)
        assert "output folder" in told.what
        assert str(san) not in told.what + told.hint
    told = run_error(OSError(number, "refused", str(san / "x")), san, output)
    assert "output folder" not in told.what + told.hint


def test_a_journal_that_alone_cannot_be_written_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other files can be written, so that waiting for the storage would have no end."""
    monkeypatch.setattr(journalwriter, "NAME_WAIT", 0.1)
    monkeypatch.setattr(journalwriter, "RETRY_INTERVAL", 0.02)
    told: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    writer = JournalWriter(tmp_path / "journal.jsonl")

    def refuse() -> None:
        raise OSError(errno.EPERM, "refused", str(writer.path))

    monkeypatch.setattr(writer, "sync", refuse)
    thread = JournalWriterThread(writer, lambda: None, lambda why, is_final: told.put((why, is_final)))
    thread.close(0)
    while not (found := told.get(timeout=60))[1]:
        pass
    assert found[0] == f"cannot write the journal {writer.path}: refused"


def test_a_lease_that_alone_cannot_be_renewed_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.create()
    monkeypatch.setattr(leaserenewer, "NAME_WAIT", 0.1)
    monkeypatch.setattr(leaserenewer, "BEAT_SECONDS", 0.02)
    held = lease.take(folder.lease)
    folder.lease.unlink()
    (folder.lease / "x").mkdir(parents=True)
    posted: queue.SimpleQueue[leaserenewer.LeaseGone | ev.StorageFailed] = queue.SimpleQueue()
    renewer = LeaseRenewer(held, posted.put, folder.path)
    renewer.start()
    try:
        while not getattr(found := posted.get(timeout=60), "is_final", True):
            pass
    finally:
        renewer.stop()
    assert isinstance(found, ev.StorageFailed)


@pytest.mark.parametrize("end", ["", "page_failed", "page_delivered", "run_started"])
def test_status_says_what_a_page_waits_for_and_until_when_until_it_ends(
    tmp_path: Path, end: str
) -> None:
    fields = {
        "": {},
        "page_failed": {"page": 2, "kind": "unwritable", "reason": "r", "attempts": 1, "hosts": ()},
        "page_delivered": PageRecord(2, "page-0002.png", 1, "0" * 64, 1, 1).as_fields(),
        "run_started": {"epoch": 2},
    }[end]
    reason = f"{OUTPUT}: /out/page-0002.png: Is a directory"
    events = [jobs.started(), ("page_waits", {"page": 2, "reason": reason, "waits": 10.0})]
    folder = jobs.make(tmp_path, "report", [*events, *([(end, fields)] if end else [])])
    spec = load_spec(folder)
    assert spec is not None
    entries = list(read_journal(folder.journal))
    assert "page 2 waits until " in str(plain.describe(entries[1]))
    assert reason in str(plain.describe(entries[1]))
    holder = Claim(1, 1, "desk", 1, "", "", "0" * 32)
    report = jobstatus.of(folder, spec, entries, holder).as_json()
    told = "\n".join(joblist.whole({**report, "overview": None, "stats": None}))
    assert (report["waiting_pages"] == []) == bool(end)
    assert (f"page 2: rendered, since {_time(0)}, waits until {_time(10)}: {reason}" in told) != bool(
        end
    )


def _time(seconds: float) -> str:
    return clock_time(timestamp(jobs.LONG_AGO + 1 + seconds))


def test_a_storage_that_recovers_just_before_it_is_looked_at_is_no_trouble_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, works = [0.0], [True]
    monkeypatch.setattr(writeerrorscope, "why_unusable", lambda _folder, _name: "" if works[0] else "no")
    trouble = NameTrouble(10, lambda: now[0])
    error = OSError(errno.EROFS, "read-only")

    def is_lasting(at: float, has_recovered: bool) -> bool:
        now[0], works[0] = at, has_recovered
        return trouble.is_lasting(error, tmp_path, "x")

    assert [is_lasting(at, False) for at in (0, 5, 11)] == [False] * 3
    assert not is_lasting(12, True)
    assert [is_lasting(at, True) for at in (14, 21, 22)] == [False, False, True]
    trouble.clear()
    assert not is_lasting(23, True)


def _run(task: VerificationTask, pages_done: int = 0) -> tuple[Any, list[je.JournalEntry]]:
    """Return what handlers use of a run that verifies this page, and what they record."""
    recorded: list[je.JournalEntry] = []
    records = {task.attempt: SimpleNamespace(is_storage_failure_recorded=False, is_wait_recorded=False)}
    run = SimpleNamespace(
        attempts=SimpleNamespace(get=records.get, remove=records.pop),
        recorder=SimpleNamespace(record=recorded.append),
        messages=SimpleNamespace(attempt_failed=lambda event: [event]),
        scheduler=SimpleNamespace(
            paused="", storage_left=250.0, hosts={task.host: SimpleNamespace(pages_done=pages_done)}
        ),
    )
    return run, recorded


def test_a_page_for_which_a_storage_that_seems_well_has_no_room_says_what_it_waits_for(
    tmp_path: Path, image: bytes
) -> None:
    task = _task(tmp_path, "page", image)
    run, recorded = _run(task)
    for _ in range(4):
        inboxhandlers.on_storage_trouble(run, StorageTrouble(task, "the output folder: no room"))
    assert recorded == [je.PageWaits(page=1, reason="the output folder: no room", waits=250.0)]


@pytest.mark.parametrize(("pages_done", "is_unreadable"), [(0, True), (1, True), (0, False)])
def test_a_host_whose_first_page_cannot_be_read_here_is_refused_and_its_page_not_charged(
    tmp_path: Path, image: bytes, pages_done: int, is_unreadable: bool
) -> None:
    task = _task(tmp_path, "page", image)
    run, _ = _run(task, pages_done)
    events = inboxhandlers.on_rejected(run, Rejected(task, "why", is_unreadable=is_unreadable))
    is_refused = is_unreadable and not pages_done
    kinds = [each.kind for each in events if isinstance(each, ev.AttemptFailed)]
    assert kinds == [FailureKind.HOST if is_refused else FailureKind.BAD_OUTPUT]
    assert [each.host for each in events if isinstance(each, ev.HostRefused)] == ["host"] * is_refused


@pytest.mark.parametrize("name", ["ESTALE", "ENOTDIR", "EIO", "EACCES", "EBUSY", "ENOTCONN"])
def test_no_hint_moves_the_shared_or_the_output_folder_aside(tmp_path: Path, name: str) -> None:
    error = OSError(getattr(errno, name), "refused", str(tmp_path))
    for told in (storage_error(error, tmp_path), run_error(error, tmp_path, tmp_path)):
        assert "mv " not in told.hint
        assert str(tmp_path) in told.what


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_renames_is_called_one_as_by_hosts(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").touch()
    error = OSError(number, os.strerror(number), str(tmp_path / "new"), None, str(tmp_path / "old"))
    told = storage_error(error, tmp_path)

    def refuse(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(primitives, "rename", refuse)
    with pytest.raises(UserError) as by_hosts:
        check_storage(tmp_path)
    assert (told.what, told.hint) == (by_hosts.value.what, by_hosts.value.hint)


def test_a_link_that_leads_nowhere_is_named_with_what_makes_its_folder(tmp_path: Path) -> None:
    link, output = tmp_path / "a link", tmp_path / "a link" / "pages"
    link.symlink_to("not there")
    with pytest.raises(OSError, match="File exists") as failed:
        output.mkdir(parents=True)
    error = output_error(failed.value, output)
    assert f"{link} is a link to {tmp_path / 'not there'}" in error.what
    with pytest.raises(UserError) as missing:
        require_san(link)
    assert missing.value.hint.endswith(error.hint)
    subprocess.run(shlex.split(error.hint), check=True)
    output.mkdir(parents=True)
    require_san(link)
