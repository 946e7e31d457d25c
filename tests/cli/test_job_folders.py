"""A link that a host has laid in the place of a job's folder leads the next run nowhere."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import Run


@pytest.mark.parametrize("name", ["work", "pages"])
def test_a_run_refuses_a_job_with_a_link_in_the_place_of_a_folder(
    sshrender: Run, home: Path, san: Path, name: str
) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    (private / "page-0001.png").write_text("kept")
    (private / "id_ed25519").write_text("kept")
    document = pdfs.write(home / "a.pdf", pdfs.numbered(1))
    job = san / sshrender("submit", document, "--dpi", "20").stdout.strip()
    (job / name).rmdir()
    (job / name).symlink_to(private)
    answer = sshrender("render", document, "--dpi", "20", "--progress", "none")
    assert answer.returncode == 6, answer.stderr
    assert sorted(os.listdir(private)) == ["id_ed25519", "page-0001.png"]  # noqa: PTH208
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    hint = answer.stderr.splitlines()[-1].removeprefix("hint: ")
    subprocess.run(hint, shell=True, check=True)
    answer = sshrender("render", document, "--dpi", "20", "--progress", "none")
    assert answer.returncode == 0, answer.stderr
    assert sorted(os.listdir(private)) == ["id_ed25519", "page-0001.png"]  # noqa: PTH208
