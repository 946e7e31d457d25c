"""Hosts of different speed, hosts that are taken out of use, pages that go where somebody wants them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.plugin import FarmFactory
from tests.lab.slow import FOR_EVER, GATE, gated, go_on, open_gate_after, slow_down
from tests.stretch import wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]


class Job:
    """One render on a farm, and what its journal says of it."""

    def __init__(self, farm: Farm, document: Path, *words: str, **inventory: Any) -> None:
        self.farm = farm
        self.hosts = farm.write_inventory(**inventory)
        command = [*PROGRAM, "render", str(document), "--hosts", str(self.hosts), "-r", "30"]
        command += ["-o", str(farm.root / "out"), "--json", *words]
        pipe = subprocess.PIPE
        self.process = farm.popen(command, stdout=pipe, stderr=pipe)

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command, on the same inventory."""
        return self.farm.run([*PROGRAM, *words, "--hosts", str(self.hosts)])

    def end(self) -> tuple[int, dict[str, Any]]:
        """Exit code and summary, once it has ended."""
        stdout, stderr = self.process.communicate(timeout=120)
        assert "Traceback" not in stderr
        return self.process.returncode, json.loads(stdout or "{}")

    def journal(self) -> list[dict[str, Any]]:
        """Every entry so far."""
        return [entry for path in self.farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]

    def of(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """The entries of one kind with these fields."""
        return [
            entry
            for entry in self.journal()
            if entry["type"] == kind and all(entry[key] == value for key, value in fields.items())
        ]

    def landed(self, host: str) -> list[dict[str, Any]]:
        """Return the ends of the attempts of a host."""
        ends = ("page_delivered", "page_returned", "attempt_failed", "attempt_dropped")
        return [entry for kind in ends for entry in self.of(kind, host=host)]

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Until it is true, while the job runs."""

        def is_met() -> object:
            found = condition()
            assert found or self.process.poll() is None, self.process.communicate()[1]
            return found

        wait_until(is_met, seconds, pause=0.05)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Sixty small pages."""
    return pdfs.write(tmp_path / "many.pdf", pdfs.numbered(60))


def test_the_slowest_host_does_not_hold_the_last_page(farm_factory: FarmFactory, many: Path) -> None:
    farm = farm_factory(3)
    open_gate_after(farm.hosts[:2], 0.1, 10, GATE)
    slow_down(farm["node3"], FOR_EVER)
    with gated(farm, node3="sent"):
        job = Job(farm, many, "--pages", "1-40")
        code, summary = job.end()
    assert code == 0
    hosts = {host["name"]: host for host in summary["hosts"]}
    # Once its page is done elsewhere, it may get another one.
    assert hosts["node3"]["pages"] == 0 < hosts["node3"]["hedged"]
    assert sum(host["failures"] for host in hosts.values()) == 0
    delivered = job.of("page_delivered")
    assert sorted(entry["page"] for entry in delivered) == list(range(1, 41))
    doubled = [entry for entry in job.of("page_sent") if "because" in entry]
    dropped = job.of("attempt_dropped", is_hedged=True)
    assert len(dropped) == sum(host["hedged"] for host in hosts.values())
    told = job.say("why", summary["job"], "--page", str(doubled[0]["page"])).stdout
    assert "also sent to" in told
    assert "stopped: " in told


def test_hedging_can_be_left_out(farm_factory: FarmFactory, many: Path) -> None:
    farm = farm_factory(2)
    slow_down(farm["node1"], 0.1)
    slow_down(farm["node2"], 4.0)
    job = Job(farm, many, "--pages", "1-8", "--no-hedge")
    code, summary = job.end()
    assert code == 0
    assert [entry for entry in job.of("page_sent") if "because" in entry] == []
    assert sum(host["hedged"] for host in summary["hosts"]) == 0


def test_a_host_drained_in_the_middle_gives_its_pages_back_unfinished(
    farm_factory: FarmFactory, many: Path
) -> None:
    farm = farm_factory(2)
    open_gate_after(farm.hosts, 0.1, 6, GATE)
    job = Job(farm, many, "--pages", "1-14")
    job.wait_for(lambda: any(entry["page"] > 6 for entry in job.of("page_sent", host="node1")))
    said = job.say("drain", "node1", "--note", "a new disk")
    assert said.returncode == 0, said.stderr
    job.wait_for(lambda: job.of("host_state", host="node1", state="drained"))
    assert "a new disk" in job.say("drain").stdout
    assert "drained" in job.say("hosts").stdout
    job.wait_for(lambda: len(job.of("page_sent", host="node1")) == len(job.landed("node1")))
    assert job.of("page_returned", host="node1")
    sent = len(job.of("page_sent", host="node1"))
    go_on(farm)
    code, summary = job.end()
    assert code == 0
    (drained,) = job.of("host_state", host="node1", state="drained")
    assert drained["reason"].endswith("a new disk")
    assert len(job.of("page_sent", host="node1")) == sent
    hosts = {host["name"]: host for host in summary["hosts"]}
    assert hosts["node1"]["state"] == "drained"
    assert hosts["node1"]["failures"] == 0


def test_a_drained_host_stays_so_for_the_next_job_until_it_is_given_back(
    farm_factory: FarmFactory, many: Path
) -> None:
    farm = farm_factory(2)
    hosts = farm.write_inventory()
    assert farm.run([*PROGRAM, "drain", "node[1]", "--hosts", str(hosts)]).returncode == 0
    job = Job(farm, many, "--pages", "1-20")
    assert job.end()[0] == 0
    assert job.of("page_sent", host="node1") == []
    again = Job(farm, many, "--pages", "1-20", "-r", "31", "--overwrite")
    again.wait_for(lambda: len(again.of("page_delivered")) >= 21)
    assert again.say("undrain", "node1").returncode == 0
    assert again.end()[0] == 0
    assert again.say("drain").stdout == ""


def test_pages_that_are_pinned_or_moved_by_hand_go_there(farm_factory: FarmFactory, many: Path) -> None:
    farm = farm_factory(2)
    open_gate_after(farm.hosts, 0.1, 6, GATE)
    job = Job(farm, many, "--pages", "1-24", "--pin", "3-5=node2", "--pin", "24=node1")
    job.wait_for(lambda: job.of("page_delivered"))
    said = job.say("move", "many", "20-22", "node1")
    assert said.returncode == 0, said.stderr
    job.wait_for(lambda: len(job.of("requested", op="move")) == 3)
    go_on(farm)
    assert job.end()[0] == 0
    rendered_by = {entry["page"]: entry["host"] for entry in job.of("page_delivered")}
    assert {rendered_by[page] for page in (3, 4, 5)} == {"node2"}
    assert {rendered_by[page] for page in (20, 21, 22, 24)} == {"node1"}


def test_hosts_can_be_avoided(farm: Farm, many: Path) -> None:
    job = Job(farm, many, "--pages", "1-5", "--avoid", "node1")
    code, summary = job.end()
    assert code == 0
    assert [host["name"] for host in summary["hosts"]] == ["node2"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--pin", "3=node9"], "node9 is not among the hosts of this run"),
        (["--pin", "node1"], "a pin is written as"),
        (["--avoid", "node[1-2]"], "no host is left"),
        (["--avoid", "node7"], "not in the inventory"),
    ],
)
def test_what_cannot_be_meant_is_said(farm: Farm, many: Path, words: list[str], hint: str) -> None:
    hosts = farm.write_inventory()
    answer = farm.run([*PROGRAM, "render", str(many), "--hosts", str(hosts), *words])
    assert answer.returncode == 2
    assert hint in answer.stderr


def test_draining_what_nobody_knows_is_an_error(farm: Farm) -> None:
    hosts = farm.write_inventory()
    answer = farm.run([*PROGRAM, "drain", "nobody", "--hosts", str(hosts)])
    assert answer.returncode == 2
    assert "nobody: not in the inventory" in answer.stderr
