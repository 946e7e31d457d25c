"""A page is the file that was verified, whatever its name stands for by then."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sshrender.job.assembly.assemble import assemble
from sshrender.job.assembly.pagereader import AssemblyFailed, PageChanged
from sshrender.job.folder import JobFolder
from sshrender.job.journal.history import PageRecord
from sshrender.job.output import publish, thumbnails
from sshrender.job.verification.errors import VerificationFailed
from sshrender.storage.files import write_whole

PAGE = b"a verified page"
DIGEST = hashlib.sha256(PAGE).hexdigest()
OTHER_USER = 5000


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """A job with one verified attempt in ``work/``."""
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    folder.create()
    (folder.work / "attempt").write_bytes(PAGE)
    return folder


def _link(path: Path) -> None:
    secret = path.parent.parent.parent / "secret"
    secret.write_text("secret")
    path.symlink_to(secret)


SWAPS: dict[str, Callable[[Path], object]] = {
    "link": _link,
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "another page": lambda path: path.write_bytes(b"another page xx"),
    "nothing": lambda path: None,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("swap", SWAPS)
def test_what_takes_the_place_of_a_verified_file_is_not_published(job: JobFolder, swap: str) -> None:
    attempt, final = job.work / "attempt", job.pages / "page-0001.png"
    with attempt.open("rb") as verified:
        attempt.unlink()
        SWAPS[swap](attempt)
        with pytest.raises(VerificationFailed):
            publish.publish(verified.fileno(), attempt, final, DIGEST)
    assert not os.path.lexists(final)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_user_s_file_is_copied_so_that_it_stays_as_it_was_verified(job: JobFolder) -> None:
    attempt, final = job.work / "attempt", job.pages / "page-0001.png"
    os.chown(attempt, OTHER_USER, OTHER_USER)
    with attempt.open("r+b") as theirs:
        page, is_copy = publish.publish(theirs.fileno(), attempt, final, DIGEST)
        os.close(page)
        theirs.write(b"changed")
    assert is_copy
    assert final.read_bytes() == PAGE
    assert final.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_changed_after_it_was_verified_is_not_copied(job: JobFolder) -> None:
    attempt, final = job.work / "attempt", job.pages / "page-0001.png"
    os.chown(attempt, OTHER_USER, OTHER_USER)
    with attempt.open("r+b") as theirs:
        theirs.write(b"A")
        theirs.flush()
        with pytest.raises(VerificationFailed):
            publish.publish(theirs.fileno(), attempt, final, DIGEST)
    assert list(job.pages.iterdir()) == []


def test_a_published_page_is_delivered_from_its_open_file(job: JobFolder, tmp_path: Path) -> None:
    final, target = job.pages / "page-0001.png", tmp_path / "out.png"
    final.write_bytes(PAGE)
    with final.open("rb") as page:
        final.rename(job.pages / "elsewhere")
        _link(final)
        publish.deliver(page.fileno(), target, DIGEST)
    assert not target.is_symlink()
    assert target.read_bytes() == PAGE


def test_temporary_files_have_names_that_cannot_be_taken_beforehand(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is made by O_EXCL under a name that differs each time."""
    made: list[tuple[str, int]] = []
    real = os.open

    def guarded_call(path: os.PathLike[str], flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_CREAT:
            made.append((os.fspath(path), flags))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", guarded_call)
    Image.new("RGB", (50, 70)).save(tmp_path / "small.jpg")
    small = (tmp_path / "small.jpg").read_bytes()
    made.clear()
    for _ in range(2):
        thumbnails.save(job, "page-0001.png", small)
        write_whole(job.path / "job.json", b"{}")
    assert len({path for path, _ in made}) == 4
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for _, flags in made)


def _record(path: Path, data: bytes) -> PageRecord:
    return PageRecord(1, path.name, len(data), hashlib.sha256(data).hexdigest(), 40, 30)


@pytest.mark.parametrize("kind", ["tiff", "pdf"])
def test_a_page_that_cannot_be_decoded_fails_the_assembly_and_not_the_storage(
    job: JobFolder, tmp_path: Path, kind: str
) -> None:
    path = job.pages / "page-0001.tif"
    Image.effect_noise((40, 30), 90).save(path, "TIFF", compression="tiff_lzw")
    data = path.read_bytes()[:-600]
    path.write_bytes(data)
    with pytest.raises(AssemblyFailed, match=path.name):
        assemble(job, [_record(path, data)], tmp_path / f"all.{kind}", kind, (72, 72))
    assert not (tmp_path / f"all.{kind}").exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("kind", ["zip", "pdf"])
def test_a_page_that_changed_after_its_delivery_is_not_assembled(
    job: JobFolder, tmp_path: Path, swap: str, kind: str
) -> None:
    path = job.pages / "page-0001.png"
    Image.new("RGB", (40, 30)).save(path)
    record = _record(path, path.read_bytes())
    path.unlink()
    SWAPS[swap](path)
    with pytest.raises(PageChanged):
        assemble(job, [record], tmp_path / f"all.{kind}", kind, (72, 72))


def test_pages_are_linked_where_that_is_possible(job: JobFolder) -> None:
    """Nothing is written twice for the user that hosts usually log in as."""
    attempt, final = job.work / "attempt", job.pages / "page-0001.png"
    inode = attempt.stat().st_ino
    with attempt.open("rb") as verified:
        page, is_copy = publish.publish(verified.fileno(), attempt, final, DIGEST)
    os.close(page)
    assert (is_copy, final.stat().st_ino, attempt.exists()) == (False, inode, False)
    assert final.stat().st_nlink == 1
