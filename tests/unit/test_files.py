"""Files where others may have laid anything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sshrender.files import read_plain
from sshrender.job import drains


def test_of_a_plain_file_so_much_is_read_as_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"0123456789")
    assert (read_plain(path), read_plain(path, 4)) == (b"0123456789", b"0123")


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
