"""Uploads over a line that breaks: they continue, repeat no more than a part, and fill no memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sshrender.api.web import uploads
from tests import pdfs
from tests.conftest import PROGRAM
from tests.stretch import stretched
from tests.views.chromium import Browser, chromium
from tests.web.proxies import Line

BUILT = "document.documentElement?.dataset.built === 'yes'"
TOLD = "document.querySelector('.upload p')?.textContent.includes('3 pages')"
OVERHEAD = 2 << 20
"""Bytes of headers, pages and the list of jobs, which is asked for every three seconds."""


def sparse_document(path: Path, size: int) -> Path:
    """Write a PDF of three pages, which takes ``size`` bytes and next to none of the disk.

    A second section of cross-references follows the gap (ISO 32000-1, 7.5.6).
    """
    first = pdfs.build(pdfs.numbered(3))
    before = int(first.rsplit(b"startxref", 1)[1].split()[0])
    with path.open("wb") as file:
        file.write(first)
        start = size - 300
        file.seek(start)
        body = b"99 0 obj\n<< >>\nendobj\n"
        xref = start + len(body)
        tail = body + b"xref\n99 1\n%010d 00000 n \n" % start
        tail += b"trailer\n<< /Size 100 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
            before,
            xref,
        )
        file.write(tail)
        file.write(b"%" * (size - start - len(tail)))
    return path


@contextlib.contextmanager
def _server(san: Path, *words: str) -> Iterator[tuple[int, str]]:
    """Start the program; yield its process id and its one-time link."""
    command = [*PROGRAM, "serve", "--bind", "127.0.0.1:0", "--san", str(san), "--sandbox", "none"]
    process = subprocess.Popen(
        [*command, *words], cwd=san, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(stretched(60))
        process.stdout.close()


def _peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes (VmHWM, proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _choose(browser: Browser, file: Path) -> None:
    """Choose a file, as in the dialog that the button opens."""
    browser.call("DOM.enable")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    browser.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)


def _upload(browser: Browser, link: str, line: Line, file: Path) -> None:
    """Upload a file by way of the line, until its pages are counted."""
    browser.resize(1024, 900)
    base = f"http://127.0.0.1:{line.port}/"
    browser.call("Page.navigate", url=f"{base}{urlsplit(link).path[1:]}")
    browser.wait_for(f"location.href === {base!r} && {BUILT}")
    _choose(browser, file)
    browser.wait_for(TOLD)


def _check(san: Path, file: Path) -> None:
    (folder,) = (san / ".web" / "uploads").iterdir()
    (made,) = (folder / "document").iterdir()
    assert subprocess.run(["cmp", made, file], check=False).returncode == 0


@pytest.mark.parametrize(
    ("size", "cuts"),
    [
        (20 << 20, [4 << 20, 12 << 20, 18 << 20]),
        pytest.param(
            2 << 30, [share * (2 << 30) // 6 for share in range(1, 6)], marks=pytest.mark.matrix
        ),
    ],
    ids=["20 MiB", "2 GiB"],
)
def test_a_line_that_breaks_repeats_no_more_than_a_part_and_fills_no_memory(
    tmp_path: Path, size: int, cuts: list[int]
) -> None:
    san = tmp_path / "san"
    san.mkdir()
    file = sparse_document(tmp_path / "atlas.pdf", size)
    with _server(san) as (pid, link), chromium() as browser:
        address = urlsplit(link)
        with Line(address.port or 0, list(cuts)) as line:  # it takes them out, one by one
            _upload(browser, link, line, file)
            print(f"sent twice: {line.sent - size} bytes; memory: {_peak(pid)} bytes", os.getloadavg())
            assert line.broken == len(cuts)
            assert line.sent < size + len(cuts) * uploads.DEFAULT_PART + OVERHEAD
        assert _peak(pid) < 150 << 20
    _check(san, file)
