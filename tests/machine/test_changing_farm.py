"""Hosts that join and leave the farm during a run: no page is lost, charged or rendered for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import HostState, JobEnd, PageState
from tests.machine.test_scheduler import Farm, Script

POLICY = Policy(retries=3, wait=1e6, lost_wait=1e6, quarantine_first=5, silence=60)


class ChangingFarm(Farm):
    """A farm whose hosts also join and leave; in the end all of them are there."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, names: list[str]) -> None:
        super().__init__(scheduler, rng, set())
        self.plans = [HostPlan(name, rng.randint(1, 3)) for name in names]
        self.removed: set[str] = set()
        for name in names:
            self.held.setdefault(name, [])

    def user_requests(self) -> list[Callable[[], ev.Event]]:
        joins = [partial(self.add, plan) for plan in self.plans]
        if not self.unlucky:
            return [*super().user_requests(), *joins]
        return [
            *super().user_requests(),
            *joins,
            *(partial(self.remove, plan.name) for plan in self.plans),
        ]

    def add(self, plan: HostPlan) -> ev.Event:
        self.removed.discard(plan.name)
        return ev.HostAdded(plan)

    def remove(self, name: str) -> ev.Event:
        if name in self.scheduler.hosts:
            self.removed.add(name)
        return ev.HostRemoved(name, "its time is over")

    def render(self, host: str, page: int, attempt: str) -> None:
        assert host not in self.removed, "a page was sent to a host that has left"
        super().render(host, page, attempt)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    pages=st.integers(1, 25),
    there=st.integers(1, 3),
    later=st.integers(0, 3),
)
def test_every_page_is_delivered_once_whichever_hosts_join_and_leave(
    seed: int, pages: int, there: int, later: int
) -> None:
    names = [f"h{number}" for number in range(there + later)]
    rng = random.Random(seed)
    plans = [HostPlan(name, 2) for name in names[:there]]
    scheduler = Scheduler(POLICY, plans, range(1, pages + 1))
    farm = ChangingFarm(scheduler, rng, names)
    farm.run()
    assert farm.ended is not None
    assert farm.ended.end is JobEnd.COMPLETE
    for number in range(1, pages + 1):
        page = scheduler.page_queue[number]
        if page.state is PageState.FAILED:
            assert page.disconnects >= 2 * POLICY.retries, "a page failed for a host that left"
        else:
            assert page.state is PageState.DONE
            assert farm.delivered[number] == 1
    assert all(host.verifying == 0 for host in scheduler.hosts.values())
    assert all(attempt.host not in farm.removed for attempt in scheduler.attempts.values())


def test_a_host_that_joins_gets_pages() -> None:
    script = Script([HostPlan("a", 1)], 50)
    script.connect("a")
    commands = script.send(ev.HostAdded(HostPlan("b", 1)))
    assert do.ConnectHost("b") in commands
    script.connect("b")
    assert script.scheduler.hosts["b"].state is HostState.IDLE
    assert script.sent("b")


def test_the_pages_of_a_host_that_leaves_are_not_charged() -> None:
    script = Script([HostPlan("a", 1)], 1, Policy(retries=1))
    for _ in range(5):
        script.connect("a")
        attempt = script.sent("a")[-1].attempt
        script.send(ev.PageStarted("a", attempt))
        commands = script.send(ev.HostRemoved("a", "its time is over"), after=1.0)
        assert do.CloseHost("a") in commands
        assert any(isinstance(command, do.ReturnPage) for command in commands)
        script.send(ev.HostAdded(HostPlan("a", 1)), after=1.0)
    page = script.scheduler.page_queue[1]
    assert page.state is PageState.WAITING
    assert page.disconnects == 0
    assert not page.failures


def test_a_host_that_has_left_is_not_contacted_again() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 3, Policy(lost_wait=500.0))
    script.connect("a")
    script.send(ev.HostRemoved("b", "its time is over"))
    assert script.connect("b") == [do.CloseHost("b")], "it was removed while it connected"
    script.send(ev.HostLost("b", "cable"))
    script.send(ev.HostRefused("b", "san", "no SAN"))
    assert do.ConnectHost("b") not in script.beat_until(200, ["a"])
    assert script.scheduler.hosts["b"].state is HostState.REMOVED


def test_a_farm_without_hosts_waits_for_one_to_join() -> None:
    script = Script([HostPlan("a", 1)], 1, Policy(wait=20.0))
    script.send(ev.HostRemoved("a", "its time is over"))
    script.beat_until(19, [])
    assert script.end() is None
    script.send(ev.HostAdded(HostPlan("b", 1)))
    script.beat_until(19, [])
    assert script.end() is None, "it may still connect"
    script.send(ev.HostRemoved("b", "its time is over"))
    script.beat_until(21, [])
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.NO_HOST
