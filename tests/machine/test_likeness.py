"""Whose picture rules, and who has to wait for that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import likeness
from sshrender.core.likeness import Look
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import HostState

PLAIN = Look("10.00.0", "pixels", "fonts", (("urw", 35),))
POOR = PLAIN._replace(canary="other pixels", fonts="few", groups=(("urw", 3),))
RICH = PLAIN._replace(fonts="more", groups=(("urw", 35), ("house", 2)))
NEWER = PLAIN._replace(ghostscript="10.03.1", canary="newer pixels")


class Story:
    """Hosts that greet one after the other."""

    def __init__(self, *names: str, rule: Look | None = None, policy: Policy | None = None) -> None:
        plans = [HostPlan(name, 1) for name in names]
        self.scheduler = Scheduler(policy or Policy(), plans, range(1, 30), rule=rule)
        self.log = self.scheduler.start(0.0)
        self.now = 0.0

    def tell(self, event: ev.Event, after: float = 0.0) -> None:
        self.now += after
        self.log += self.scheduler.handle(event, now=self.now)

    def greet(self, name: str, look: Look = PLAIN) -> None:
        self.tell(ev.HostGreeted(name, 1, 0.0, 0.0, look=look))

    def state(self, name: str) -> HostState:
        return self.scheduler.hosts[name].state

    def sent_to(self) -> set[str]:
        return {command.host for command in self.log if isinstance(command, do.RenderPage)}


def test_no_page_is_sent_before_it_is_settled_whose_picture_rules() -> None:
    story = Story("a", "b", "c")
    story.greet("a", POOR)
    assert story.sent_to() == set()
    story.greet("b")
    assert story.sent_to() == set()
    story.greet("c")
    assert story.state("a") is HostState.REFUSED
    assert story.sent_to() == {"b", "c"}


def test_a_majority_need_not_wait_for_the_last_host() -> None:
    story = Story("a", "b", "c", "d", "e")
    for name in ("a", "b", "c"):
        story.greet(name)
    assert story.sent_to() == {"a", "b", "c"}
    story.greet("d", NEWER)
    assert story.state("d") is HostState.REFUSED
    assert "its Ghostscript is 10.03.1" in story.scheduler.hosts["d"].reason


def test_hosts_that_do_not_come_are_not_waited_for_long() -> None:
    story = Story("a", "dead", "dead too")
    story.greet("a")
    story.tell(ev.Ticked(), after=1.0)
    assert story.sent_to() == set()
    story.tell(ev.Ticked(), after=1.0)
    assert story.sent_to() == {"a"}


def test_a_lost_host_is_not_waited_for_at_all() -> None:
    story = Story("a", "dead")
    story.greet("a")
    story.tell(ev.HostLost("dead", "cable"))
    assert story.sent_to() == {"a"}


def test_what_an_earlier_run_drew_rules() -> None:
    story = Story("a", "b", rule=PLAIN)
    story.greet("a", NEWER)
    story.greet("b", NEWER)
    assert story.state("a") is story.state("b") is HostState.REFUSED
    assert "--mixed" in story.scheduler.hosts["a"].reason


def test_mixed_pictures_need_no_comparison() -> None:
    story = Story("a", "b", policy=Policy(is_mixed=True))
    story.greet("a", NEWER)
    assert story.sent_to() == {"a"}


def test_other_fonts_wait_until_it_is_known_whether_they_matter() -> None:
    for are_missing, state in ((True, HostState.REFUSED), (False, HostState.IDLE)):
        story = Story("a", "b", "c")
        story.greet("a", RICH)
        story.greet("b")
        story.greet("c")
        assert story.state("a") is HostState.CONNECTING
        assert story.sent_to() == {"b", "c"}
        story.tell(ev.FontsKnown(are_missing))
        assert story.state("a") is state
    assert "2 of house" not in story.scheduler.hosts["a"].reason


def test_a_host_that_waits_for_its_verdict_and_is_lost_gets_one_when_it_is_back() -> None:
    story = Story("a", "b", "c")
    story.greet("a", RICH)
    story.tell(ev.HostLost("a", "cable"))
    story.greet("b")
    story.greet("c")
    story.tell(ev.FontsKnown(are_missing=True))
    assert story.state("a") is HostState.LOST
    story.tell(ev.Ticked(), after=4.0)
    story.greet("a", RICH)
    assert story.state("a") is HostState.REFUSED
    assert "it has besides 2 of house" in story.scheduler.hosts["a"].reason


LOOKS = st.sampled_from([PLAIN, POOR, RICH, NEWER])


@given(st.lists(LOOKS, min_size=1, max_size=9))
def test_most_hosts_are_never_refused_for_the_sake_of_fewer(looks: list[Look]) -> None:
    named = {f"h{number}": look for number, look in enumerate(looks)}
    rule = likeness.ruling(named)
    kept = [look for look in looks if not likeness.difference(look, rule, do_fonts_matter=False)]
    for other in looks:
        rivals = [look for look in looks if not likeness.difference(look, other, do_fonts_matter=False)]
        assert len(kept) >= len(rivals)


@given(st.lists(LOOKS, min_size=1, max_size=6), st.lists(LOOKS, max_size=6))
def test_what_a_majority_settles_no_later_host_would_change(now: list[Look], later: list[Look]) -> None:
    if likeness.has_majority(now, len(later)):
        names = {f"h{number}": look for number, look in enumerate(now)}
        all_of_them = {f"h{number}": look for number, look in enumerate([*now, *later])}
        assert likeness.ruling(names).picture == likeness.ruling(all_of_them).picture


@given(LOOKS, LOOKS)
def test_a_difference_is_named_and_what_is_the_same_has_none(one: Look, other: Look) -> None:
    said = likeness.difference(one, other, do_fonts_matter=True)
    assert bool(said) == (one != other)
    assert likeness.difference(one, Look(), do_fonts_matter=True) == ""
