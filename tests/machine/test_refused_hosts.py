"""A host that was left comes back: on request, and by itself where the cause may have gone."""

from __future__ import annotations

import pytest

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.states import FailureKind, HostState, JobEnd
from sshrender.transports.interface import Refusal
from tests.machine.test_scheduler import Script

POLICY = Policy(refused_first=100.0, max_refused=300.0)


def _refused(is_tried_again: bool, plan: HostPlan | None = None) -> Script:
    """A run with host a in use, and b refused."""
    script = Script([HostPlan("a", 1), plan or HostPlan("b", 1)], 400, POLICY)
    script.connect("a")
    script.send(ev.HostRefused("b", "kind", "it lacks something", is_tried_again))
    script.log.clear()
    return script


def _state(script: Script, host: str = "b") -> HostState:
    return script.scheduler.hosts[host].state


def _tries(commands: list[do.Command], host: str = "b") -> int:
    return commands.count(do.ConnectHost(host))


@pytest.mark.parametrize("is_tried_again", [False, True])
def test_a_repaired_host_renders_again_after_undrain(is_tried_again: bool) -> None:
    script = _refused(is_tried_again)
    assert _tries(script.send(ev.UndrainRequested("b", "ann"))) == 1
    assert _tries(script.send(ev.UndrainRequested("b", "a user"), after=1.0)) == 0, "it is on its way"
    script.connect("b")
    assert _state(script) is HostState.IDLE
    assert script.sent("b")


def test_a_host_that_still_lacks_something_is_refused_again_with_its_reason() -> None:
    script = _refused(False)
    script.send(ev.UndrainRequested("b", "ann"))
    commands = script.send(ev.HostRefused("b", "kind", "it lacks another thing"))
    assert do.ReportHost("b", "refused", "it lacks another thing") in commands
    assert _tries(script.beat_until(500, ["a"])) == 0


def test_undrain_ends_the_pause_of_a_lost_and_of_a_quarantined_host() -> None:
    policy = Policy(quarantine_after=1, quarantine_first=900.0, reconnect_first=60.0)
    script = Script([HostPlan("a", 1), HostPlan("b", 1), HostPlan("c", 1)], 50, policy)
    for name in "abc":
        script.connect(name)
    script.send(ev.HostLost("b", "cable"))
    attempt = script.sent("c")[0].attempt
    script.send(ev.AttemptFailed("c", attempt, FailureKind.CRASHED, "crashed"))
    assert (_state(script, "b"), _state(script, "c")) == (HostState.LOST, HostState.QUARANTINED)
    for name in "bc":
        assert _tries(script.send(ev.UndrainRequested(name, "ann"), after=1.0), name) == 1
        assert _tries(script.send(ev.UndrainRequested(name, "ann"), after=1.0), name) == 0
        script.connect(name)
        assert _state(script, name) is HostState.IDLE


def test_undrain_does_not_connect_once_every_page_is_there() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 1)
    script.send(ev.HostRefused("b", "kind", "it lacks something"))
    script.connect("a")
    attempt = script.sent("a")[0].attempt
    script.send(ev.PageRendered("a", attempt, 0.1), ev.PageDelivered("a", attempt))
    assert script.end() is None, "the host may still send diagnostics"
    assert _tries(script.send(ev.UndrainRequested("b", "ann"))) == 0


def test_a_host_that_lacks_something_is_tried_again_with_growing_pauses() -> None:
    """It may have been booting: its file systems are mounted by then."""
    script = _refused(True)
    assert _tries(script.beat_until(99, ["a"])) == 0
    assert _tries(script.beat_until(2, ["a"])) == 1
    # Repeated refusals are not news.
    commands = script.send(ev.HostRefused("b", "kind", "it lacks something", is_tried_again=True))
    assert not [each for each in commands if isinstance(each, do.ReportHost)]
    assert _tries(script.beat_until(199, ["a"])) == 0
    assert _tries(script.beat_until(2, ["a"])) == 1
    # It does not answer this time, which is no reason to forget what it lacked.
    script.send(ev.HostLost("b", "no answer"))
    assert _state(script) is HostState.REFUSED
    assert _tries(script.beat_until(299, ["a"])) == 0
    assert _tries(script.beat_until(2, ["a"])) == 1
    script.connect("b")
    assert _state(script) is HostState.IDLE


def test_a_host_that_is_tried_again_does_not_keep_a_run_alive() -> None:
    """Else one that will never answer would be waited for."""
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 3, Policy(refused_first=5.0, wait=30.0))
    script.send(ev.HostRefused("b", "san", "not mounted", is_tried_again=True))
    script.send(ev.HostLost("a", "cable"))
    script.beat_until(29, [])
    assert script.end() is None
    script.beat_until(2, [])
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.NO_HOST


def test_a_host_of_a_batch_system_is_not_tried_again() -> None:
    """Its allocation was given back when it was refused."""
    script = _refused(True, HostPlan("b", 1, is_lent=True))
    assert _tries(script.send(ev.UndrainRequested("b", "ann"))) == 0
    assert _tries(script.beat_until(500, ["a"])) == 0
    assert _state(script) is HostState.REFUSED


def test_a_host_of_a_batch_system_is_not_tried_again_after_an_outage() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1, is_lent=True), HostPlan("c", 1)], 50, Policy())
    script.connect("a")
    for host in "bc":
        script.send(ev.HostRefused(host, "san", "not mounted"))
    script.send(ev.StorageFailed("read-only"))
    commands = script.send(ev.StorageRecovered())
    assert (_tries(commands, "b"), _tries(commands, "c")) == (0, 1)
    assert _state(script) is HostState.REFUSED


def test_logins_are_not_repeated_by_themselves() -> None:
    """A host takes repeated logins that fail for an attack."""
    assert not Refusal.AUTHENTICATION.is_tried_again
    assert not Refusal.HOST_KEY.is_tried_again
    assert Refusal.SAN.is_tried_again
