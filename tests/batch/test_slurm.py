"""A job over a real Slurm of two nodes: its coordinator, a pilot and the controller end early."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import PROGRAM
from tests.lab import slow

PAGES = 40

pytestmark = pytest.mark.lab


@pytest.fixture
def folder(home: Path) -> Path:
    if os.geteuid() != 0 or shutil.which("slurmctld") is None or shutil.which("munged") is None:
        pytest.skip("needs root, slurm-wlm and munge")
    pdfs.write(home / "many.pdf", pdfs.numbered(PAGES))
    (home / "san").mkdir()
    (home / "slow").mkdir()
    (home / "slow" / "gs").write_text(slow.script(0.5))
    (home / "slow" / "gs").chmod(0o755)
    pool = 'name = "cluster"\nengine = "slurm"\npilots = 2\nwalltime = "10m"\ncarrier = "pipe"'
    (home / "hosts.toml").write_text(f'[san]\npath = "{home}/san"\n[[pools]]\n{pool}\n')
    return home


# In the matrix: beside the other tests slurmd may refuse to launch ("launch failed requeued held").
@pytest.mark.matrix
def test_a_job_over_slurm_survives_its_coordinator_a_pilot_and_the_controller(folder: Path) -> None:
    world = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--"]
    script = str(Path(__file__).with_name("slurm.sh"))
    answer = subprocess.run(
        [*world, "bash", script, str(folder), *PROGRAM],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    said = answer.stdout.split("\n")
    log = answer.stdout + answer.stderr
    log += "".join(path.read_text() for path in sorted(folder.glob("*.txt")))
    assert {"exit 0", "queue 0", "holders 0"} <= set(said), log
    hosts = json.loads((folder / "hosts.json").read_text())
    (pool,) = hosts["pools"]
    assert (pool["state"], pool["free"]) == ("usable", 8)
    (path,) = (folder / "san").glob("many-*/journal.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    delivered = sorted(entry["page"] for entry in entries if entry["type"] == "page_delivered")
    assert delivered == list(range(1, PAGES + 1))
    assert not [entry for entry in entries if entry["type"] == "attempt_failed"]
    second = [entry for entry in entries if entry["epoch"] == 2]
    first = {entry["name"] for entry in entries if entry["type"] == "pilots_submitted"}
    # The pilots of the coordinator that was killed work for the next: nothing was queued again for it.
    assert {"slurm:1_0", "slurm:1_1"} <= {entry.get("host") for entry in second}, first
    removed = [entry for entry in second if entry.get("state") == "removed"]
    assert removed, "the cancelled pilot left"
