"""Several jobs want the same hosts: priorities, shares, limits, never more renderers than slots."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import pdfs
from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.plugin import FarmFactory
from tests.lab.slow import GATE, go_on, open_gate_after
from tests.stretch import stretched, wait_until

PROGRAM = [sys.executable, "-m", "sshrender"]
PACE = 0.25
"""Seconds a page: long beside what a change of renderers costs, short beside a turn."""


class Rush:
    """Jobs on one farm."""

    def __init__(self, farm: Farm, slots: int, last: int = 0) -> None:
        """``last``: pages after it wait for ``GATE``; 0: none does."""
        self.farm = farm
        self.hosts = farm.write_inventory(slots=slots)
        open_gate_after(farm.hosts, PACE, last, GATE if last else "")
        self.running: list[subprocess.Popen[str]] = []

    def render(self, name: str, pages: int, *words: str) -> None:
        """Begin a job."""
        document = pdfs.write(self.farm.root / f"{name}.pdf", pdfs.numbered(pages))
        command = [*PROGRAM, "render", str(document), "--hosts", str(self.hosts), "-r", "20"]
        command += ["-o", str(self.farm.root / f"out-{name}"), "--no-overview", "--progress", "none"]
        self.running.append(self.farm.popen([*command, *words]))

    def end(self) -> None:
        """Wait for all of them."""
        for process in self.running:
            assert process.wait(stretched(180)) == 0

    def delivered(self, name: str) -> list[float]:
        """When each page of a job was drawn."""
        done = [entry for entry in self._journal(name) if entry["type"] == "page_delivered"]
        return [datetime.fromisoformat(entry["time"]).timestamp() for entry in done]

    def met(self, name: str) -> bool:
        """Return whether a job has a host that may render."""
        return any(entry.get("state") == "idle" for entry in self._journal(name))

    def _journal(self, name: str) -> list[dict[str, Any]]:
        return [
            entry for path in self.farm.san.glob(f"{name}-*/journal.jsonl") for entry in lines_of(path)
        ]


def _renderers(host: Host) -> dict[int, str]:
    """Return the job of each real Ghostscript that draws: not of one that is asked for its version."""
    found = {}
    for pid in host.processes("gs"):
        with suppress(OSError):  # it has ended
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0] == "/usr/bin/gs" and "-sDEVICE=ppmraw" in words:
                named = [word.partition("=")[2] for word in words if word.startswith("-sSSHRENDER=")]
                found[pid] = "".join(named).partition("-")[0]
    return found


class Sampler(threading.Thread):
    """Counts the renderers of hosts all the time. ``now``: those of each job on the last host."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(daemon=True)
        self.most: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self._hosts = hosts
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.wait(0.2):
            for host in self._hosts:
                # One look is no moment: who was seen first may have ended before the last one began.
                living = dict(_renderers(host).items() & _renderers(host).items())
                self.most[host.name] = max(self.most[host.name], len(living))
                self.now = Counter(living.values())

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_it.set()
        self.join()


def test_equal_jobs_share_equally_and_one_alone_gets_everything(farm_factory: FarmFactory) -> None:
    """Of two slots each has one; when the first is through, the other has both."""
    farm = farm_factory(1)
    rush = Rush(farm, slots=2, last=4)
    with Sampler(farm.hosts) as sampler:
        rush.render("one", 60)
        rush.render("two", 100)
        wait_until(lambda: rush.met("one") and rush.met("two"), what="both have met the host")
        go_on(farm, 60)
        assert rush.running[0].wait(stretched(180)) == 0
        # The other one has pages left, which wait.
        wait_until(lambda: sampler.now["two"] == 2, what="both slots, once the other is through")
        go_on(farm)
        rush.end()
    assert sampler.most["node1"] == 2
    first, second = rush.delivered("one"), rush.delivered("two")
    together = [moment for moment in second if first[10] < moment < first[-1]]
    assert 0.5 < len(together) / len(first[10:]) < 2.0


def test_a_high_priority_goes_first_and_a_low_one_does_not_starve(farm_factory: FarmFactory) -> None:
    farm = farm_factory(1)
    rush = Rush(farm, slots=1)
    with Sampler(farm.hosts) as sampler:
        rush.render("low", 60, "--priority", "-5")
        wait_until(lambda: len(rush.delivered("low")) > 8)
        rush.render("high", 2000, "--priority", "5")  # 500 s, until it is killed
        wait_until(lambda: rush.delivered("high"))
        since = len(rush.delivered("low"))
        wait_until(lambda: len(rush.delivered("high")) > 20)
        before = len(rush.delivered("low"))
        assert before - since < len(rush.delivered("high")) / 4
        wait_until(lambda: len(rush.delivered("low")) > before, 180, "it has a turn now and then")
        for process in rush.running:
            process.kill()
            process.wait()
    assert sampler.most["node1"] == 1
    assert len(rush.delivered("low")) - before < len(rush.delivered("high")) / 4


def test_a_limited_job_leaves_the_rest_to_others(farm_factory: FarmFactory) -> None:
    farm = farm_factory(2)
    rush = Rush(farm, slots=2)
    with Sampler(farm.hosts) as sampler:
        rush.render("few", 30, "--limit", "1")
        rush.end()
    assert sum(sampler.most.values()) <= 2, "one at a time, on one host or the other"
    assert max(sampler.most.values()) == 1
    moments = rush.delivered("few")
    assert (moments[-1] - moments[0]) / len(moments) > 0.8 * PACE


def test_many_jobs_never_put_more_renderers_on_a_host_than_it_has_slots(
    farm_factory: FarmFactory, tmp_path: Path
) -> None:
    farm = farm_factory(2)
    rush = Rush(farm, slots=2, last=2)
    with Sampler(farm.hosts) as sampler:
        for number in range(4):
            rush.render(f"job{number}", 16, "--priority", str(number % 3 - 1))
        wait_until(lambda: sampler.most == {"node1": 2, "node2": 2}, what=lambda: sampler.most)
        go_on(farm)
        rush.end()
    assert sampler.most == {"node1": 2, "node2": 2}
    assert [len(rush.delivered(f"job{number}")) for number in range(4)] == [16] * 4
