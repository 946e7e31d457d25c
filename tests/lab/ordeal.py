"""Some jobs, three coordinators and a farm under random faults: one run of it, and its account."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.lab.chaos import Census, Chaos
from tests.lab.coordinators import Coordinator, wait_until
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.office import Job, Office
from tests.lab.slow import slow_down

SLOTS = {"node1": 2, "node2": 2, "node3": 2, "node4": 1, "node5": 1, "node6": 1}
PAGE_SECONDS = {"node1": 0.3, "node2": 0.5, "node3": 0.7, "node4": 0.3, "node5": 0.6, "node6": 1.0}
COORDINATORS = ("one", "two", "three")
SEED = int(os.environ.get("SSHRENDER_CHAOS_SEED", "20"))
LONG = float(os.environ.get("SSHRENDER_CHAOS_SECONDS", "600"))
AFTERWARDS = 300.0
"""Seconds in which all ends once everything is healed: what is tried again pauses for up to a minute."""


@dataclass(frozen=True)
class Length:
    """How long faults happen, how many pages each document has, seconds between two faults at most."""

    seconds: float
    pages: int
    most_between: float
    jobs: int = 12


@dataclass(frozen=True)
class Ended:
    """What one run of it left behind. ``said``: the narration of all coordinators."""

    jobs: list[Job]
    said: str
    census: Census


def inventory(farm: Farm, slots: dict[str, int]) -> Path:
    """Slow the honest hosts down, and write an inventory of all hosts with these slots."""
    for host in farm.hosts:
        if host.name in PAGE_SECONDS:
            slow_down(host, PAGE_SECONDS[host.name])
    return farm.write_inventory(extra={name: {"slots": count} for name, count in slots.items()})


class Ordeal:
    """Faults for coordinators and for ``hosts``, while the jobs of ``office`` run."""

    def __init__(self, farm: Farm, inventory: Path, hosts: Sequence[Host], length: Length) -> None:
        """Start nothing yet."""
        self.office = Office(farm, inventory, length.jobs, length.pages)
        self.coordinators = [
            Coordinator(farm, name, inventory, "coordinate", "--jobs", "2") for name in COORDINATORS
        ]
        self._hosts = hosts
        self._length = length
        self._chaos = Chaos(SEED, self.coordinators, hosts)

    def run(self, beside: AbstractContextManager[object] | None = None) -> Ended:
        """Run to the end of all jobs; ``beside`` is open meanwhile."""
        self.office.submit_most()
        began = time.monotonic()
        slots = {host.name: SLOTS[host.name] for host in self._hosts}
        with ExitStack() as machines, Census(self._hosts, slots) as census, beside or nullcontext():
            for each in self.coordinators:
                machines.callback(each.kill)
                each.start()
            self._reign()
            healed, left = time.monotonic(), len(self.office.unfinished())
            patience = AFTERWARDS + self._length.seconds  # most may be left on a machine that is slow
            wait_until(lambda: not self.office.unfinished(), patience, *self.coordinators, pause=0.5)
            ended = time.monotonic()
            jobs = self.office.jobs()
            said = "\n".join(each.said() for each in self.coordinators)
        _print(jobs, self._chaos.done, census)
        print(f"{ended - began:.0f} s, {ended - healed:.0f} s of them at peace, for {left} of the jobs")
        return Ended(jobs, said, census)

    def _reign(self) -> None:
        self.office.submit_the_others()
        wait_until(self.office.who_has_begun, AFTERWARDS, *self.coordinators)
        first = self.office.who_has_begun()
        for each in self.coordinators:
            if each.name == first:
                self._chaos.kill(each)  # so that a job is taken over for sure
        self._chaos.reign(self._length.seconds / 2, self._length.most_between)
        self.office.release()
        self._chaos.reign(self._length.seconds / 2, self._length.most_between)
        self._chaos.end()


def _print(jobs: Sequence[Job], done: Counter[str], census: Census) -> None:
    runs = sum(len(job.of("run_started")) for job in jobs)
    told = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
    most = ", ".join(f"{name} {count} of {SLOTS[name]}" for name, count in sorted(census.most.items()))
    print(f"\n{'job':14} {'pages':>5} {'in vain':>7} {'runs':>5} {'seconds':>8}  coordinators")
    for job in jobs:
        print(job.row())
    print(f"{told}; {runs - len(jobs)} take-overs")
    print(f"renderers at once, in {census.looks} looks: {most}")
    print("\n".join(census.crowds[:20]))
