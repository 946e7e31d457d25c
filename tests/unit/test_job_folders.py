"""What has the place of a job's folder, or of a page, harms no file outside of the job."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sshrender.api import removal
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.output import publish


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """A job's folder."""
    folder = JobFolder(tmp_path / "job")
    folder.create()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A private folder with a file, which is no part of the job."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text("kept")
    (folder / "page-0001.png").write_text("kept")
    return folder


def _link(place: Path, target: Path) -> None:
    place.rmdir()
    place.symlink_to(target)


def _is_untouched(folder: Path) -> bool:
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    mode = stat.S_IMODE(folder.stat().st_mode)
    return (mode, kept) == (0o700, {"authorized_keys": "kept", "page-0001.png": "kept"})


def test_a_link_in_the_place_of_the_work_folder_leads_to_no_removal(
    job: JobFolder, outside: Path
) -> None:
    _link(job.work, outside)
    with pytest.raises(OSError, match="Not a directory"):
        job.clear_work(7)
    with pytest.raises(UserError):
        job.create()
    assert _is_untouched(outside)


@pytest.mark.parametrize("name", ["work", "pages", "thumbs", "parts", "requests", ".epochs"])
def test_a_job_with_a_link_in_the_place_of_a_folder_is_refused_until_it_is_moved(
    job: JobFolder, outside: Path, name: str
) -> None:
    (job.path / ".epochs").mkdir()
    _link(job.path / name, outside)
    with pytest.raises(UserError) as refused:
        job.complete()
    assert refused.value.code == ExitCode.STORAGE
    assert os.system(refused.value.hint) == 0
    job.complete()
    assert name == ".epochs" or (job.path / name).is_dir()
    assert _is_untouched(outside)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe"),
        (lambda place: place.write_text(""), "a file"),
        (lambda place: place.symlink_to("/"), "a symbolic link"),
    ],
)
def test_what_is_in_the_place_of_a_folder_is_named(
    job: JobFolder, make: Callable[[Path], object], kind: str
) -> None:
    job.work.rmdir()
    make(job.work)
    with pytest.raises(UserError, match=f"but {kind};"):
        job.complete()


def test_a_link_in_the_place_of_the_pages_folder_leads_to_no_removal_and_no_page(
    job: JobFolder, outside: Path
) -> None:
    _link(job.pages, outside)
    page = outside / "page-0001.png"
    status = page.stat()
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    with pytest.raises(OSError, match="Not a directory"):
        publish.remove(job.pages / page.name, seen)
    attempt = job.work / "attempt"
    attempt.write_bytes(b"a page")
    with attempt.open("rb") as verified, pytest.raises(OSError, match="Not a directory"):
        publish.publish(verified.fileno(), attempt, job.pages / "page-0002.png", "")
    assert _is_untouched(outside)


def _nest(folder: Path, depth: int) -> Path:
    """Folders in each other, with a file and a link in each."""
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=place)
        os.symlink("/", "link", dir_fd=place)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        inner = os.open("deeper", os.O_RDONLY, dir_fd=place)
        os.fchmod(place, 0o500)
        os.close(place)
        place = inner
    os.close(place)
    return folder


def test_a_deep_folder_in_the_place_of_a_page_is_removed(job: JobFolder) -> None:
    page = _nest(job.pages / "page-0001.png", 1500)
    publish.remove(page, publish.identity(page))
    assert list(job.pages.iterdir()) == []


def test_clean_removes_a_deep_folder(tmp_path: Path) -> None:
    assert removal.remove_folder(_nest(tmp_path / ".removed-job", 1500))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_left_aside_and_the_page_s_name_is_free(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, within: int) -> None:
        raise OSError(errno.EBUSY, name, within)

    monkeypatch.setattr(publish, "remove_tree", refuse)
    page = _nest(job.pages / "page-0001.png", 1)
    publish.remove(page, publish.identity(page))
    assert [path.name.partition("-")[0] for path in job.pages.iterdir()] == [".removed"]


def test_a_new_page_that_has_the_inode_of_a_removed_one_is_kept(job: JobFolder) -> None:
    page = job.pages / "page-0001.png"
    page.write_bytes(b"damaged")
    seen = publish.identity(page)
    assert seen is not None
    page.write_bytes(b"a new page")  # the same inode, as a new file may have it
    publish.remove(page, seen)
    assert page.read_bytes() == b"a new page"
