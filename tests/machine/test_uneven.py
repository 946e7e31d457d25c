"""Uneven farms in simulated time: no slow host holds the last page, and no host is charged for it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sshrender.core import events as ev
from sshrender.core.policy import Policy
from sshrender.core.states import PageState
from tests.machine.simulation import SimulatedHost, Simulation

SOME = 0.9
"""Seconds for handshake, reports and recalls, whatever a job's size."""


def _four(slow: float = 5.0) -> list[SimulatedHost]:
    return [*(SimulatedHost(name, 0.5) for name in ("a", "b", "c")), SimulatedHost("slow", slow)]


@pytest.mark.parametrize("pages", [60, 100, 261])
def test_a_host_ten_times_slower_costs_no_more_than_it_brings(pages: int) -> None:
    job = Simulation(_four(), [1.0] * pages)
    assert job.run() <= 1.15 * job.ideal()


def _mixed(seed: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.choice([0.2, 1, 1, 1, 16]) for _ in range(80)]


@pytest.mark.parametrize("seed", range(5))
def test_hedging_saves_the_job_from_its_slowest_page(seed: int) -> None:
    hedged = Simulation(_four(), _mixed(seed), Policy(hedge=True), are_costs_known=False)
    bare = Simulation(_four(), _mixed(seed), Policy(hedge=False), are_costs_known=False)
    with_hedges, without = hedged.run(), bare.run()
    assert with_hedges <= without + 0.01
    longest_on_a_fast_host = 0.5 * 16
    assert with_hedges <= hedged.ideal() + 2 * longest_on_a_fast_host + SOME


def test_without_hedging_the_difference_is_great() -> None:
    """The last page may be with the slowest host before anybody knows how slow that is."""

    def took(hedge: bool) -> float:
        hosts = [SimulatedHost("fast", 0.5), SimulatedHost("slow", 60.0)]
        return Simulation(hosts, [1.0] * 10, Policy(hedge=hedge)).run()

    assert took(hedge=False) > 5 * took(hedge=True)


@given(
    seconds=st.lists(st.sampled_from([0.1, 0.5, 2.0, 8.0]), min_size=1, max_size=6),
    costs=st.lists(st.sampled_from([0.2, 1.0, 4.0]), min_size=1, max_size=40),
    slots=st.integers(1, 3),
)
@settings(max_examples=60)
@example([0.5, 2.0], [*[0.2] * 5, 1.0, *[0.2] * 8, 4.0, 4.0, 1.0], 2)
def test_every_page_is_delivered_once_and_hedges_are_no_failures(
    seconds: list[float], costs: list[float], slots: int
) -> None:
    hosts = [SimulatedHost(f"h{n}", each, slots) for n, each in enumerate(seconds)]
    job = Simulation(hosts, costs)
    job.run()
    assert sorted(job.delivered) == list(range(1, len(costs) + 1))
    rows = job.scheduler.hosts.values()
    assert all(host.failures == 0 for host in rows)
    assert not any(page.failures for page in job.scheduler.page_queue.pages.values())
    attempts = Counter(command.page for _, command in job.sent)
    assert max(attempts.values()) <= 2 + job.revoked


def test_the_loser_is_killed_and_counted_as_hedged() -> None:
    hosts = [SimulatedHost("fast", 0.5), SimulatedHost("slow", 60.0)]
    job = Simulation(hosts, [1.0, 1.0, 1.0])
    assert job.run() < 5
    assert job.scheduler.hosts["slow"].hedged >= 1
    assert job.scheduler.hosts["slow"].failures == 0
    assert set(job.delivered.values()) == {"fast"}


def test_a_host_that_freezes_with_its_connection_alive_delays_nothing() -> None:
    hosts = [SimulatedHost("good", 0.5), SimulatedHost("frozen", 0.5, frozen=3.0)]
    job = Simulation(hosts, [1.0] * 20)
    assert job.run() < 20


def test_a_page_that_cannot_be_proved_is_drawn_elsewhere() -> None:
    """As where a host's files become visible a minute late."""
    hosts = [SimulatedHost("good", 0.5), SimulatedHost("late", 0.5)]
    job = Simulation(hosts, [1.0] * 10)
    job.verification_seconds["late"] = 70.0
    assert job.run() < 20


def test_a_job_that_may_not_hedge_draws_each_page_once() -> None:
    job = Simulation(_four(), _mixed(3), Policy(hedge=False))
    job.run()
    assert len({command.page for _, command in job.sent}) == 80
    assert all(host.hedged == 0 for host in job.scheduler.hosts.values())


def test_a_drained_host_gives_its_pages_back_within_two_seconds() -> None:
    hosts = [SimulatedHost("a", 4.0), SimulatedHost("b", 4.0)]
    job = Simulation(hosts, [1.0] * 12)
    job.at(6.0, ev.DrainRequested("a", "a user", "a new disk"))
    job.run()
    given_back = [moment for moment, name in job.returned if name == "a"]
    assert given_back
    assert max(given_back) <= 6.0 + 2.0
    assert max(moment for moment, command in job.sent if command.host == "a") < 6.0


def test_a_page_that_would_be_drawn_in_a_moment_is_not_taken_from_a_drained_host() -> None:
    hosts = [SimulatedHost("a", 0.8), SimulatedHost("b", 0.8)]
    job = Simulation(hosts, [1.0] * 12)
    job.at(3.0, ev.DrainRequested("a", "a user"))
    job.run()
    began_before = [c.page for t, c in job.sent if c.host == "a" and job.delivered[c.page] == "a"]
    assert began_before


def test_a_pinned_page_goes_only_where_it_may() -> None:
    pins = {number: frozenset({"slow"}) for number in (1, 2, 3)}
    job = Simulation(_four(2.0), [1.0] * 30, pins=pins)
    job.run()
    assert all(job.delivered[number] == "slow" for number in pins)
    assert all(c.host == "slow" for _, c in job.sent if c.page in pins)


def test_pages_pinned_to_a_host_that_is_refused_do_not_wait_for_ever() -> None:
    job = Simulation(_four(), [1.0] * 9, pins={4: frozenset({"slow"})})
    job.hosts["slow"].connects_at = 1e9
    job.at(0.2, ev.HostRefused("slow", "host key", "changed"))
    job.run()
    assert job.scheduler.page_queue[4].state is PageState.WAITING
    assert len(job.delivered) == 8


def test_a_page_is_moved_by_hand() -> None:
    hosts = [SimulatedHost("a", 30.0), SimulatedHost("b", 1.0)]
    job = Simulation(hosts, [1.0], Policy(hedge=False))
    job.hosts["b"].connects_at = 1.0
    job.at(3.0, ev.MoveRequested(1, "b", "a user"))
    assert job.run() < 6
    assert job.delivered == {1: "b"}


def test_large_pages_are_weighed_when_a_host_is_chosen() -> None:
    """A slow host is given none of the pages that would keep all others waiting."""
    job = Simulation(_four(), [1.0] * 40 + [16.0] * 6)
    job.run()
    large = {job.delivered[number] for number in range(41, 47)}
    assert "slow" not in large
