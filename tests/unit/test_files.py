"""Files where others may have laid anything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sshrender.job.queue import drains
from sshrender.storage.files import read_plain, write_whole


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"0123456789")
    assert read_plain(path, 10) == b"0123456789"
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its number tells
        read_plain(path, 9)
    assert raised.value.errno == errno.EFBIG


def test_a_sparse_file_of_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(4 << 40)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its number tells
        read_plain(path)
    assert raised.value.errno == errno.EFBIG


def test_a_temporary_name_that_was_guessed_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, tmp_path / f".job.json.{os.getpid()}")
    write_whole(tmp_path / "job.json", b"{}")
    assert (victim.read_text(), (tmp_path / "job.json").read_bytes()) == ("precious", b"{}")


def test_nothing_else_is_read_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name, number in (("fifo", errno.EINVAL), ("folder", errno.EINVAL), ("link", errno.ELOOP)):
        with pytest.raises(OSError) as raised:  # noqa: PT011 - its number tells
            read_plain(tmp_path / name)
        assert raised.value.errno == number


def test_whatever_lies_in_the_place_of_a_drain_is_one(tmp_path: Path) -> None:
    drains.drain(tmp_path, "a", "me", "a new disk")
    os.mkfifo(tmp_path / ".drained" / "b.json")
    (tmp_path / ".drained" / "c.json").mkdir()
    found = drains.read(tmp_path)
    assert {name: drain.by for name, drain in found.items()} == {
        "a": "me",
        "b": "somebody",
        "c": "somebody",
    }


def test_processes_of_the_same_pid_write_into_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers that share a folder both have a pid 7."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    opened = []
    real = os.open

    def record(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            opened.append((path, bool(flags & os.O_EXCL)))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", record)
    for _ in range(2):
        write_whole(tmp_path / "attributes.json", b"{}")
    (first, is_new), (second, is_new_too) = opened
    assert first != second
    assert is_new
    assert is_new_too
