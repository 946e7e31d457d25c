"""Shared folders without hard links, without modes, or whose folders cannot be flushed, are as good."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshrender.api.storageconditions import check_storage, in_words
from sshrender.config import keyfile
from sshrender.coordinator.hosts import hostcheck
from sshrender.errors import ExitCode, UserError
from sshrender.job import fencedfiles, lease
from sshrender.job.folder import JobFolder
from sshrender.job.foldersync import Folders
from sshrender.job.lease import LeaseLost
from sshrender.job.leasefiles import Claim, LeaseFiles
from sshrender.job.nonce import Nonce
from sshrender.job.output import outputrecordfiles, publish
from sshrender.runner.host import jobfolder
from sshrender.storage import files, newfiles, primitives

REFUSALS = ("EPERM", "EOPNOTSUPP", "ENOSYS")
SOMEBODY = 5000
PAGE = b"a page"


def _refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_paths: object, **_options: object) -> None:
        raise OSError(number, "no links")

    monkeypatch.setattr(os, "link", refuse)


def _refuse_modes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, "no modes")

    for name in ("fchmod", "chmod", "fchown", "chown"):
        monkeypatch.setattr(os, name, refuse)


def _refuse_flushes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "no flushes")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


LACKS: dict[str, Callable[[pytest.MonkeyPatch, int], None]] = {
    "links": _refuse_links,
    "modes": _refuse_modes,
    "sync": _refuse_flushes,
}


@pytest.fixture(params=[(lack, name) for lack in LACKS for name in REFUSALS], ids="-".join)
def lack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that refuses one thing with one error."""
    what, name = request.param
    LACKS[what](monkeypatch, getattr(errno, name))
    return str(what)


def test_a_job_s_folder_lease_files_and_pages_work_there(tmp_path: Path, lack: str) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.create()
    folder.complete()
    Nonce.create(folder).remove()
    held = lease.take(folder.lease)
    assert not LeaseFiles(folder.lease).claim(Claim(1, 1, "other", 1, "", "", "0" * 32))
    held.beat()
    fencedfiles.write(folder.attributes, b'{"schema": 1, "epoch": 1, "a": 1}', 1)
    held.release()
    assert lease.take(folder.lease).epoch == 2
    fencedfiles.write(folder.attributes, b'{"schema": 1, "epoch": 2, "a": 2}', 2)
    with pytest.raises(LeaseLost):
        fencedfiles.write(folder.attributes, b'{"schema": 1, "epoch": 1, "a": 3}', 1)
    assert b'"a": 2' in fencedfiles.read(folder.attributes)
    attempt, final = folder.work / "attempt", folder.pages / "page-0001.png"
    attempt.write_bytes(PAGE)
    descriptor = os.open(attempt, os.O_RDONLY)
    sha256 = hashlib.sha256(PAGE).hexdigest()
    page, _ = publish.publish(descriptor, attempt, final, sha256)
    with pytest.raises(publish.PageTaken):
        attempt.write_bytes(b"another")
        other = os.open(attempt, os.O_RDONLY)
        publish.publish(other, attempt, final, hashlib.sha256(b"another").hexdigest())
    publish.deliver(page, tmp_path / "out.png", sha256)
    assert final.read_bytes() == (tmp_path / "out.png").read_bytes() == PAGE
    seen = publish.identity(attempt)
    publish.remove(final, seen)  # another file than was seen: it gets its name back
    assert final.read_bytes() == PAGE
    assert outputrecordfiles.create(tmp_path, 1, b"{}") is not None
    assert outputrecordfiles.create(tmp_path, 1, b"{}") is None
    for each in (descriptor, page, other):
        os.close(each)
    left = [path.name for path in (*folder.path.iterdir(), *folder.pages.iterdir())]
    assert [name for name in left if name.startswith(".") and name != ".epochs"] == []
    missing = [each for each in check_storage(tmp_path) if not each.ok]
    assert [each.name for each in missing] == [lack]
    assert str(tmp_path) in "".join(in_words(tmp_path, missing))


@pytest.mark.parametrize("is_gone", [False, True], ids=["path forgotten", "folder gone"])
def test_a_page_whose_path_the_file_system_forgot_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    """FUSE knows an open file by the path of its inode, which bindfs forgets with the first of two."""
    page, target = tmp_path / "page.png", tmp_path / "out" / "page.png"
    page.write_bytes(PAGE)
    target.parent.mkdir()
    descriptor = os.open(page, os.O_RDONLY)

    def link(source: str, new: Path, **_options: int) -> None:
        assert source.startswith("/proc/self/fd/")
        if is_gone:
            target.parent.rmdir()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(new))

    monkeypatch.setattr(os, "link", link)
    try:
        if is_gone:
            with pytest.raises(FileNotFoundError):
                publish.deliver(descriptor, target, hashlib.sha256(PAGE).hexdigest())
        else:
            assert publish.deliver(descriptor, target, hashlib.sha256(PAGE).hexdigest())
            assert target.read_bytes() == PAGE
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("number", [0, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_of_many_claimants_of_an_epoch_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By link, by exclusive creation, and where both kinds of machines meet."""
    real, mixed = os.link, iter(range(10**6))

    def link(*paths: str, **options: bool) -> None:
        if number and next(mixed) % 3:
            raise OSError(number, "no links")
        real(*paths, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", link)
    got: list[str] = []
    for epoch in range(1, 6):
        start = threading.Barrier(8)

        def claim(token: str, epoch: int = epoch, start: threading.Barrier = start) -> None:
            start.wait()
            if LeaseFiles(tmp_path / "lease").claim(Claim(1, epoch, "host", 1, "", "", token)):
                got.append(token)

        threads = [
            threading.Thread(target=claim, args=(f"{epoch:016x}{number:016x}",)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = LeaseFiles(tmp_path / "lease").claimant(epoch)
        assert found is not None
        assert got[epoch - 1 :] == [found.token]
    assert LeaseFiles(tmp_path / "lease").newest_epoch() == 5


def test_a_folder_that_cannot_be_flushed_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_flushes(monkeypatch, errno.EINVAL)
    noted: list[Path] = []
    folders = Folders(lambda folder, _why: noted.append(folder))
    for _ in range(3):
        folders.sync([tmp_path])
    assert noted == [tmp_path]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_key_is_made_once_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _refuse_links(monkeypatch, number)
    place = tmp_path / "key"
    keyfile._write(place, b"x" * 32, is_new=True)
    first = place.read_bytes()
    with pytest.raises(FileExistsError):
        keyfile._write(place, b"y" * 32, is_new=True)
    assert place.read_bytes() == first
    assert list(tmp_path.iterdir()) == [place]


def _refuse(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "refused")


def _create_twice(path: Path, mode: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, mode)


@pytest.mark.parametrize(
    ("place", "instead", "says"),
    [
        ("primitives.rename", _refuse, "replaced by renaming another: refused"),
        ("primitives.try_write", lambda *_words: "Read-only", "cannot be written: Read-only"),
        ("filesystemcheck.create", _create_twice, r"exclusively \(O_EXCL\): a file was created twice"),
    ],
)
def test_a_file_system_on_which_no_job_can_run_is_refused_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, instead: object, says: str
) -> None:
    monkeypatch.setattr(f"sshrender.storage.{place}", instead)
    with pytest.raises(UserError, match=says) as raised:
        check_storage(tmp_path)
    assert raised.value.code is ExitCode.STORAGE
    assert os.system(raised.value.hint.partition(": ")[2]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
@pytest.mark.parametrize(
    ("san", "folder", "work", "file"),
    [
        (0o2770, 0o2750, 0o3777, 0o640),
        (0o2775, 0o2755, 0o3777, 0o644),
        (0o1777, 0o0755, 0o1777, 0o644),
        (0o0700, 0o0700, 0o0700, 0o600),
        (0o0770, 0o0750, 0o1777, 0o640),
    ],
)
def test_a_job_is_as_open_as_its_shared_folder_whatever_the_umask(
    tmp_path: Path, umask: int, san: int, folder: int, work: int, file: int
) -> None:
    """Nobody but the owner writes anywhere but into work/, and a private folder stays private."""
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, SOMEBODY)
    tmp_path.chmod(san)
    job = JobFolder(tmp_path / "job")
    before = os.umask(umask)
    try:
        job.create()
        files.write_whole(job.spec, b"{}")
        lease.take(job.lease).release()
        nonce = Nonce.create(job)
    finally:
        os.umask(before)
    for path in (job.path, job.pages, job.parts, job.requests, job.thumbnails, job.path / ".epochs"):
        assert stat.S_IMODE(path.stat().st_mode) == folder, path
    assert stat.S_IMODE(job.work.stat().st_mode) == work
    for path in (job.spec, job.lease, job.path / ".epochs" / "00000001"):
        assert stat.S_IMODE(path.stat().st_mode) == file, path
    assert stat.S_IMODE(nonce.path.stat().st_mode) == file & 0o444
    if os.geteuid() == 0:
        group = SOMEBODY if san & 0o2000 else os.getegid()
        assert {path.stat().st_gid for path in job.path.rglob("*")} == {group}


def test_a_job_of_an_earlier_version_gets_its_group_back(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    job = JobFolder(tmp_path / "job")
    job.create()
    for path in (job.work, job.pages, job.path):
        os.chmod(path, 0o750)  # noqa: PTH101 - Path.chmod would do the same
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_ISGID)
    job.complete()
    assert all(path.stat().st_mode & stat.S_ISGID for path in (job.path, job.work, job.pages))


def _as_somebody(work: Callable[[], object]) -> str:
    """Return what ``work`` returns to a user who is not in any group."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(SOMEBODY, SOMEBODY, SOMEBODY)
            os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
            os.write(write, str(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    return os.read(read, 4096).decode()


@pytest.fixture
def entered() -> Iterator[JobFolder]:
    """A job's folder that all users can enter; pytest's folders are private."""
    if os.geteuid():
        pytest.skip("only root can be several users")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        folder = JobFolder(Path(name) / "job")
        folder.create()
        yield folder


def test_a_host_that_cannot_read_the_document_says_so_before_it_gets_a_page(entered: JobFolder) -> None:
    nonce = Nonce.create(entered)
    for name, mode in (("source.pdf", 0o600), ("other.pdf", 0o644)):
        (entered.path / name).touch()
        (entered.path / name).chmod(mode)  # whatever the umask
    path, token = str(entered.path), nonce.token
    found = _as_somebody(
        lambda: jobfolder.check(path, nonce.path.name, token, 0, ["other.pdf", "later.pdf"])
    )
    assert "'writable': True" in found
    found = _as_somebody(lambda: jobfolder.check(path, nonce.path.name, token, 0, ["source.pdf"]))
    assert "'seen': False" in found
    assert "cannot read source.pdf: Permission denied" in found


def test_what_a_host_leaves_is_read_as_a_page_is(entered: JobFolder) -> None:
    name = jobfolder.leave(str(entered.path), "0" * 16, 3)
    left = entered.work / name
    assert _as_somebody(lambda: hostcheck._unread(left)) == ""
    left.chmod(0o600)
    assert "cannot read what it writes there: Permission denied" in _as_somebody(
        lambda: hostcheck._unread(left)
    )


def test_a_name_is_given_to_one_file_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, errno.EPERM):
        if number:
            _refuse_links(monkeypatch, number)
        own, target = tmp_path / f"own{number}", tmp_path / f"target{number}"
        own.write_text("new")
        assert newfiles.give_name(own, target)
        (tmp_path / "other").write_text("newer")
        assert not newfiles.give_name(tmp_path / "other", target)
        assert target.read_text() == "new"


@pytest.mark.parametrize("name", ["EBUSY", "ETXTBSY", "ESTALE", "EISDIR"])
def test_a_name_that_is_in_use_for_a_moment_is_tried_again_and_another_error_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, tries = primitives.rename, iter(range(100))

    def rename(source: str, target: str) -> None:
        if next(tries) < 2:
            raise OSError(getattr(errno, name), "in use", source, None, target)
        real(source, target)

    monkeypatch.setattr(primitives, "rename", rename)
    if name == "EISDIR":
        with pytest.raises(OSError, match="in use"):
            files.write_whole(tmp_path / "file", PAGE)
        assert list(tmp_path.iterdir()) == []
        return
    files.write_whole(tmp_path / "file", PAGE)
    assert (tmp_path / "file").read_bytes() == PAGE
