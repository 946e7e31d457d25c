"""Large pages and documents of many pages, within the memory that they may take."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import PROGRAM, Run

MEGABYTE = 1 << 20


def _resident(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * 4096


@pytest.mark.timeout(280)
@pytest.mark.parametrize("dpi", [300, pytest.param(600, marks=pytest.mark.matrix)])
def test_a_page_of_a0_fits_into_a_quarter_of_a_gigabyte(sshrender: Run, home: Path, dpi: int) -> None:
    """0.4 or 1.6 GB of pixels: Ghostscript renders them in bands, and the Verifier reads them so."""
    document = pdfs.write(home / "a0.pdf", [pdfs.text_page(1, 2384, 3370)])
    words = ["-r", str(dpi), "--page-memory", "256M", "-o", "out", "--json"]
    answer = sshrender("render", document, *words, timeout=270)
    assert answer.returncode == 0, answer.stderr
    manifest = json.loads((Path(json.loads(answer.stdout)["job_dir"]) / "manifest.json").read_text())
    (page,) = manifest["pages"]
    assert (page["width"], page["height"]) == {300: (9933, 14042), 600: (19867, 28083)}[dpi]


def test_twenty_thousand_pages_do_not_lie_in_memory(home: Path) -> None:
    """All of them are known; some are drawn."""
    data = pdfs.build(pdfs.numbered(20_000), kids_per_node=100)
    (home / "many.pdf").write_bytes(data)
    process = subprocess.Popen(
        [*PROGRAM, "render", "many.pdf", "--pages", "1-50,19990-", "-r", "36", "-o", "out", "-q"],
        cwd=home,
        stdin=subprocess.DEVNULL,
    )
    most = [0]

    def watch() -> None:
        while process.poll() is None:
            most[0] = max(most[0], _resident(process.pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.wait(timeout=250) == 0
    watcher.join()
    assert len(list((home / "out").glob("page-*.png"))) == 61
    assert 0 < most[0] < 300 * MEGABYTE
