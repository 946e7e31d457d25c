"""Jobs that may have only so many slots at once, in simulated time: they end, and have no more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from tests.machine.simulation import SimulatedHost, Simulation


@pytest.mark.parametrize("limit", [1, 2])
def test_pages_that_only_another_host_may_draw_get_a_slot_there(limit: int) -> None:
    """Though the first host, which has all the slots of the job, would keep them."""
    hosts = [SimulatedHost("a", 0.5, 2), SimulatedHost("b", 0.5, 2)]
    pins = {9: frozenset({"b"}), 10: frozenset({"b"})}
    job = Simulation(hosts, [1.0] * 10, Policy(limit=limit), pins=pins)
    job.run(1000)
    assert job.delivered[9] == job.delivered[10] == "b"
    assert job.most_at_once <= limit


@given(
    seconds=st.lists(st.sampled_from([0.2, 1.0, 3.0]), min_size=1, max_size=4),
    pins=st.dictionaries(st.integers(1, 12), st.integers(0, 3), max_size=6),
    limit=st.integers(1, 5),
)
@settings(max_examples=60)
def test_a_limited_job_ends_whatever_its_pages_are_pinned_to(
    seconds: list[float], pins: dict[int, int], limit: int
) -> None:
    hosts = [SimulatedHost(f"h{n}", each, 2) for n, each in enumerate(seconds)]
    names = {page: frozenset({f"h{n % len(hosts)}"}) for page, n in pins.items()}
    job = Simulation(hosts, [1.0] * 12, Policy(limit=limit), pins=names)
    job.run(1000)
    assert sorted(job.delivered) == list(range(1, 13))
    # What a host has started when its slots go elsewhere, it renders to the end.
    assert job.most_at_once <= limit + sum(host.slots for host in hosts)


def _limited(*names: str) -> Scheduler:
    plans = [HostPlan(name, 1) for name in names]
    scheduler = Scheduler(Policy(limit=1), plans, dict.fromkeys(range(1, 9), 1.0))
    scheduler.start(0.0)
    scheduler.handle(*(ev.HostConnected(name, 1, 0.0, 0.0) for name in names), now=0.1)
    return scheduler


def test_a_limited_job_goes_where_it_can_sit() -> None:
    scheduler = _limited("a", "b")
    assert [host.slot_limit for host in scheduler.hosts.values()] == [1, 0]
    commands = scheduler.handle(ev.LoadSampled("a", 0.0, 1.0, 0), now=1.0)
    assert do.SetSlotLimit("b", 1) in commands
    assert do.SetSlotLimit("a", 0) in commands


@pytest.mark.parametrize(("limit", "slots"), [(None, None), (1, 0)])
def test_a_host_that_greets_is_told_the_limit_of_now(limit: int | None, slots: int | None) -> None:
    """It may have been prepared when the limit was another."""
    scheduler = Scheduler(Policy(limit=limit), [HostPlan("a", 1)], {1: 1.0})
    scheduler.start(0.0)
    commands = scheduler.handle(ev.HostConnected("a", 1, 0.0, 0.0), now=0.1)
    assert do.SetSlotLimit("a", slots) in commands
