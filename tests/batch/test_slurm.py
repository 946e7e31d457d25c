"""Jobs over a real Slurm of four nodes: pilots, their coordinator and the controller end early."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests import pdfs
from tests.batch.pooljob import Entry, PoolJob, require_plain
from tests.batch.slurmfarm import SlurmFarm, missing
from tests.conftest import PROGRAM
from tests.lab.coordinators import Coordinator, Machine, submitted
from tests.lab.farm import Farm
from tests.lab.inventory import table
from tests.lab.prepared import Prepared
from tests.lab.requirements import require_lab, skip_or_fail
from tests.lab.slow import open_gate_after, pace

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
    """The cluster. After each test it is empty: no pilot, and no file of ours on a node."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.require_empty()
    for each in cluster.farm.san.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    for host in cluster.farm.hosts:
        host.exec("rm", "-f", "/usr/local/bin/gs")
    # The next test asks the engine when it wants to, and not a minute after this one.
    shutil.rmtree(cluster.farm.home / ".cache", ignore_errors=True)
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

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return self.farm.run([*PROGRAM, *words, "--hosts", str(self.inventory)], timeout=120)

    def until(self, holds: Callable[[], object], what: str) -> None:
        self.slurm.until(holds, what, 120)

    def waiting(self, last: int) -> set[str]:
        """Return the hosts to which a page after ``last`` was sent."""
        return {entry["host"] for entry in self.job.journal("page_sent") if entry["page"] > last}

    def until_delivered(self, pages: int) -> None:
        self.until(lambda: len(self.job.delivered()) >= pages, f"{pages} pages")


@pytest.fixture
def desk(slurm: SlurmFarm, tmp_path: Path) -> Desk:
    return Desk(slurm, tmp_path)


@pytest.mark.parametrize(
    ("ssh_hosts", "pages"),
    [
        (2, 32),
        pytest.param(0, 261, marks=pytest.mark.matrix),
        pytest.param(2, 261, marks=pytest.mark.matrix),
    ],
)
def test_a_job_over_pilots_and_hosts_is_what_plain_ghostscript_makes(
    desk: Desk, tmp_path: Path, ssh_hosts: int, pages: int
) -> None:
    desk.write(ssh_hosts, pilots=4 - ssh_hosts)
    # So that every host gets some: those that are reached by ssh have started long before the others.
    open_gate_after(desk.farm.hosts, 0.3, 8, "/mnt/san/go")
    process = desk.render(pages, "--encoder", "ghostscript")
    desk.until(lambda: len(desk.waiting(8)) >= 4, "four hosts with a page that waits")
    (desk.farm.san / "go").touch()
    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    require_plain(desk.farm.san / "out" / "many", desk.document, tmp_path / "plain", 40)
    desk.job.require_whole(pages)
    kinds = Counter(host.partition(":")[0] for host in desk.job.hosts())
    assert kinds["slurm"] == 4 - ssh_hosts
    assert kinds["node1"] + kinds["node2"] == ssh_hosts
    names = [entry["type"] for entry in desk.job.journal() if entry["type"].startswith("pilots_")]
    assert names == ["pilots_requested", "pilots_submitted", "pilots_ended"]


@pytest.mark.parametrize(
    ("partition", "reason"),
    [
        ("nope", "Invalid partition name"),
        # Nobody may submit to it from the desk, as to one of another account.
        pytest.param("staff", "Access/permission denied", marks=pytest.mark.matrix),
    ],
)
def test_a_refused_submission_is_explained_and_not_repeated(
    desk: Desk, partition: str, reason: str
) -> None:
    desk.write(partition=partition)
    process = desk.render(4)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert reason in err
    assert f"hint: sshrender hosts --hosts {desk.inventory}" in err
    assert 1 <= len(desk.job.journal("pilots_requested")) <= 3
    hosts = desk.say("hosts", "--json")
    (pool,) = json.loads(hosts.stdout)["pools"]
    assert (hosts.returncode, pool["state"]) == (4, "refused")
    assert reason in pool["reason"]
    (folder,) = desk.farm.san.glob("many-*")
    assert reason in json.loads(desk.say("status", "--json", folder.name).stdout)["reason"]


@pytest.mark.matrix
def test_a_script_that_fails_at_once_does_not_flood_the_queue(desk: Desk) -> None:
    desk.write()
    desk.inventory.write_text(
        desk.inventory.read_text().replace("[defaults]", '[defaults]\npython = "/nonexistent/python3"')
    )
    process = desk.render(8)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 4, err
    assert "a pilot left the queue before it reported" in err
    assert len(desk.job.journal("pilots_requested")) == 1


@pytest.mark.matrix
def test_pilots_whose_walltime_ends_give_their_pages_back_in_time(desk: Desk) -> None:
    pace(desk.farm.hosts, 1.0)
    desk.write(walltime="3m")
    process = desk.render(600)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    desk.job.require_whole(600)
    assert len(desk.job.hosts()) > 4
    assert set(desk.job.reasons("removed").values()) >= {"its allocation ends"}


@pytest.mark.matrix
def test_where_arrays_have_one_element_each_pilot_is_submitted_alone(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_lab()
    with Farm(tmp_path / "farm", 2, cpus=1, start=False, prepared=prepared) as farm:
        slurm = SlurmFarm(farm, max_array=1)
        monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
        pace(farm.hosts, 0.5)
        desk = Desk(slurm, tmp_path)
        desk.write(pilots=2)
        process = desk.render(24)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        desk.job.require_whole(24)
        assert [entry["count"] for entry in desk.job.journal("pilots_requested")] == [2, 1, 1]
        assert len(desk.job.hosts()) == 2
        slurm.require_empty()


def test_pilots_that_are_cancelled_preempted_or_lost_with_their_node_lose_nothing(desk: Desk) -> None:
    slurm, job = desk.slurm, desk.job
    open_gate_after(desk.farm.hosts, 0.4, 24, "/mnt/san/go")
    process = desk.render(60)
    desk.until_delivered(8)
    desk.until(lambda: len(job.journal("host_connected")) >= 4, "four pilots")
    first, second, third, _ = sorted(slurm.jobs("RUNNING"))
    urgent, lost = slurm.node_of(second), slurm.node_of(third)
    slurm("scancel", first)
    slurm("sbatch", "-p", "urgent", "-w", urgent.name, "-D", "/", "-o", "/dev/null", "--wrap", "sleep 1")
    lost.power_loss()
    slurm("scontrol", "update", f"nodename={lost.name}", "state=down", "reason=lost")
    ended = {f"slurm:{each}" for each in (first, second, third)}
    desk.until(lambda: ended <= set(job.reasons("removed")), "three pilots that leave")
    (desk.farm.san / "go").touch()
    try:
        _, err = process.communicate(timeout=150)
    finally:
        lost.start()
        slurm.start_node(lost)
    assert process.returncode == 0, err
    job.require_whole(60)


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.matrix)])
def test_another_coordinator_attaches_to_the_pilots_and_needs_no_controller(
    desk: Desk, seconds: int
) -> None:
    slurm, job = desk.slurm, desk.job
    gate = desk.farm.san / "go"
    open_gate_after(desk.farm.hosts, 0.2, 16, "/mnt/san/go")
    pages = 48 + 8 * seconds
    pdfs.write(desk.document, pdfs.numbered(pages))
    with ExitStack() as machines:
        office = Machine(desk.farm, "office", desk.inventory)
        words = [str(desk.document), "-o", "/mnt/san/out/many", "--dpi", "40"]
        submitted(office.say("submit", *words))
        one, two = (
            Coordinator(desk.farm, each, desk.inventory, "coordinate") for each in ("one", "two")
        )
        for each in (one, two):
            machines.callback(each.kill)
        machines.callback(slurm.start_controller)
        one.start()
        desk.until_delivered(8)
        two.start()
        one.kill()
        killed = time.time()
        desk.until(lambda: sent_by_second(job), "a take-over")
        gate.with_name("go.24").touch()
        desk.until_delivered(24)
        slurm.kill_controller()
        dead = time.monotonic()
        gate.touch()
        desk.until(
            lambda: len(job.delivered()) >= 36 and time.monotonic() > dead + seconds,
            "pages without a controller",
        )
        slurm.start_controller()
        desk.until(lambda: job.journal("run_ended"), "the end of the job")
    job.require_whole(pages)
    # Nothing was queued again: the second coordinator works with the pilots of the first.
    assert len(job.journal("pilots_requested")) == 1
    if seconds:  # where nothing else runs
        again = datetime.fromisoformat(sent_by_second(job)[0]["time"])
        assert again.timestamp() - killed <= TAKE_OVER


def sent_by_second(job: PoolJob) -> list[Entry]:
    """Return the pages that the second coordinator has sent."""
    return [entry for entry in job.journal("page_sent") if entry["epoch"] == 2]
