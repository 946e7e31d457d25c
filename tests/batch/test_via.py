"""``via``: the commands of TORQUE's stand-ins are typed on a login host of the lab, over a real sshd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.conftest import PROGRAM
from tests.lab.farm import Farm
from tests.lab.inventory import table
from tests.lab.plugin import FarmFactory
from tests.lab.slow import GATE, go_on, open_gate_after
from tests.stretch import wait_until

ROOT = Path(__file__).parents[2]
CLUSTER = "/var/lib/cluster"
SAN = "/mnt/it's $HOME grün"
COMMANDS = ("qsub", "qstat", "qdel", "qhold", "qrls", "pbsnodes")
PROFILE = r"""
echo "Welcome to login1: maintenance on Friday"; echo "quota: 97 %" >&2
export PATH=/opt/torque/bin:$PATH
export PBS_DPREFIX='#SITE' SBATCH_PARTITION=none PS1=$'\e[1m$ ' POEM=$'two\nlines of * it'
"""


@pytest.fixture
def login(farm_factory: FarmFactory) -> Farm:
    """A farm whose one host has the commands in the PATH of its login shells alone."""
    farm = farm_factory(1)
    host = farm["node1"]
    # A checkout below /tmp is not there on a host, which has a /tmp of its own.
    for path in (ROOT / "tests" / "__init__.py", *(ROOT / "tests" / "batch").glob("*.py")):
        host.install(f"{CLUSTER}/{path.relative_to(ROOT)}", path.read_text(), 0o644)
    for name in COMMANDS:
        words = f"/usr/bin/env >> {CLUSTER}/environ; PYTHONPATH={CLUSTER} exec /usr/bin/python3"
        text = f'#!/bin/sh\n{words} -m tests.batch.torque {CLUSTER} {name} "$@"\n'
        host.install(f"/opt/torque/bin/{name}", text)
    host.install(f"{CLUSTER}/config.json", json.dumps({"slots": 2}), 0o644)
    host.install("/root/.bash_profile", PROFILE)
    host.install("/root/.bashrc", "echo noise of .bashrc\n")
    open_gate_after([host], 0.1, 8, GATE)
    host.exec("mkdir", SAN, check=True)
    host.exec("mount", "--bind", "/mnt/san", SAN, check=True)
    entry = {"name": "login1", "address": host.address, "user": "root", "identity_file": farm.identity}
    pool = {"name": "cluster", "engine": "torque", "pilots": 2, "walltime": "10m", "via": "login1"}
    parts = [
        table("[san]", {"path": farm.san_inside}),
        table("[[hosts]]", {**entry, "known_hosts": farm.known_hosts}),
        table("[[pools]]", {**pool, "san": SAN, "environment": {"TITLE": "a 'b' $c über"}}),
    ]
    (farm.root / "hosts.toml").write_text("\n".join(parts))
    return farm


def _state(farm: Farm) -> dict[str, int]:
    """How many jobs the engine has in each state."""
    answer = farm["node1"].exec("cat", f"{CLUSTER}/state.json")
    jobs = json.loads(answer.stdout)["jobs"].values() if answer.returncode == 0 else ()
    states = [job["state"] for job in jobs]
    return {state: states.count(state) for state in states}


def _delivered(farm: Farm) -> int:
    return sum(path.read_text().count('"page_delivered"') for path in farm.san.glob("*/journal.jsonl"))


def test_a_login_host_that_goes_away_in_the_middle_ends_no_job(login: Farm, tmp_path: Path) -> None:
    hosts = ["--hosts", str(login.root / "hosts.toml")]
    shown = login.run([*PROGRAM, "hosts", *hosts, "--json"])
    (pool,) = json.loads(shown.stdout)["pools"]
    assert (pool["state"], pool["version"], pool["free"]) == ("usable", "6.1.3.h5", 2), pool
    document = pdfs.write(tmp_path / "many.pdf", pdfs.numbered(24))
    words = [*PROGRAM, "render", *hosts, "--engine", "cluster", "--dpi", "40"]
    process = login.popen(
        [*words, "-o", str(login.root / "out"), str(document)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: _delivered(login) >= 3 or process.poll() is not None, pause=0.2)
    assert process.poll() is None, process.communicate()
    login["node1"].cut()
    go_on(login)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert _delivered(login) == 24
    login["node1"].heal()
    environ = login["node1"].exec("cat", f"{CLUSTER}/environ").stdout
    assert "HOME=/root" in environ
    assert not {
        name for name in ("SBATCH_PARTITION", "PBS_DPREFIX", "PS1", "POEM") if f"{name}=" in environ
    }
    wait_until(lambda: set(_state(login)) == {"C"}, what=lambda: _state(login), pause=0.2)
