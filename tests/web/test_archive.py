"""The ZIP of all pages: what other programs read from it, and that any part of it can be asked for."""

from __future__ import annotations

import hashlib
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from sshrender.api.web import pagearchive
from sshrender.api.web.pagearchive import Member, PageArchive
from sshrender.api.web.pagefiles import PageChanged


def _members(folder: Path) -> list[Member]:
    found, source = [], random.Random(3)
    for number, size in enumerate((0, 1, 70_000, 300_000, 12), 1):
        path = folder / f"page-{number:04d}.png"
        data = source.randbytes(size)
        path.write_bytes(data)
        found.append(Member(path.name, path, size, hashlib.sha256(data).hexdigest()))
    return found


@pytest.mark.parametrize("limit", [0xFFFFFFFF, 1000], ids=["small", "zip64"])
def test_other_programs_read_it_and_each_part_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(pagearchive, "_LIMIT32", limit)
    members = _members(tmp_path)
    archive = PageArchive(members)
    whole = b"".join(archive.read(0, archive.size))
    assert len(whole) == archive.size
    if limit == 0xFFFFFFFF:
        with zipfile.ZipFile(io.BytesIO(whole)) as opened:
            assert opened.testzip() is None
            assert opened.namelist() == [member.name for member in members]
            assert all(opened.read(member.name) == member.path.read_bytes() for member in members)
    source = random.Random(5)
    edges = [0, 1, 45, archive.size - 30, archive.size]
    for _ in range(60):
        start, end = sorted(source.choice([*edges, source.randrange(archive.size)]) for _ in range(2))
        fresh = PageArchive(members)  # as after a restart, or on another machine
        assert b"".join(fresh.read(start, end)) == whole[start:end]
        assert fresh.etag == archive.etag


def test_a_page_that_became_shorter_ends_the_download(tmp_path: Path) -> None:
    members = _members(tmp_path)
    archive = PageArchive(members)
    os.truncate(members[2].path, 10)
    with pytest.raises(PageChanged):
        list(archive.read(0, archive.size))
