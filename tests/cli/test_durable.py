"""A page that the journal calls delivered survives a power failure under both of its names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pdfs

PAGES = 5
_RECORDED = """
import os, stat, sys
from sshrender.job.journal.journal import JournalWriter
told = []
link, fsync, append = os.link, os.fsync, JournalWriter.append
def keep(*words):
    with open({record!r}, "a") as file:
        print(*words, file=file)
def linked(source, target, **more):
    link(source, target, **more)
    keep("named", target)
def synced(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        {refusal}
        keep("synced", os.readlink(f"/proc/self/fd/{{descriptor}}"))
    fsync(descriptor)
def appended(self, entries):
    entries = list(entries)
    for entry in entries:
        if entry.type == "page_delivered":
            keep("delivered", entry.file)
    append(self, entries)
os.link, os.fsync, JournalWriter.append = linked, synced, appended
import sshrender.__main__ as program
sys.argv[0] = "sshrender"
program.main()
"""


def _render(folder: Path, refusal: str = "") -> tuple[list[list[str]], Path]:
    """What was done in which order, and the journal."""
    document = pdfs.write(folder / "doc.pdf", pdfs.numbered(PAGES))
    record = folder / "record"
    script = _RECORDED.format(record=str(record), refusal=refusal)
    command = [
        sys.executable,
        "-c",
        script,
        "render",
        str(document),
        "-r",
        "20",
        "-o",
        str(folder / "out"),
    ]
    env = {**os.environ, "HOME": str(folder)}
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    (journal,) = folder.glob(".local/**/journal.jsonl")
    return [line.split() for line in record.read_text().splitlines()], journal


def test_both_folders_are_flushed_between_a_page_s_name_and_its_journal_entry(tmp_path: Path) -> None:
    done, journal = _render(tmp_path)
    for folder in (journal.parent / "pages", tmp_path / "out"):
        for page in range(1, PAGES + 1):
            name = f"page-{page:04d}.png"
            named = done.index(["named", str(folder / name)])
            delivered = done.index(["delivered", name])
            assert ["synced", str(folder)] in done[named:delivered], name


@pytest.mark.parametrize("error", ["EINVAL", "EOPNOTSUPP"])
def test_a_file_system_that_cannot_flush_folders_is_told_of_once(tmp_path: Path, error: str) -> None:
    done, journal = _render(tmp_path, f"import errno; raise OSError(errno.{error}, 'not here')")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    told = [entry["reason"] for entry in entries if entry["type"] == "folder_not_synced"]
    assert sorted(told) == sorted(
        f"{folder}: not here" for folder in (journal.parent / "pages", tmp_path / "out")
    )
    assert [words[0] for words in done].count("delivered") == PAGES
