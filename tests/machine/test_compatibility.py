"""Which fingerprint becomes the reference, and which hosts wait for that decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import fingerprint
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.core.states import HostState, JobEnd

PLAIN = HostFingerprint("10.00.0", "pixels", "fonts", (("urw", 35),))
POOR = PLAIN._replace(canary="other pixels", fonts="few", groups=(("urw", 3),))
RICH = PLAIN._replace(fonts="more", groups=(("urw", 35), ("house", 2)))
NEWER = PLAIN._replace(ghostscript="10.03.1", canary="newer pixels")


class Scenario:
    """Hosts that connect one after the other."""

    def __init__(
        self,
        *names: str,
        reference: HostFingerprint | None = None,
        policy: Policy | None = None,
        votes: dict[str, HostFingerprint] | None = None,
        recovered: list[ev.Recovered] | None = None,
        pages: int = 29,
    ) -> None:
        self.scheduler = Scheduler(
            policy or Policy(),
            [HostPlan(name, 1) for name in names],
            range(1, pages + 1),
            RunStart(reference=reference, votes=votes or {}, recovered=recovered or []),
        )
        self.log = self.scheduler.start(0.0)
        self.now = 0.0

    def send(self, event: ev.Event, after: float = 0.0) -> None:
        self.now += after
        self.log += self.scheduler.handle(event, now=self.now)

    def connect(self, name: str, each: HostFingerprint = PLAIN) -> None:
        self.send(ev.HostConnected(name, 1, 0.0, 0.0, fingerprint=each))

    def state(self, name: str) -> HostState:
        return self.scheduler.hosts[name].state

    def has(self, kind: type) -> bool:
        return any(isinstance(command, kind) for command in self.log)

    def sent_to(self) -> set[str]:
        return {command.host for command in self.log if isinstance(command, do.RenderPage)}


def test_no_page_is_sent_before_it_is_settled_whose_picture_rules() -> None:
    scenario = Scenario("a", "b", "c")
    scenario.connect("a", POOR)
    assert scenario.sent_to() == set()
    scenario.connect("b")
    assert scenario.sent_to() == set()
    scenario.connect("c")
    assert scenario.state("a") is HostState.REFUSED
    assert scenario.sent_to() == {"b", "c"}


def test_a_majority_need_not_wait_for_the_last_host() -> None:
    scenario = Scenario("a", "b", "c", "d", "e")
    for name in ("a", "b", "c"):
        scenario.connect(name)
    assert scenario.sent_to() == {"a", "b", "c"}
    scenario.connect("d", NEWER)
    assert scenario.state("d") is HostState.REFUSED
    assert "it has Ghostscript 10.03.1" in scenario.scheduler.hosts["d"].reason


def test_hosts_that_do_not_come_are_not_waited_for_long() -> None:
    scenario = Scenario("a", "dead", "dead too")
    scenario.connect("a")
    scenario.send(ev.Ticked(), after=1.0)
    assert scenario.sent_to() == set()
    scenario.send(ev.Ticked(), after=1.0)
    assert scenario.sent_to() == {"a"}


def test_a_lost_host_is_not_waited_for_at_all() -> None:
    scenario = Scenario("a", "dead")
    scenario.connect("a")
    scenario.send(ev.HostLost("dead", "cable"))
    assert scenario.sent_to() == {"a"}


def test_what_an_earlier_run_rendered_is_the_reference_while_a_host_agrees() -> None:
    scenario = Scenario("a", "b", reference=PLAIN, votes={"a": PLAIN, "c": PLAIN})
    scenario.connect("a")
    assert scenario.sent_to() == {"a"}
    scenario.connect("b", NEWER)
    assert scenario.state("b") is HostState.REFUSED
    assert "--mixed" in scenario.scheduler.hosts["b"].reason


def test_a_stored_reference_is_dropped_when_no_host_that_is_present_agrees() -> None:
    pages = [ev.Recovered(page, host="liar", fingerprint=POOR) for page in (1, 2)]
    scenario = Scenario("a", "b", "c", reference=POOR, votes={"liar": POOR}, recovered=pages)
    for name in ("a", "b", "c"):
        scenario.connect(name)
    assert scenario.sent_to() == {"a", "b", "c"}
    withdrawn = [command for command in scenario.log if isinstance(command, do.WithdrawPage)]
    assert [(command.page, command.host) for command in withdrawn] == [(1, "liar"), (2, "liar")]


def test_one_host_alone_that_differs_from_all_of_an_earlier_run_is_used_and_renders_all() -> None:
    pages = [ev.Recovered(1, host="old", fingerprint=PLAIN)]
    scenario = Scenario("new", reference=PLAIN, votes={"old": PLAIN}, recovered=pages)
    scenario.connect("new", NEWER)
    assert scenario.sent_to() == {"new"}
    assert 1 in [command.page for command in scenario.log if isinstance(command, do.WithdrawPage)]


def test_a_lone_host_does_not_replace_what_a_majority_that_is_absent_has_rendered() -> None:
    pages = [ev.Recovered(page, host="a", fingerprint=PLAIN) for page in (1, 2)]
    votes = {"a": PLAIN, "b": PLAIN, "c": PLAIN}
    scenario = Scenario("a", "b", "c", "liar", reference=PLAIN, votes=votes, recovered=pages)
    scenario.connect("liar", POOR)
    for name in ("a", "b", "c"):
        scenario.send(ev.HostLost(name, "cable"))
    scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=7.0)
    scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=7.0)
    scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=2.0)
    assert not scenario.has(do.WithdrawPage)
    assert scenario.state("liar") is HostState.REFUSED


def test_hosts_of_an_earlier_run_that_were_all_upgraded_since_are_used() -> None:
    votes = {"a": PLAIN, "b": PLAIN, "c": PLAIN}
    scenario = Scenario("a", "b", "c", reference=PLAIN, votes=votes)
    for name in ("a", "b", "c"):
        scenario.connect(name, NEWER)
    assert scenario.sent_to() == {"a", "b", "c"}


def test_a_lone_host_does_not_drop_a_stored_reference_that_this_machine_renders_too() -> None:
    scenario = Scenario("new", "slow", reference=PLAIN, votes={"old": PLAIN})
    scenario.connect("new", POOR)
    scenario.send(ev.Ticked(), after=0.5)
    assert scenario.has(do.RenderCanary)
    scenario.send(ev.CanaryRendered(PLAIN))
    scenario.send(ev.HostLost("slow", "cable"))
    assert scenario.state("new") is HostState.REFUSED


def test_the_first_to_greet_decides_nothing() -> None:
    """Three honest hosts come 2.5 s after a liar, or after a nearer machine with a newer Ghostscript."""
    for odd in (POOR, NEWER):
        scenario = Scenario("odd", "a", "b", "c")
        scenario.connect("odd", odd)
        scenario.send(ev.Ticked(), after=1.6)
        assert scenario.sent_to() == {"odd"}, "no dead host delays the first page"
        (attempt, *_) = scenario.scheduler.attempts.values()
        scenario.send(ev.PageRendered("odd", attempt.name, 0.1), after=0.1)
        scenario.send(ev.PageDelivered("odd", attempt.name))
        scenario.send(ev.Ticked(), after=0.8)
        for name in ("a", "b", "c"):
            scenario.connect(name)
        assert [scenario.state(name) for name in ("a", "b", "c")] == [HostState.IDLE] * 3
        assert scenario.state("odd") is HostState.REFUSED
        assert scenario.scheduler.hosts["odd"].pages_done == 0
        (withdrawn,) = [command for command in scenario.log if isinstance(command, do.WithdrawPage)]
        assert withdrawn.page == attempt.page
        scenario.send(ev.PagesReady((attempt.page,)))
        held = next(iter(scenario.scheduler.hosts["a"].in_flight.values()))
        scenario.send(ev.PageRendered("a", held.name, 0.1), after=0.1)
        sent = [c.host for c in scenario.log if isinstance(c, do.RenderPage) and c.page == attempt.page]
        assert len(sent) == 2
        assert sent[1] != "odd"


def test_hosts_that_were_refused_by_few_are_taken_back_by_more() -> None:
    scenario = Scenario("liar", "a", "b", policy=Policy(compare_timeout=0.0))
    scenario.connect("liar", POOR)
    scenario.send(ev.HostLost("b", "still booting"))
    scenario.connect("a")
    scenario.send(ev.CanaryRendered(None))
    assert scenario.state("a") is HostState.REFUSED
    scenario.send(ev.Ticked(), after=4.0)
    scenario.connect("b")
    assert scenario.state("b") is HostState.IDLE
    assert sum(isinstance(c, do.ConnectHost) and c.host == "a" for c in scenario.log) == 2
    scenario.connect("a")
    assert scenario.state("a") is HostState.IDLE
    assert scenario.state("liar") is HostState.REFUSED


def test_a_page_that_an_outvoted_host_delivers_late_is_withdrawn() -> None:
    scenario = Scenario("odd", "a", "b", "c")
    scenario.connect("odd", POOR)
    scenario.send(ev.Ticked(), after=1.6)
    (attempt, *_) = scenario.scheduler.attempts.values()
    scenario.send(ev.PageRendered("odd", attempt.name, 0.1), after=0.1)
    for name in ("a", "b", "c"):
        scenario.connect(name)
    assert scenario.state("odd") is HostState.REFUSED
    scenario.send(ev.PageDelivered("odd", attempt.name))
    assert attempt.page in [c.page for c in scenario.log if isinstance(c, do.WithdrawPage)]


def test_a_run_does_not_complete_by_what_a_few_render_while_others_may_come() -> None:
    scenario = Scenario("odd", "a", "b", "c", pages=1)
    scenario.connect("odd", POOR)
    scenario.send(ev.Ticked(), after=1.6)
    (attempt,) = scenario.scheduler.attempts.values()
    scenario.send(ev.PageRendered("odd", attempt.name, 0.1), after=0.1)
    scenario.send(ev.PageDelivered("odd", attempt.name))
    scenario.send(ev.Ticked(), after=0.3)
    assert not scenario.has(do.FinishHost)
    for _ in range(20):
        scenario.send(ev.LoadSampled("odd", 0.0, 0.0), after=1.0)
    assert scenario.has(do.FinishHost), "those that have not come in their time do not count"


def deliver_all(scenario: Scenario, host: str) -> None:
    for attempt in list(scenario.scheduler.attempts.values()):
        scenario.send(ev.PageRendered(host, attempt.name, 0.1))
        scenario.send(ev.PageDelivered(host, attempt.name))


def test_hosts_whose_first_connection_fails_still_outvote_the_first_to_greet() -> None:
    scenario = Scenario("liar", "a", "b", "c", pages=2)
    for name in ("a", "b", "c"):
        scenario.send(ev.HostLost(name, "connection reset"))
    scenario.connect("liar", POOR)
    assert scenario.sent_to() == {"liar"}, "it begins at once, provisionally"
    deliver_all(scenario, "liar")
    scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=3.5)
    deliver_all(scenario, "liar")
    assert not scenario.has(do.FinishHost)
    for name in ("a", "b", "c"):
        scenario.connect(name)
    assert scenario.state("liar") is HostState.REFUSED
    assert scenario.has(do.WithdrawPage)


def test_a_deadline_does_not_call_a_run_partial_that_has_delivered_every_page() -> None:
    for silent in ("dead", "liar"):
        scenario = Scenario("liar", "dead", pages=1, policy=Policy(deadline=8.0, compare_timeout=60.0))
        scenario.connect("liar")
        scenario.send(ev.Ticked(), after=1.6)
        deliver_all(scenario, "liar")
        scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=5.0)
        assert not scenario.has(do.FinishHost)
        scenario.send(ev.LoadSampled("liar", 0.0, 0.0), after=2.0)
        if silent == "dead":
            scenario.send(ev.HostFinished("liar"))
        scenario.send(ev.Ticked(), after=4.0)
        assert scenario.scheduler.end is JobEnd.COMPLETE


def test_hosts_that_render_what_this_machine_does_begin_at_once_and_decide_a_tie() -> None:
    scenario = Scenario("liar", "honest", "dead", "dead too")
    scenario.connect("liar", POOR)
    scenario.connect("honest")
    assert scenario.has(do.RenderCanary)
    scenario.send(ev.CanaryRendered(HostFingerprint("10.00.0", "pixels")))
    assert scenario.sent_to() == {"honest"}
    scenario.send(ev.HostLost("dead", "cable"))
    scenario.send(ev.HostLost("dead too", "cable"))
    assert scenario.state("liar") is HostState.REFUSED
    assert scenario.sent_to() == {"honest"}


def test_another_version_of_ghostscript_on_this_machine_decides_nothing() -> None:
    scenario = Scenario("a", "b", "dead")
    scenario.connect("a", NEWER)
    scenario.connect("b", NEWER)
    scenario.send(ev.CanaryRendered(PLAIN))
    assert scenario.sent_to() == {"a", "b"}


def test_a_host_cannot_turn_the_reference_to_and_fro() -> None:
    """It has one vote, whatever it shows when it comes back."""
    scenario = Scenario("a", "b", "flips")
    scenario.connect("a")
    scenario.connect("flips")
    for each in (NEWER, PLAIN, NEWER):
        scenario.send(ev.HostLost("flips", "by its own wish"))
        scenario.send(ev.Ticked(), after=70.0)
        scenario.connect("flips", each)
        scenario.connect("b", NEWER)
    assert sum(isinstance(command, do.RecordReference) for command in scenario.log) == 1


def test_a_host_without_a_canary_page_does_not_turn_the_comparison_off() -> None:
    for empty in (PLAIN._replace(canary=""), HostFingerprint(fonts="fonts")):
        for is_first in (True, False):
            scenario = Scenario("a1", "a2", "a3", "b1", "b2", "odd")
            if is_first:
                scenario.connect("odd", empty)
            for name in ("b1", "b2"):
                scenario.connect(name, POOR)
            for name in ("a1", "a2", "a3"):
                scenario.connect(name)
            if not is_first:
                scenario.connect("odd", empty)
            scenario.send(ev.Ticked(), after=2.0)
            scenario.send(ev.FontsKnown(are_missing=False))
            assert {scenario.state(name) for name in ("b1", "b2")} == {HostState.REFUSED}
            assert {scenario.state(name) for name in ("a1", "a2", "a3", "odd")} == {HostState.IDLE}
    odd = PLAIN._replace(canary="")
    assert fingerprint.most_common_fingerprint({"x": odd, "y": odd, "a": PLAIN}) == PLAIN


def test_hosts_that_are_all_upgraded_during_a_run_go_on_in_the_end() -> None:
    scenario = Scenario("a", "b", "c")
    for name in ("a", "b", "c"):
        scenario.connect(name)
    for name in ("a", "b", "c"):
        scenario.send(ev.HostLost(name, "it boots"))
        assert scenario.state("a") is not HostState.IDLE
        scenario.connect(name, NEWER)
    assert scenario.scheduler.end is None
    scenario.connect("a", NEWER)
    scenario.connect("b", NEWER)
    assert {scenario.state(name) for name in ("a", "b", "c")} == {HostState.IDLE}


def test_mixed_pictures_need_no_comparison() -> None:
    scenario = Scenario("a", "b", policy=Policy(is_mixed=True))
    scenario.connect("a", NEWER)
    assert scenario.sent_to() == {"a"}


def test_other_fonts_wait_until_it_is_known_whether_they_matter() -> None:
    for are_missing, state in ((True, HostState.REFUSED), (False, HostState.IDLE)):
        scenario = Scenario("a", "b", "c")
        scenario.connect("a", RICH)
        scenario.connect("b")
        scenario.connect("c")
        assert scenario.state("a") is HostState.CONNECTING
        assert scenario.sent_to() == {"b", "c"}
        scenario.send(ev.FontsKnown(are_missing))
        assert scenario.state("a") is state
    assert "2 of house" not in scenario.scheduler.hosts["a"].reason


def test_a_host_that_waits_for_its_verdict_and_is_lost_gets_one_when_it_is_back() -> None:
    scenario = Scenario("a", "b", "c")
    scenario.connect("a", RICH)
    scenario.send(ev.HostLost("a", "cable"))
    scenario.connect("b")
    scenario.connect("c")
    scenario.send(ev.FontsKnown(are_missing=True))
    assert scenario.state("a") is HostState.LOST
    scenario.send(ev.Ticked(), after=4.0)
    scenario.connect("a", RICH)
    assert scenario.state("a") is HostState.REFUSED
    assert "it also has 2 of house" in scenario.scheduler.hosts["a"].reason


FINGERPRINTS = st.sampled_from([PLAIN, POOR, RICH, NEWER])


@given(st.lists(FINGERPRINTS, min_size=1, max_size=9))
def test_most_hosts_are_never_refused_for_the_sake_of_fewer(fingerprints: list[HostFingerprint]) -> None:
    named = {f"h{number}": each for number, each in enumerate(fingerprints)}
    reference = fingerprint.most_common_fingerprint(named)
    kept = [
        each
        for each in fingerprints
        if not fingerprint.difference(each, reference, do_fonts_matter=False)
    ]
    for other in fingerprints:
        rivals = [
            each
            for each in fingerprints
            if not fingerprint.difference(each, other, do_fonts_matter=False)
        ]
        assert len(kept) >= len(rivals)


@given(FINGERPRINTS, FINGERPRINTS)
def test_a_difference_is_named_and_what_is_the_same_has_none(
    one: HostFingerprint, other: HostFingerprint
) -> None:
    reason = fingerprint.difference(one, other, do_fonts_matter=True)
    assert bool(reason) == (one != other)
    assert fingerprint.difference(one, HostFingerprint(), do_fonts_matter=True) == ""
