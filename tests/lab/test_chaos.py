"""Three coordinators that share hosts and jobs; processes are killed and cables cut at random."""

from __future__ import annotations

import pytest

from tests.lab.farm import Farm
from tests.lab.office import check
from tests.lab.ordeal import AFTERWARDS, LONG, SLOTS, Length, Ordeal, inventory
from tests.lab.plugin import FarmFactory


def _endure(farm: Farm, length: Length) -> None:
    slots = {host.name: SLOTS[host.name] for host in farm.hosts}
    ended = Ordeal(farm, inventory(farm, slots), farm.hosts, length).run()
    assert "Traceback" not in ended.said, ended.said
    for job in ended.jobs:
        check(job, farm)
    most = ended.census.most
    assert {name: count for name, count in most.items() if count > slots[name]} == {}
    assert max(most.values()) == max(slots.values()), "the census has missed the renderers"
    runs = sum(len(job.of("run_started")) for job in ended.jobs)
    assert runs > len(ended.jobs), "no job was taken over"


# In the matrix: take-overs, lost hosts and cut cables have tests of their own (test_takeover.py,
# test_carried.py, tests/faults), and this one takes a minute of a core.
@pytest.mark.matrix
@pytest.mark.timeout(600)
def test_a_little_chaos_spoils_nothing(farm_factory: FarmFactory) -> None:
    _endure(farm_factory(3), Length(seconds=12.0, pages=9, most_between=4.0, jobs=6))


@pytest.mark.matrix
@pytest.mark.timeout(2 * LONG + AFTERWARDS + 300)
def test_ten_minutes_of_chaos_spoil_nothing(farm_factory: FarmFactory) -> None:
    _endure(farm_factory(6), Length(seconds=LONG, pages=int(LONG / 2), most_between=8.0))
