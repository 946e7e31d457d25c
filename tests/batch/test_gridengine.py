"""Jobs over a real Grid Engine of one node, in an overlay of the file system."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.batch.pooljob import PoolJob, require_plain
from tests.conftest import PROGRAM
from tests.lab import requirements, slow

PACKAGES = (
    "gridengine-common",
    "gridengine-client",
    "gridengine-master",
    "gridengine-exec",
    "libjemalloc2",
    "libmunge2",
    "libhwloc15",
)

# In the matrix: it downloads packages, and CI must not depend on their server. The commands and answers
# of batch systems are tested with stand-ins (test_pilots.py).
pytestmark = [pytest.mark.lab, pytest.mark.matrix]


@pytest.fixture(params=[24, pytest.param(261, marks=pytest.mark.matrix)])
def pages(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def folder(home: Path, pages: int) -> Path:
    if os.geteuid() != 0 or shutil.which("apt-get") is None or requirements.missing():
        pytest.skip(f"needs root, apt-get and the lab: {requirements.missing()}")
    (home / "debs").mkdir(mode=0o777)
    fetched = subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *PACKAGES],
        cwd=home / "debs",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"Grid Engine's packages cannot be fetched: {fetched.stderr}")
    pdfs.write(home / "many.pdf", pdfs.numbered(pages))
    (home / "san").mkdir()
    (home / "slow").mkdir()
    (home / "slow" / "gs").write_text(slow.script(0.2, None, 8, str(home / "go")))
    (home / "slow" / "gs").chmod(0o755)
    pool = 'name = "cluster"\nengine = "gridengine"\npilots = 2\nwalltime = "10m"'
    # By its path: the engine's jobs have a PATH of their own.
    defaults = f'[defaults]\nghostscript = "{home}/slow/gs"'
    inventory = f'[san]\npath = "{home}/san"\n{defaults}\n[[pools]]\n{pool}\n'
    (home / "hosts.toml").write_text(inventory)
    (home / "refused.toml").write_text(f'{inventory}queue = "nope"\n')
    return home


def test_a_job_over_grid_engine_loses_a_pilot_and_is_what_plain_ghostscript_makes(
    folder: Path, pages: int
) -> None:
    world = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--"]
    script = str(Path(__file__).with_name("gridengine.sh"))
    answer = subprocess.run(
        [*world, "bash", script, str(folder), *PROGRAM],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    log = answer.stdout + answer.stderr
    assert {"exit 0", "left 0"} <= set(answer.stdout.split("\n")), log
    (pool,) = json.loads((folder / "hosts.json").read_text())["pools"]
    assert (pool["state"], pool["free"], pool["reason"]) == ("usable", 4, ""), log
    first, refused = (PoolJob(path) for path in _by_dpi(folder / "san"))
    first.require_whole(pages)
    left = {**first.reasons("drained"), **first.reasons("removed")}
    assert [each for each in left if each.endswith("_2")], log
    require_plain(folder / "out", folder / "many.pdf", folder / "plain", 40)
    # A queue that does not exist: `hosts` says so without a submission, and a job after two.
    (pool,) = json.loads((folder / "refused.json").read_text())["pools"]
    assert (pool["state"], "unknown queue" in pool["reason"]) == ("refused", True), pool
    result = json.loads((folder / "none.json").read_text())
    assert {"hosts 4", "refused 4"} <= set(answer.stdout.split("\n")), log
    assert "unknown queue" in result["reason"]
    assert 1 <= len(refused.journal("pilots_requested")) <= 2


def _by_dpi(san: Path) -> list[Path]:
    """Return the folders of the jobs, the finer one first."""
    folders = sorted(path.parent for path in san.glob("*/job.json"))
    return sorted(folders, key=lambda each: -_dpi(each))


def _dpi(folder: Path) -> int:
    (found,) = re.findall(r'"dpi": ?(\d+)', (folder / "job.json").read_text())
    return int(found)
