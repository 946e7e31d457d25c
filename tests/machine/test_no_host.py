"""How long a run waits without a usable host, and what is said when it has waited enough."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sshrender.coordinator import runcomponents
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.nohosttimeout import NoHostTimeout
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import HostState, JobEnd
from sshrender.job.queue.drains import Drain

POLICY = Policy()


def test_hours_with_busy_hosts_are_no_time_without_hosts() -> None:
    wait = NoHostTimeout(POLICY)
    busy, lost = frozenset({HostState.BUSY}), frozenset({HostState.LOST})
    assert not wait.is_over(busy, 0.0, has_delivered=True)
    assert not wait.is_over(busy | lost, 36_000.0, has_delivered=True)
    assert not wait.is_over(lost, 36_001.0, has_delivered=True)
    assert not wait.is_over(lost, 36_000.0 + POLICY.lost_wait, has_delivered=True)
    assert wait.is_over(lost, 36_001.0 + POLICY.lost_wait, has_delivered=True)


def test_busy_hosts_are_waited_for_only_so_long_before_the_first_page() -> None:
    wait = NoHostTimeout(POLICY)
    busy = frozenset({HostState.BUSY})
    assert not wait.is_over(busy, 0.0, has_delivered=False)
    assert wait.is_over(busy, POLICY.wait, has_delivered=False) == "no host was usable in time"


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({HostState.REMOVED}, "every host has left"),
        ({HostState.REFUSED, HostState.REMOVED}, "every host was refused or has left"),
        ({HostState.LOST, HostState.REMOVED}, "no host was usable in time"),
    ],
)
def test_the_reason_is_that_of_the_hosts(states: set[HostState], reason: str) -> None:
    """A batch system that ended a host may be about to announce another, so it is not said at once."""
    wait = NoHostTimeout(POLICY)
    assert not wait.is_over(frozenset(states), 0.0, has_delivered=False)
    assert wait.is_over(frozenset(states), POLICY.wait, has_delivered=False) == reason


def _inputs(pages: dict[int, Any]) -> Any:
    """As much of a run's inputs as the scheduler is made of; host ``a`` is drained."""
    plan = SimpleNamespace(
        request=SimpleNamespace(policy=POLICY, is_from_queue=False),
        spec=SimpleNamespace(settings=SimpleNamespace(recipes=("gs",), split=0)),
        attributes=SimpleNamespace(limit=None),
        pages=[1, 2],
        history=SimpleNamespace(pages=pages),
        blocked={},
        pins={},
    )
    return SimpleNamespace(
        plan=plan,
        resources=SimpleNamespace(
            hosts=[SimpleNamespace(plan=HostPlan(name, 1), connect_timeout=1.0) for name in "ab"],
            pools=(),
        ),
        lease=SimpleNamespace(epoch=2),
        clock=lambda: 0.0,
        usable_pools=(),
        drained={"a": Drain("a", "ann", "repairs", "")},
    )


@pytest.mark.parametrize("done", [(1, 2), (1,), ()])
def test_a_drained_host_takes_nothing_from_the_first_commands(done: tuple[int, ...]) -> None:
    """Also where earlier runs delivered every page, and the first command is the last."""
    record = {"is_suspect": False, "diagnostics": (), "host": "b"}
    inputs = _inputs({page: SimpleNamespace(page=page, **record) for page in done})
    recorder: Any = SimpleNamespace(fingerprint_of=lambda page: None, reference=None, votes={})
    router: Any = SimpleNamespace(document_parts=SimpleNamespace(per_part=0))
    scheduler = runcomponents._make_scheduler(inputs, recorder, router)
    assert scheduler.end is None
    commands = scheduler.start(0.0)
    if len(done) == 2:
        assert [each.end for each in commands if isinstance(each, do.EndJob)] == [JobEnd.COMPLETE]
        return
    assert {each.host for each in commands if isinstance(each, do.ConnectHost)} == {"a", "b"}
    scheduler.handle(*(ev.HostConnected(name, 1, 0.0, 0.0) for name in "ab"), now=0.1)
    assert scheduler.hosts["a"].state is HostState.DRAINED
    commands = scheduler.handle(ev.StopRequested("asked"), now=0.2)
    assert [each.end for each in commands if isinstance(each, do.EndJob)] == [JobEnd.STOPPED]
