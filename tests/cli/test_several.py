"""Several documents in one command: a job each, side by side on the same hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sshrender.cli import render
from tests import pdfs
from tests.cli.conftest import Paced
from tests.conftest import Run, Start
from tests.stretch import wait_until

PAGES = 14


MANY_PAGES = 60
"""Of 0.4 s each: 24 s, so that no job ends within the 4 s for which another may keep the odd slot."""


@pytest.fixture
def three(home: Path) -> list[Path]:
    """Three documents of ``PAGES`` pages."""
    return _three(home, PAGES)


def _three(home: Path, pages: int) -> list[Path]:
    names = ("one", "two", "three")
    return [pdfs.write(home / f"{name}.pdf", pdfs.numbered(pages)) for name in names]


def _jobs(answer: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return list(json.loads(answer.stdout)["jobs"])


def _journals(home: Path) -> list[str]:
    return [path.read_text() for path in home.glob(".local/state/sshrender/*/journal.jsonl")]


def _connected(home: Path) -> int:
    """Return how many jobs have a host that may render."""
    return sum('"state": "idle"' in journal for journal in _journals(home))


def _delivered(home: Path) -> list[int]:
    """Return how many pages of each job are delivered."""
    return [journal.count('"type": "page_delivered"') for journal in _journals(home)]


@pytest.mark.parametrize(
    ("codes", "worst"),
    [([137, 0], 137), ([0, 137, 5], 137), ([3, 143], 143), ([0, 77], 1), ([3, 6, 0], 6), ([0], 0)],
)
def test_a_process_that_was_killed_is_no_defect(codes: list[int], worst: int) -> None:
    """Of several documents' exit codes the one of a signal is the command's."""
    assert render._worst(codes) == worst


def test_each_is_a_job_and_all_go_on_at_the_same_time(start: Start, home: Path, paced: Paced) -> None:
    """No page is rendered before all of them wait for theirs, and none ends before all have one."""
    gate = home / "gate"
    paced(0.4, gate)
    pipe = subprocess.PIPE
    words = ("-r", "36", "-o", "out", "--json")
    three = _three(home, MANY_PAGES)
    with start("render", *three, *words, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            wait_until(lambda: _connected(home) == 3, 90, "not all of them have a host")
        finally:
            gate.touch()
        wait_until(lambda: min(_delivered(home)) > 0, 90, "not all of them have a page")
        assert max(_delivered(home)) < MANY_PAGES
        paced(0)
        said = process.communicate(timeout=200)
    answer = subprocess.CompletedProcess([], process.returncode, *said)
    assert answer.returncode == 0, answer.stderr
    jobs = _jobs(answer)
    assert [job["pages"]["done"] for job in jobs] == [MANY_PAGES] * 3
    assert [Path(job["output"]).name for job in jobs] == ["one-pages", "two-pages", "three-pages"]
    for job in jobs:
        assert len(list(Path(job["output"]).glob("page-*.png"))) == MANY_PAGES
    *said, total = answer.stderr.splitlines()
    pages = 3 * MANY_PAGES
    assert total.startswith(f"3 documents: 3 done; {pages} of {pages} pages delivered, ")
    assert all(line.startswith(("one: ", "two: ", "three: ")) for line in said), answer.stderr


def test_hosts_never_draw_more_pages_at_once_than_they_have_slots(
    sshrender: Run, start: Start, home: Path, three: list[Path], paced: Paced
) -> None:
    paced(0.1, last=6)
    process = start("render", *three, "-r", "36", "-o", "out", "--progress", "none")
    most = 0
    while process.poll() is None:
        held = _slots_held()
        if held and not most:
            paced(0)
        most = max(most, held)
        time.sleep(0.05)
    assert process.returncode == 0
    assert 1 <= most <= len(_cores())


def _cores() -> list[int]:
    return list(range(os.cpu_count() or 1))


def _slots_held() -> int:
    """Return how many slots are held on this machine (proc(5), net/unix)."""
    namespace = f"-{os.environ['SSHRENDER_SLOT_NAMESPACE']}-slot-"
    listed = Path("/proc/net/unix").read_text().splitlines()
    return len({line.split()[-1] for line in listed if namespace in line})


def test_one_that_cannot_be_rendered_does_not_keep_the_others(
    sshrender: Run, home: Path, three: list[Path]
) -> None:
    three[1].write_text("no PDF at all")
    answer = sshrender("render", *three, "-r", "36", "-o", "out", "--json")
    assert answer.returncode == 5
    assert [job["state"] for job in _jobs(answer)] == ["done", "failed", "done"]
    assert "two: sshrender: error:" in answer.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.matrix), signal.SIGKILL]
)
def test_a_signal_ends_all_of_them(
    sshrender: Run, start: Start, home: Path, three: list[Path], paced: Paced, number: int
) -> None:
    paced(0.3, last=10)
    process = start("render", *three, "-r", "36", "-o", "out", "--progress", "none")
    wait_until(lambda: sum(_delivered(home)) >= 3, what="three pages")
    process.send_signal(number)
    assert process.wait(timeout=90) == (-9 if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not _left(home), 90, lambda: _left(home))
    paced(0)
    answer = sshrender("render", *three, "-r", "36", "-o", "out", "--json", timeout=200)
    assert answer.returncode == 0
    assert [job["pages"]["done"] for job in _jobs(answer)] == [PAGES] * 3


def _left(home: Path) -> list[bytes]:
    """Processes that have to do with our documents."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            is_here = (entry / "cwd").resolve().is_relative_to(home)
        except OSError:
            continue
        if str(home).encode() in line or (b"SSHRENDER" in line and is_here):
            found.append(line)
    return found


def test_more_than_work_at_once_all_get_their_turn(sshrender: Run, home: Path) -> None:
    names = [pdfs.write(home / f"d{number}.pdf", pdfs.numbered(2)) for number in range(6)]
    answer = sshrender("render", *names, "-r", "36", "-o", "out", "--json")
    assert answer.returncode == 0, answer.stderr
    assert [Path(job["output"]).name for job in _jobs(answer)] == [f"d{n}-pages" for n in range(6)]
    assert sys.version_info >= (3, 11)
