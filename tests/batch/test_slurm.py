"""Jobs over a real Slurm of four nodes: pilots, their coordinator and the controller end early."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import pdfs
from tests.batch.pooljob import PoolJob, require_plain
from tests.batch.slurmfarm import SlurmFarm, missing
from tests.conftest import PROGRAM
from tests.lab.coordinators import Coordinator, Machine, submitted
from tests.lab.farm import Farm
from tests.lab.inventory import table
from tests.lab.prepared import Prepared
from tests.lab.requirements import require_lab, skip_or_fail
from tests.lab.slow import pace

TAKE_OVER = 20.0
"""Seconds in which another coordinator has gone on."""

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[SlurmFarm]:
    require_lab()
    if missing():
        skip_or_fail(f"Slurm needs: {missing()}")
    with Farm(tmp_path_factory.mktemp("slurm"), 4, cpus=1, start=False, prepared=prepared) as farm:
        yield SlurmFarm(farm)


@pytest.fixture
def slurm(cluster: SlurmFarm, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmFarm]:
    """The cluster, which is as it was before after each test: no pilot, and no file of ours on a node."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.require_empty()
    for each in cluster.farm.san.iterdir():
        shutil.rmtree(each)
    for host in cluster.farm.hosts:
        host.exec("rm", "-f", "/usr/local/bin/gs")
    cluster.await_idle()


class Desk:
    """Where jobs over the pool are started and looked at."""

    def __init__(self, slurm: SlurmFarm, folder: Path) -> None:
        self.slurm, self.farm = slurm, slurm.farm
        self.job = PoolJob(self.farm.san)
        self.inventory = folder / "hosts.toml"
        self.document = folder / "many.pdf"
        self.write()

    def write(self, ssh_hosts: int = 0, **pool: object) -> None:
        """Write the inventory: so many hosts that are reached by ssh, and the pool with these keys."""
        fields = {"name": "cluster", "engine": "slurm", "pilots": 4, "walltime": "10m", **pool}
        self.farm.write_inventory(self.inventory)
        first, *hosts = self.inventory.read_text().split("[[hosts]]")
        parts = [first, *hosts[:ssh_hosts]]
        self.inventory.write_text("[[hosts]]".join(parts) + table("[[pools]]", fields))

    def render(self, pages: int, *words: str) -> subprocess.Popen[str]:
        """Start to render a document of so many pages."""
        pdfs.write(self.document, pdfs.numbered(pages))
        command = [*PROGRAM, "render", str(self.document), "--hosts", str(self.inventory)]
        command += ["-o", "/mnt/san/out/many", "--dpi", "40", *words]
        pipe = subprocess.PIPE
        return self.farm.popen(command, stdout=pipe, stderr=pipe)

    def until(self, holds: Callable[[], object], what: str) -> None:
        self.slurm.until(holds, what, 120)

    def until_delivered(self, pages: int) -> None:
        self.until(lambda: len(self.job.delivered()) >= pages, f"{pages} pages")


@pytest.fixture
def desk(slurm: SlurmFarm, tmp_path: Path) -> Desk:
    return Desk(slurm, tmp_path)


def test_a_job_over_slurm_alone_is_what_plain_ghostscript_makes(desk: Desk, tmp_path: Path) -> None:
    process = desk.render(24, "--encoder", "ghostscript")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    require_plain(desk.farm.san / "out" / "many", desk.document, tmp_path / "plain", 40)
    desk.job.require_whole(24)
    names = [entry["type"] for entry in desk.job.journal() if entry["type"].startswith("pilots_")]
    assert names == ["pilots_requested", "pilots_submitted", "pilots_ended"]


def test_pilots_that_are_cancelled_preempted_or_lost_with_their_node_lose_nothing(desk: Desk) -> None:
    slurm, job = desk.slurm, desk.job
    pace(desk.farm.hosts, 0.5)
    process = desk.render(90)
    desk.until_delivered(8)
    first, second, third, _ = sorted(slurm.jobs("RUNNING"))
    urgent, lost = slurm.node_of(second), slurm.node_of(third)
    slurm("scancel", first)
    slurm("sbatch", "-p", "urgent", "-w", urgent.name, "-D", "/", "-o", "/dev/null", "--wrap", "sleep 1")
    lost.power_loss()
    slurm("scontrol", "update", f"nodename={lost.name}", "state=down", "reason=lost")
    try:
        _, err = process.communicate(timeout=150)
    finally:
        lost.start()
        slurm.start_node(lost)
    assert process.returncode == 0, err
    job.require_whole(90)
    assert {f"slurm:{each}" for each in (first, second, third)} <= set(job.reasons("removed"))


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.matrix)])
def test_another_coordinator_attaches_to_the_pilots_and_needs_no_controller(
    desk: Desk, seconds: int
) -> None:
    slurm, job = desk.slurm, desk.job
    pace(desk.farm.hosts, 0.5)
    pages = 60 + 8 * seconds
    pdfs.write(desk.document, pdfs.numbered(pages))
    with ExitStack() as machines:
        office = Machine(desk.farm, "office", desk.inventory)
        words = [str(desk.document), "-o", "/mnt/san/out/many", "--dpi", "40"]
        (name,) = submitted(office.say("submit", *words))
        one, two = (
            Coordinator(desk.farm, each, desk.inventory, "coordinate") for each in ("one", "two")
        )
        for each in (one, two):
            machines.callback(each.kill)
        one.start()
        desk.until_delivered(8)
        two.start()
        one.kill()
        killed = time.time()
        desk.until(
            lambda: [each for each in job.journal("page_sent") if each["epoch"] == 2], "a take-over"
        )
        again = next(each for each in job.journal("page_sent") if each["epoch"] == 2)
        before = len(job.delivered())
        desk.until_delivered(before + 4)
        slurm.kill_controller()
        dead = time.monotonic()
        desk.until(
            lambda: len(job.delivered()) >= before + 12 and time.monotonic() > dead + seconds,
            "pages without a controller",
        )
        slurm.start_controller()
        desk.until(lambda: job.journal("run_ended"), "the end of the job")
    job.require_whole(pages)
    # Nothing was queued again: the second coordinator works with the pilots of the first.
    assert len(job.journal("pilots_requested")) == 1
