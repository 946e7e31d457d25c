"""What has the place of a job's folder, or of a page, harms no file outside of the job."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder


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
    assert os.system(refused.value.hint.partition(";")[0]) == 0  # noqa: S605 - it works as it is typed
    job.complete()
    assert name == ".epochs" or (job.path / name).is_dir()
    assert _is_untouched(outside)
