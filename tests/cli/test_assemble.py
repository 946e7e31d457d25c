"""``--assemble`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

from tests import pdfs
from tests.conftest import Run


def test_pages_that_a_file_cannot_hold_do_not_count_as_a_failing_storage(
    sshrender: Run, home: Path
) -> None:
    """Pillow reads no TIFF of twelve bits: the pages are delivered, and what is missing is told."""
    five = pdfs.write(home / "five.pdf", pdfs.numbered(5))
    answer = sshrender("render", five, "--device", "tiff12nc", "--assemble", "pdf", "-o", "out")
    assert answer.returncode == 3, answer.stderr
    assert "five.pdf cannot be made: page-0001.tif" in answer.stderr
    assert "hint: --assemble zip" in answer.stderr
    assert len(list((home / "out").glob("page-*.tif"))) == 5
