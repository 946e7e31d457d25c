"""Small documents that unfold to more than any machine holds: each ends in time, with a reason."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshrender.document.reading import Reading
from tests import pdfs
from tests.conftest import PROGRAM, Run
from tests.faults import hostile_documents as hostile
from tests.stretch import stretched, wait_until

BOUND = 60.0
"""Seconds within which each ends on a busy machine; most need one or two."""


@contextlib.contextmanager
def _reading(path: Path, data: bytes) -> Iterator[Reading]:
    path.write_bytes(data)
    found = Reading()
    try:
        found.begin(path, None)
        yield found
    finally:
        found.close()


def _within(seconds: float, work: Callable[[], object]) -> object:
    """What ``work`` returns; it is left behind where it takes longer."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(stretched(seconds))
    assert found, "it takes too long"
    return found[0]


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (hostile.shared_tree(5), 5),
        (hostile.shared_tree(200_000), 10),
        (hostile.shared_tree(200_000, leaf=False), 0),
        (hostile.shared_kids(3), 3),
    ],
    ids=["claims five", "claims many", "has no leaf", "shares arrays"],
)
def test_a_walk_ends_at_the_claimed_pages_and_at_a_node_met_twice(
    tmp_path: Path, data: bytes, most: int
) -> None:
    """What pypdf makes of it is no reason to trust its count: Ghostscript is asked."""
    with _reading(tmp_path / "a.pdf", data) as found:
        assert _within(BOUND, found.counts_right) is False
        if (claimed := found.facts().pages) is not None:
            found.read_pages(range(1, claimed + 1))
            assert _within(BOUND, lambda: found.box(claimed)) is None or claimed == most
        assert len([box for _, box in found.boxes_from(0) if box is not None]) <= most


@pytest.mark.parametrize("data", [hostile.shared_forms(), hostile.shared_descendants()])
def test_fonts_of_shared_forms_and_descendants_are_read_once(tmp_path: Path, data: bytes) -> None:
    with _reading(tmp_path / "a.pdf", data) as found:
        assert found.counts_right()
        found.want_fonts([3])
        found.await_fonts(stretched(BOUND))
        fonts = found.missing_fonts()
        assert fonts is not None
        assert fonts == {3: ["Helvetica"]}


@pytest.mark.parametrize("command", ["render", "submit"])
@pytest.mark.parametrize("claimed", [None, 5])
def test_a_page_tree_of_shared_nodes_is_refused_in_words(
    sshrender: Run, home: Path, command: str, claimed: int | None
) -> None:
    (home / "tree.pdf").write_bytes(hostile.shared_tree(claimed))
    words = ["--deadline", f"{stretched(50):.0f}s", "--progress", "none"] if command == "render" else []
    answer = sshrender(command, "tree.pdf", *words, timeout=BOUND)
    assert answer.returncode == 5, answer.stderr
    is_counted = "tree.pdf: it claims more than 250,000 pages" in answer.stderr
    assert is_counted or "Ghostscript: used more memory than a page may" in answer.stderr
    assert "hint: " in answer.stderr


@pytest.fixture
def slow_gs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Ghostscript that answers nothing; its pids are in this file."""
    pids, program = tmp_path / "pids", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo 10.00.0; exit;; esac\n'
        f"echo $$ >> {pids}\nexec sleep 600\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    pids.touch()
    return pids


def test_the_deadline_counts_while_a_document_is_still_being_read(
    sshrender: Run, home: Path, slow_gs: Path
) -> None:
    """From the command's start, whatever it waits for."""
    (home / "tree.pdf").write_bytes(hostile.shared_tree(5))
    answer = sshrender("render", "tree.pdf", "--deadline", "3s", "--json", timeout=BOUND)
    assert answer.returncode == 10, answer.stderr
    assert "the deadline passed" in answer.stderr
    assert '"exit_code": 10' in answer.stdout
    _expect_gone(slow_gs)


def test_a_deadline_that_passes_before_a_run_begins_holds_a_queued_job(
    sshrender: Run, home: Path
) -> None:
    """It would pass each time, as it is counted anew: a person is told instead."""
    pdfs.write(home / "a.pdf", pdfs.numbered(1))
    assert sshrender("submit", "a.pdf", "--deadline", "0.01s").returncode == 0
    assert sshrender("coordinate", "--once", "--quiet").returncode == 10
    told = sshrender("status", "a").stdout
    assert "held" in told
    assert "the deadline passed before the first page was rendered" in told


def test_an_interrupt_ends_a_document_that_is_still_being_read(home: Path, slow_gs: Path) -> None:
    (home / "tree.pdf").write_bytes(hostile.shared_tree(5))
    process = subprocess.Popen([*PROGRAM, "render", "tree.pdf"], cwd=home, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: slow_gs.read_text() != "", BOUND, pause=0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(stretched(BOUND)) == 130
    finally:
        process.kill()
        process.wait()
    _expect_gone(slow_gs)


def _expect_gone(pids: Path) -> None:
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), BOUND)  # type: ignore[misc]


@pytest.mark.parametrize("command", ["render", "submit"])
def test_a_document_that_is_a_fifo_is_refused(sshrender: Run, home: Path, command: str) -> None:
    os.mkfifo(home / "a.pdf")
    answer = sshrender(command, "a.pdf", timeout=BOUND)
    assert answer.returncode == 5
    assert "a.pdf is a pipe or a device" in answer.stderr


LIMITED = """
import resource, subprocess, sys
kind, limit = getattr(resource, sys.argv[1]), int(sys.argv[2])
resource.setrlimit(kind, (limit, limit))
sys.exit(subprocess.call(sys.argv[3:]))
"""


def _under(limit: str, most: int, *words: str) -> list[str]:
    """A command under a hard limit that not even root may raise."""
    drop = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    return [sys.executable, "-c", LIMITED, limit, str(most), *(drop if os.getuid() == 0 else []), *words]


@pytest.mark.parametrize(
    ("limit", "most", "code", "says"),
    [
        ("RLIMIT_AS", 1500 << 20, 0, ""),
        ("RLIMIT_FSIZE", 64 << 20, 0, ""),
        ("RLIMIT_AS", 200 << 20, 2, "RLIMIT_AS, ulimit -v"),
        ("RLIMIT_NOFILE", 31, 2, "(RLIMIT_NOFILE, ulimit -n) is 31, and this command needs 32"),
    ],
)
def test_a_hard_limit_of_the_machine_is_kept_or_named(
    home: Path, limit: str, most: int, code: int, says: str
) -> None:
    """A good document is rendered under the smaller of the two limits, or the limit is the reason."""
    pdfs.write(home / "a.pdf", pdfs.numbered(2))
    words = ["render", "a.pdf", "--dpi", "20", "--progress", "none", "--wait", "3s"]
    answer = subprocess.run(
        _under(limit, most, *PROGRAM, *words), cwd=home, capture_output=True, text=True, check=False
    )
    assert answer.returncode == code, answer.stderr
    assert says in answer.stderr
    assert len(list(home.glob("a-pages/*.png"))) == (0 if code else 2)
