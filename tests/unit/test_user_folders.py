"""Drains and accounts of several users in one shared folder: none keeps another from its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sshrender.job import userfolders
from sshrender.job.folder import JobFolder
from sshrender.job.queue import drains
from sshrender.job.status import accounting
from sshrender.job.status.accounting import Account
from sshrender.storage import files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: folders of other users")

MALLORY, ANN = 64001, 64002
ACCOUNT = Account("big-12345678", "ann", "node1", "2026-11", pages=3)


@pytest.fixture
def san(tmp_path: Path) -> Path:
    """A shared folder in which every user may make jobs."""
    folder = tmp_path / "san"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def _taken(path: Path, user: int, mode: int = 0o700) -> Path:
    path.mkdir()
    path.chmod(mode)
    os.chown(path, user, user)
    return path


class _As:
    """Work as an ordinary user for a moment."""

    def __init__(self, user: int) -> None:
        self._user = user

    def __enter__(self) -> None:
        os.setegid(self._user)
        os.seteuid(self._user)

    def __exit__(self, *raised: object) -> None:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture(autouse=True)
def _reachable(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_name_that_another_user_took_first_keeps_nobody_from_drain_or_clean(
    san: Path, kind: str
) -> None:
    for name in (".drained", ".accounting"):
        if kind == "folder":
            _taken(san / name, MALLORY)
        elif kind == "file":
            (san / name).touch()
        else:
            (san / name).symlink_to("/etc")
    with _As(ANN):
        drains.drain(san, "node1", "ann", "a new disk")
        accounting.keep(JobFolder(san / "big-12345678"), [ACCOUNT])
        assert list(drains.read(san)) == ["node1"]
        assert accounting.kept(san) == [ACCOUNT]
    assert list(drains.read(san, ["node1", "node2"])) == ["node1"], "for every job, of every user"
    with _As(ANN):
        assert drains.undrain(san, "node1")
        assert drains.read(san) == {}


def test_each_drain_says_whose_it_is_and_is_its_user_s_to_end(san: Path) -> None:
    with _As(MALLORY):
        drains.drain(san, "node1", "root@desk", "")
    assert drains.read(san)["node1"].by == f"root@desk (as user {MALLORY})"
    with _As(ANN):
        drains.drain(san, "node1", "ann", "")
        with pytest.raises(drains.StillDrained, match=str(MALLORY)):
            drains.undrain(san, "node1")
    assert drains.undrain(san, "node1"), "root may end it"
    assert drains.read(san) == {}


def test_a_flood_of_drains_of_one_user_hides_no_other_s_and_costs_little(san: Path) -> None:
    flood = _taken(san / ".drained", MALLORY, 0o755)
    for number in range(20_000):
        os.close(os.open(flood / f"host{number}.json", os.O_CREAT | os.O_WRONLY))
    with _As(ANN):
        drains.drain(san, "node1", "ann", "")
    reader = drains.DrainReader(san, ["node1", "node2"])
    assert list(reader.read()) == ["node1"]
    assert len(drains.read(san)) <= drains.MAX_DRAINS + 1
    opened = _opened_by(reader)
    assert opened == ["node1.json"], "only files of the run's own hosts are opened"


def _opened_by(reader: drains.DrainReader) -> list[str]:
    opened: list[str] = []

    def read(path: Path, most: int) -> bytes:
        opened.append(path.name)
        return files.read_plain(path, most)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sshrender.job.queue.drains.read_plain", read)
        reader.read()
    return opened


def test_a_shared_folder_of_many_names_is_listed_for_a_share_of_the_time(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, listed = [0.0], []

    def find(place: Path, name: str) -> list[userfolders.UserFolder]:
        listed.append(now[0])
        now[0] += 1.0  # a listing that takes a second
        return []

    monkeypatch.setattr(userfolders, "find", find)
    reader = drains.DrainReader(san, [], clock=lambda: now[0])
    for _ in range(200):
        reader.read()
        now[0] += 0.5
    assert len(listed) <= 1 + now[0] / drains.SHARE


def test_a_drain_that_is_no_file_to_read_drains_its_host_and_makes_nobody_wait(san: Path) -> None:
    folder = _taken(san / ".drained", 0, 0o755)
    os.mkfifo(folder / "pipe.json")
    (folder / "link.json").symlink_to("/dev/zero")
    (folder / "dir.json").mkdir()
    with (folder / "sparse.json").open("wb") as file:
        os.ftruncate(file.fileno(), 4 << 40)
    (folder / "surrogate.json").write_text('{"by": "\\ud800", "note": "\\ud800", "since": ""}')
    (folder / "types.json").write_text('{"by": [1], "note": {}, "since": 1e400}')
    found = drains.read(san)
    assert sorted(found) == ["dir", "link", "pipe", "sparse", "surrogate", "types"]
    "".join(drain.by + drain.note for drain in found.values()).encode()


def test_what_one_user_lays_into_its_accounts_is_read_up_to_a_bound(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "MAX_BYTES", 100_000)
    flood = _taken(san / ".accounting-0123456789abcdef", MALLORY, 0o755)
    row = '{"schema": 1, "accounts": [%s]}'
    one = (
        '{"job": "x", "user": "\\ud800", "host": "h", "month": "2026-11", "pages": 1, "failures": 0,'
        ' "cpu_seconds": 0, "seconds": 0}'
    )
    for number in range(400):
        (flood / f"{number:04}.json").write_text(row % ", ".join([one] * 10))
    with (flood / "0000.json").open("ab") as file:
        os.ftruncate(file.fileno(), 4 << 40)
    with _As(ANN):
        accounting.keep(JobFolder(san / "big-12345678"), [ACCOUNT])
    found = accounting.kept(san)
    assert ACCOUNT in found
    assert 0 < sum(account.job == "x" for account in found) < 1000


def test_an_account_larger_than_any_that_sshrender_writes_is_not_read(san: Path) -> None:
    path = accounting.keep(JobFolder(san / ACCOUNT.job), [ACCOUNT])
    assert accounting.kept(san) == [ACCOUNT]
    path.write_text(path.read_text() + " " * files.MAX_RECORD_BYTES)
    assert accounting.kept(san) == []
