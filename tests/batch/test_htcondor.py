"""Jobs over a real HTCondor of one node, in a Debian 13: Debian 12 has no package of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.batch.pooljob import PoolJob
from tests.lab import requirements, slow

ROOT = Path(__file__).parents[2]
SCRIPT = str(Path(__file__).with_name("htcondorpool.sh"))

# In the matrix: it downloads a system and packages, and CI must not depend on their servers. The
# commands and answers of batch systems are tested with stand-ins (test_pilots.py).
pytestmark = [pytest.mark.lab, pytest.mark.matrix, pytest.mark.timeout(1500)]

PAGES = 24

POOL = """[san]
path = "/srv/job/san"
[defaults]
ghostscript = "/srv/job/slow/gs"
[[pools]]
name = "cluster"
engine = "htcondor"
pilots = 2
walltime = "10m"
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None or requirements.missing():
        pytest.skip(f"needs root, debootstrap and the lab: {requirements.missing()}")
    made = subprocess.run(
        ["bash", SCRIPT, "make", str(tmp_path / "root"), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if made.returncode:
        said = made.stdout[-400:] + made.stderr[-400:]
        pytest.skip(f"Debian 13 and HTCondor cannot be fetched: {said}")
    return tmp_path / "root"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "slow").mkdir(parents=True)
    pdfs.write(folder / "many.pdf", pdfs.numbered(PAGES))
    (folder / "slow" / "gs").write_text(slow.script(0.2, None, 8, "/srv/job/go"))
    (folder / "slow" / "gs").chmod(0o755)
    (folder / "files.toml").write_text(POOL)
    (folder / "pipe.toml").write_text(f'{POOL}carrier = "pipe"\n')
    (folder / "none.toml").write_text(f'{POOL}memory = "900G"\n')
    return folder


def test_jobs_over_htcondor_lose_nothing_and_leave_nothing(system: Path, folder: Path) -> None:
    answer = subprocess.run(
        ["bash", SCRIPT, "run", str(system), str(folder)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    log = answer.stdout + answer.stderr
    ends = {"resume 0", "pipe 0", "drained 0", "none 130", "left 0"}
    assert ends <= set(answer.stdout.split("\n")), log
    assert "never" not in answer.stdout, log
    (pool,) = json.loads((folder / "hosts.json").read_text())["pools"]
    assert (pool["state"], pool["free"], pool["reason"]) == ("usable", 4, ""), log
    jobs = {_dpi(path): PoolJob(path.parent) for path in (folder / "san").glob("*/job.json")}
    for dpi in (40, 41, 42):
        jobs[dpi].require_whole(PAGES)
    assert [each for each in jobs[40].reasons("removed") if each.endswith("_1")], log
    assert "drained by ann@desk: new disk" in jobs[42].reasons("drained").values(), log
    for page in range(1, PAGES + 1):
        ours = folder / "files" / f"page-{page:04d}.png"
        assert ours.read_bytes() == (folder / f"plain-{page:04d}.png").read_bytes()


def _dpi(path: Path) -> int:
    (found,) = re.findall(r'"dpi": ?(\d+)', path.read_text())
    return int(found)
