"""Hosts whose temporary files lie in one shared folder, as homes on NFS do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import pdfs
from tests.lab.farm import Farm
from tests.lab.slow import pace
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]


def test_hosts_that_share_a_scratch_folder_leave_each_other_s_folders_alone(
    farm: Farm, tmp_path: Path
) -> None:
    """A second job starts runners on both hosts while those of the first work there."""
    shared = farm.san / "scratch"
    shared.mkdir()
    shared.chmod(0o1777)
    # The hosts' pids differ, as they do between machines.
    farm["node2"].exec("sh", "-c", "for n in $(seq 500); do /bin/true; done", check=True)
    defaults = {"san": False, "scratch": f"{farm.san_inside}/scratch"}
    inventory = str(farm.write_inventory(defaults=defaults))
    pace(farm.hosts, 0.3)
    running = []
    for name, pages in (("one", 50), ("two", 10)):
        document = pdfs.write(tmp_path / f"{name}.pdf", pdfs.numbered(pages))
        words = ["--hosts", inventory, "-r", "72", "-o", str(farm.root / name), "--json"]
        command = [*PROGRAM, "render", str(document), *words]
        running.append(farm.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        wait_until(lambda: list(shared.glob("*/work/*")), 60, "a host that renders there", pause=0.05)
    for process in running:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        journal = farm.san / json.loads(stdout)["job"] / "journal.jsonl"
        told = [json.loads(line) for line in journal.read_text().splitlines()]
        wrong = ("attempt_failed", "storage_failed")
        assert [entry for entry in told if entry["type"] in wrong] == []
        states = {entry["state"] for entry in told if entry["type"] == "host_state"}
        assert states <= {"connecting", "idle", "busy"}
