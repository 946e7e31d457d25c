"""A job over a real Grid Engine of one node, in an overlay of the file system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import PROGRAM
from tests.lab import requirements

PACKAGES = (
    "gridengine-common",
    "gridengine-client",
    "gridengine-master",
    "gridengine-exec",
    "libjemalloc2",
    "libmunge2",
    "libhwloc15",
)
PAGES = 12

# In the matrix: it downloads packages, and CI must not depend on their server. The commands and answers
# of batch systems are tested with stand-ins (test_pilots.py).
pytestmark = [pytest.mark.lab, pytest.mark.matrix]


@pytest.fixture
def folder(home: Path) -> Path:
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
    pdfs.write(home / "many.pdf", pdfs.numbered(PAGES))
    (home / "san").mkdir()
    pool = 'name = "cluster"\nengine = "gridengine"\npilots = 2\nwalltime = "10m"'
    (home / "hosts.toml").write_text(f'[san]\npath = "{home}/san"\n[[pools]]\n{pool}\n')
    return home


def test_a_job_over_grid_engine_alone(folder: Path) -> None:
    world = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--"]
    script = str(Path(__file__).with_name("gridengine.sh"))
    answer = subprocess.run(
        [*world, "bash", script, str(folder), *PROGRAM],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    log = answer.stdout + answer.stderr
    assert {"exit 0", "queue 0", "holders 0"} <= set(answer.stdout.split("\n")), log
    (pool,) = json.loads((folder / "hosts.json").read_text())["pools"]
    assert (pool["state"], pool["free"]) == ("usable", 4), log
    (path,) = (folder / "san").glob("many-*/journal.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    delivered = [entry for entry in entries if entry["type"] == "page_delivered"]
    assert sorted(entry["page"] for entry in delivered) == list(range(1, PAGES + 1))
    assert {entry["host"] for entry in delivered} <= {"gridengine:1_1", "gridengine:1_2"}
