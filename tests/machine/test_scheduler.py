"""The scheduler as a machine: whatever hosts do, every page is finished once, by the rules.

A simulated farm carries out the commands and answers with events in an order that hypothesis picks:
hosts that are busy, lost, refused, slow, that fail pages, lose them or return them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import snapshot
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.core.states import FailureKind, HostState, JobEnd, PageState

PAGE_FAILURES = [FailureKind.TIMEOUT, FailureKind.CRASHED, FailureKind.NO_OUTPUT, FailureKind.MEMORY]


class Farm:
    """Hosts as the scheduler knows them."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, bad_pages: set[int]) -> None:
        self.scheduler = scheduler
        self.rng = rng
        self.bad_pages = bad_pages
        self.now = 0.0
        self.connected: set[str] = set()
        self.held: dict[str, list[str]] = {name: [] for name in scheduler.hosts}
        self.pages: dict[str, int] = {}
        self.verifying: list[do.VerifyPage] = []
        self.connecting: set[str] = set()
        self.finishing: set[str] = set()
        self.delivered: Counter[int] = Counter()
        self.ended: do.EndJob | None = None
        self.unlucky = 0.2

    def carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            match command:
                case do.ConnectHost(host):
                    self.connecting.add(host)
                case do.CloseHost(host):
                    self.connected.discard(host)
                    self.connecting.discard(host)
                    self.held[host].clear()
                case do.RenderPage(host, page, attempt):
                    self.render(host, page, attempt)
                case do.VerifyPage():
                    self.verifying.append(command)
                case do.FinishHost(host):
                    self.finishing.add(host)
                case do.EndJob():
                    assert self.ended is None
                    self.ended = command

    def render(self, host: str, page: int, attempt: str) -> None:
        plan = self.scheduler.hosts[host].plan
        assert host in self.connected, "a page was sent to a host that is not there"
        assert self.scheduler.hosts[host].state is HostState.IDLE, "a page was sent to a busy host"
        assert not self.scheduler.hosts[host].drain_reason, "a page was sent to a drained host"
        assert not self.scheduler.held, "a page of a held job was sent"
        assert attempt not in self.pages, "an attempt's name was used twice"
        self.held[host].append(attempt)
        self.pages[attempt] = page
        slots = plan.slots or 1
        assert len(self.held[host]) <= slots * (1 + self.scheduler.policy.max_queued)

    def step(self) -> None:
        """Something happens somewhere."""
        self.now += self.rng.choice([0.01, 0.1, 0.5, 1.0, 3.0])
        events = self.beats() + [self.rng.choice(self.possible())()]
        self.carry_out(self.scheduler.handle(*events, now=self.now))

    def beats(self) -> list[ev.Event]:
        loads = [0.1, 0.1, 0.1, 0.7, 5.0] if self.unlucky else [0.1]
        return [ev.LoadSampled(host, self.rng.choice(loads), 1.0) for host in sorted(self.connected)]

    def possible(self) -> list[Callable[[], ev.Event]]:
        actions: list[Callable[[], ev.Event]] = [ev.Ticked]
        actions += [partial(self.connect, h) for h in sorted(self.connecting)]
        for host in sorted(self.connected):
            if self.held[host]:
                actions += [partial(self.finish_page, host)] * 4
            if self.rng.random() < self.unlucky / 4:
                actions.append(partial(self.lose, host))
        actions += [partial(self.verify, p) for p in self.verifying] * 2
        actions += [partial(ev.HostFinished, h) for h in sorted(self.finishing & self.connected)]
        return actions + self.user_requests()

    def user_requests(self) -> list[Callable[[], ev.Event]]:
        """Requests of users; in the end they let the job go on."""
        names = sorted(self.scheduler.hosts)
        back: list[Callable[[], ev.Event]] = [partial(ev.ReleaseRequested, "a user")]
        back += [partial(ev.UndrainRequested, name, "a user") for name in names]
        if not self.unlucky:
            return back
        page = self.rng.choice(sorted(self.scheduler.page_queue.pages))
        requests: list[Callable[[], ev.Event]] = [partial(ev.RetryRequested, page, "a user")]
        if self.rng.random() < self.unlucky / 2:
            requests.append(partial(ev.HoldRequested, "a user"))
            requests.append(partial(ev.DrainRequested, self.rng.choice(names), "a user", "why not"))
        return requests + [self.rng.choice(back)]

    def connect(self, host: str) -> ev.Event:
        self.connecting.discard(host)
        if self.rng.random() < self.unlucky:
            return ev.HostLost(host, "no answer")
        if self.rng.random() < self.unlucky / 4 and self.may_refuse(host):
            return ev.HostRefused(host, "a kind", "a reason", is_tried_again=self.rng.random() < 0.5)
        self.connected.add(host)
        return ev.HostConnected(host, 1, self.rng.choice([0.1, 0.1, 2.0]) if self.unlucky else 0.1, 0.0)

    def may_refuse(self, host: str) -> bool:
        """A run whose hosts are all refused ends."""
        others = (each.state for name, each in self.scheduler.hosts.items() if name != host)
        return any(state is not HostState.REFUSED for state in others)

    def lose(self, host: str) -> ev.Event:
        self.connected.discard(host)
        return ev.HostLost(host, "cable")

    def finish_page(self, host: str) -> ev.Event:
        attempt = self.held[host].pop(0)
        page = self.pages[attempt]
        if page in self.bad_pages:
            return ev.AttemptFailed(host, attempt, self.rng.choice(PAGE_FAILURES), "bad page")
        luck = self.rng.random()
        if luck < self.unlucky / 4:
            return ev.AttemptRevoked(host, attempt)
        if luck < self.unlucky / 2:
            return ev.AttemptFailed(host, attempt, FailureKind.KILLED, "killed")
        return ev.PageRendered(host, attempt, 0.05)

    def verify(self, command: do.VerifyPage) -> ev.Event:
        self.verifying.remove(command)
        self.delivered[command.page] += command.attempt in self.scheduler.attempts
        return ev.PageDelivered(command.host, command.attempt)

    def run(self, steps: int = 20_000) -> None:
        self.carry_out(self.scheduler.start(self.now))
        for step in range(steps):
            if self.ended is not None:
                return
            if step > steps // 2:
                self.unlucky = 0.0  # misfortune ends some day; then so must the job
            self.step()
        pytest.fail(f"no end after {steps} steps: {snapshot.take(self.scheduler)}")


def _policy(retries: int) -> Policy:
    return Policy(retries=retries, wait=1e6, lost_wait=1e6, quarantine_first=5, silence=60)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    pages=st.integers(1, 25),
    slots=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    bad=st.sets(st.integers(1, 25), max_size=3),
    retries=st.integers(1, 4),
)
def test_every_page_is_finished_once_whatever_hosts_do(
    seed: int, pages: int, slots: list[int], bad: set[int], retries: int
) -> None:
    plans = [HostPlan(f"h{n}", count) for n, count in enumerate(slots)]
    scheduler = Scheduler(_policy(retries), plans, range(1, pages + 1))
    farm = Farm(scheduler, random.Random(seed), bad)
    farm.run()
    assert farm.ended is not None
    assert farm.ended.end is JobEnd.COMPLETE
    for number in range(1, pages + 1):
        page = scheduler.page_queue[number]
        if number in bad:
            assert page.state is PageState.FAILED
            assert page.failures
            charged = [f for f in page.failures if f.kind is not FailureKind.HOST]
            assert len(charged) <= retries + 1, "two hosts may render it when it fails for the last time"
        elif page.state is PageState.FAILED:
            assert page.disconnects >= 2 * retries, "a good page may only fail with the hosts it was on"
        else:
            assert page.state is PageState.DONE
            assert farm.delivered[number] == 1


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), pages=st.integers(1, 12))
def test_the_same_events_lead_to_the_same_commands(seed: int, pages: int) -> None:
    def run() -> list[do.Command]:
        log: list[do.Command] = []
        plans = [HostPlan("a", 2), HostPlan("b", 1)]
        scheduler = Scheduler(_policy(3), plans, range(1, pages + 1))
        farm = Farm(scheduler, random.Random(seed), {2})
        original = farm.carry_out
        farm.carry_out = lambda commands: (log.extend(commands), original(commands))[1]  # type: ignore[method-assign]
        farm.run()
        return log

    assert run() == run()


class Script:
    """A scheduler that gets a script of events."""

    def __init__(self, plans: list[HostPlan], pages: int, policy: Policy | None = None) -> None:
        self.scheduler = Scheduler(policy or Policy(), plans, range(1, pages + 1))
        self.now = 0.0
        self.log: list[do.Command] = list(self.scheduler.start(0.0))

    def send(self, *events: ev.Event, after: float = 0.0) -> list[do.Command]:
        self.now += after
        commands = self.scheduler.handle(*events, now=self.now)
        self.log += commands
        return commands

    def connect(self, host: str, others: float = 0.0) -> list[do.Command]:
        return self.send(ev.HostConnected(host, 1, others, 0.0))

    def beat_until(self, seconds: float, hosts: list[str], others: float = 0.0) -> list[do.Command]:
        commands = []
        for _ in range(int(seconds)):
            beats = [ev.LoadSampled(host, others, 0.0) for host in hosts]
            commands += self.send(*beats, after=1.0)
        return commands

    def sent(self, host: str) -> list[do.RenderPage]:
        return [c for c in self.log if isinstance(c, do.RenderPage) and c.host == host]

    def end(self) -> do.EndJob | None:
        return next((c for c in self.log if isinstance(c, do.EndJob)), None)


def test_a_busy_host_gets_nothing_until_it_is_idle() -> None:
    script = Script([HostPlan("a", 1)], 3)
    script.connect("a", others=0.6)
    assert script.sent("a") == []
    script.send(ev.LoadSampled("a", 0.55, 0), after=1)
    assert script.sent("a") == []
    script.send(ev.LoadSampled("a", 0.4, 0), after=1)
    assert len(script.sent("a")) == 2


def test_hysteresis_keeps_a_host_between_the_thresholds() -> None:
    script = Script([HostPlan("a", 1)], 9)
    script.connect("a")
    script.send(ev.LoadSampled("a", 0.7, 0), after=1)
    assert script.scheduler.hosts["a"].state is HostState.IDLE
    script.send(ev.LoadSampled("a", 0.9, 0), after=1)
    assert script.scheduler.hosts["a"].state is HostState.BUSY
    script.send(ev.LoadSampled("a", 0.7, 0), after=1)
    assert script.scheduler.hosts["a"].state is HostState.BUSY


def test_a_returning_owner_gets_his_host_back_within_seconds() -> None:
    script = Script([HostPlan("a", 1)], 3)
    script.connect("a")
    first, second = script.sent("a")
    script.send(ev.PageStarted("a", first.attempt))
    commands = script.send(ev.LoadSampled("a", 4.0, 1), after=1)
    assert do.RevokeAttempt("a", second.attempt) in commands
    script.send(ev.AttemptRevoked("a", second.attempt))
    commands = script.beat_until(3, ["a"], others=4.0)
    assert do.KillAttempt("a", first.attempt) in commands
    script.send(ev.AttemptFailed("a", first.attempt, FailureKind.KILLED, "killed"))
    assert script.scheduler.page_queue[1].state is PageState.WAITING
    assert script.scheduler.page_queue[1].failures == []


def test_a_page_is_retried_where_it_has_not_failed() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1), HostPlan("c", 1)], 1)
    for host in "abc":
        script.connect(host)
    tried = []
    for _ in range(3):
        (attempt,) = script.scheduler.attempts.values()
        tried.append(attempt.host)
        script.send(ev.AttemptFailed(attempt.host, attempt.name, FailureKind.CRASHED, "boom"))
    assert sorted(tried) == ["a", "b", "c"]
    assert script.scheduler.page_queue[1].state is PageState.FAILED


def test_a_host_that_fails_page_after_page_is_quarantined_and_comes_back() -> None:
    script = Script([HostPlan("bad", 1), HostPlan("good", 1)], 30)
    script.connect("good")
    script.connect("bad")
    while script.scheduler.hosts["bad"].state is HostState.IDLE:
        attempt = next(iter(script.scheduler.hosts["bad"].in_flight.values()))
        script.send(ev.AttemptFailed("bad", attempt.name, FailureKind.CRASHED, "boom"))
    assert script.scheduler.hosts["bad"].state is HostState.QUARANTINED
    assert len({c.page for c in script.sent("bad")}) >= 3
    reconnects = [c for c in script.beat_until(61, ["good"]) if c == do.ConnectHost("bad")]
    assert reconnects == [do.ConnectHost("bad")]


def test_the_last_host_is_never_quarantined() -> None:
    script = Script([HostPlan("only", 1)], 6, Policy(retries=1))
    script.connect("only")
    while script.end() is None:
        attempts = list(script.scheduler.hosts["only"].in_flight.values())
        if attempts:
            script.send(ev.AttemptFailed("only", attempts[0].name, FailureKind.CRASHED, "boom"))
        else:
            script.send(ev.HostFinished("only"))
    assert snapshot.take(script.scheduler).settled == 6


def test_a_storage_failure_charges_nobody_and_pauses_everything() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 10)
    script.connect("a")
    script.connect("b")
    sent = len(script.sent("a") + script.sent("b"))
    first = script.sent("a")[0]
    commands = script.send(ev.AttemptFailed("a", first.attempt, FailureKind.STORAGE, "disk full"))
    assert do.ProbeStorage() in commands
    script.send(ev.StorageFailed("disk full"))
    script.beat_until(30, ["a", "b"])
    assert len(script.sent("a") + script.sent("b")) == sent
    script.send(ev.StorageRecovered())
    assert len(script.sent("a") + script.sent("b")) > sent
    assert all(page.failures == [] for page in script.scheduler.page_queue.pages.values())
    assert script.end() is None


def test_a_page_whose_name_cannot_be_written_fails_at_once_and_charges_no_host() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 3)
    script.connect("a")
    script.connect("b")
    first = script.sent("a")[0]
    script.send(ev.PageRendered("a", first.attempt, 1.0))
    reason = "the output folder: /out/page-0001.png: Is a directory"
    commands = script.send(ev.AttemptFailed("a", first.attempt, FailureKind.UNWRITABLE, reason))
    assert do.FinishPage(first.page, PageState.FAILED) in commands
    assert do.ProbeStorage() not in commands
    page = script.scheduler.page_queue[first.page]
    assert [(failure.host, failure.reason) for failure in page.failures] == [("", reason)]
    assert [host.failures for host in script.scheduler.hosts.values()] == [0, 0]
    assert not script.scheduler.paused
    script.send(ev.RetryRequested(first.page, "ann"))
    assert page.state is not PageState.FAILED


def test_pages_that_earlier_runs_rendered_and_that_cannot_be_delivered_need_no_host() -> None:
    start = RunStart(blocked=[(2, "in the way")], recovered=[ev.Recovered(1)])
    scheduler = Scheduler(Policy(), [HostPlan("a", 1)], [1, 2], start)
    commands = scheduler.start(0.0)
    assert [each for each in commands if isinstance(each, do.ConnectHost)] == []
    assert do.FinishPage(2, PageState.FAILED) in commands
    assert do.EndJob(JobEnd.COMPLETE, "") in commands


def test_a_final_failure_of_the_storage_ends_the_run_at_once() -> None:
    script = Script([HostPlan("a", 1)], 3)
    script.connect("a")
    (end,) = [
        each
        for each in script.send(ev.StorageFailed("the journal", is_final=True))
        if isinstance(each, do.EndJob)
    ]
    assert end == do.EndJob(JobEnd.STORAGE, "the journal")


def test_a_storage_that_stays_away_ends_the_run() -> None:
    script = Script([HostPlan("a", 1)], 3, Policy(storage_wait=60))
    script.connect("a")
    script.send(ev.StorageFailed("gone"))
    script.beat_until(70, ["a"])
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.STORAGE


def test_a_storage_that_seems_well_and_takes_no_page_is_given_up_without_haste() -> None:
    script = Script([HostPlan("a", 1)], 3, Policy(storage_wait=60))
    script.connect("a")
    first = script.sent("a")[0]
    script.send(ev.PageRendered("a", first.attempt, 0.1))
    probes = 0
    while script.end() is None:
        script.send(ev.AttemptFailed("a", first.attempt, FailureKind.STORAGE, "no room"))
        while not any(isinstance(c, do.ProbeStorage) for c in script.log) and script.end() is None:
            script.beat_until(1, ["a"])
        script.log = [command for command in script.log if not isinstance(command, do.ProbeStorage)]
        script.send(ev.StorageRecovered())
        probes += 1
        assert script.now < 200
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.STORAGE
    assert probes < 12


def test_a_host_that_alone_cannot_write_is_refused() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 30)
    script.connect("a")
    script.connect("b")
    while script.scheduler.hosts["a"].state is HostState.IDLE:
        attempt = next(iter(script.scheduler.hosts["a"].in_flight.values()))
        script.send(ev.AttemptFailed("a", attempt.name, FailureKind.STORAGE, "read-only"))
        script.send(ev.StorageRecovered())
    assert script.scheduler.hosts["a"].state is HostState.REFUSED
    assert script.scheduler.hosts["b"].state is HostState.IDLE


def test_a_host_that_reconnects_during_an_outage_of_the_storage_is_not_refused() -> None:
    """It cannot write either: that is the storage's failure, not the host's."""
    script = Script([HostPlan("a", 1)], 3)
    script.connect("a")
    script.send(ev.StorageFailed("read-only"))
    script.send(ev.HostLost("a", "cable"))
    script.send(ev.HostRefused("a", "san", "cannot write to the SAN"))
    assert script.scheduler.hosts["a"].state is HostState.LOST
    assert script.end() is None


def test_a_refused_host_is_not_connected_to_again_for_what_it_did_before() -> None:
    """Its last pages are verified after its refusal, and the end of its connection is reported."""
    script = Script([HostPlan("a", 2), HostPlan("b", 1)], 9, Policy(quarantine_after=1))
    script.connect("a")
    script.connect("b")
    first = script.sent("a")[0]
    script.send(ev.PageRendered("a", first.attempt, 0.1))
    script.send(ev.HostRefused("a", "host key", "changed"))
    script.send(ev.AttemptFailed("a", first.attempt, FailureKind.NO_OUTPUT, "not a PNG"))
    script.send(ev.HostLost("a", "closed"))
    script.beat_until(300, ["b"])
    assert script.scheduler.hosts["a"].state is HostState.REFUSED


def test_hosts_that_were_refused_for_the_storage_are_tried_again_after_an_outage() -> None:
    """A host may meet the outage before the coordinator does."""
    script = Script([HostPlan("a", 1), HostPlan("b", 1), HostPlan("c", 1)], 3)
    script.connect("a")
    script.send(ev.HostRefused("b", "san", "cannot write to the SAN"))
    script.send(ev.HostRefused("c", "authentication", "no key"))
    script.send(ev.StorageFailed("read-only"))
    script.log.clear()
    script.send(ev.StorageRecovered())
    assert [c.host for c in script.log if isinstance(c, do.ConnectHost)] == ["b"]
    assert script.scheduler.hosts["b"].state is HostState.CONNECTING
    assert script.scheduler.hosts["c"].state is HostState.REFUSED


def test_a_silent_host_is_lost_and_its_pages_go_elsewhere() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 4)
    script.connect("a")
    script.connect("b")
    taken = {command.page for command in script.sent("a")}
    for command in script.sent("b"):
        script.send(ev.PageRendered("b", command.attempt, 0.1), ev.PageDelivered("b", command.attempt))
    script.beat_until(9, ["b"])
    assert script.scheduler.hosts["a"].state is HostState.LOST
    assert taken <= {command.page for command in script.sent("b")}


def test_a_host_that_never_begins_its_pages_does_not_hold_the_job() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 4, Policy(stall=20, page_timeout=30))
    script.connect("a")
    script.connect("b")
    taken = {command.page for command in script.sent("a")}
    for command in script.sent("b"):
        script.send(ev.PageRendered("b", command.attempt, 0.1), ev.PageDelivered("b", command.attempt))
    script.beat_until(32, ["a", "b"])
    assert script.scheduler.hosts["a"].state is HostState.LOST
    assert taken <= {command.page for command in script.sent("b")}


def test_what_a_lost_host_still_says_is_not_believed() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 1)
    script.connect("a")
    first = script.sent("a")[0]
    script.send(ev.HostLost("a", "cable"))
    script.connect("b")
    script.send(ev.PageRendered("a", first.attempt, 0.1))
    assert not [c for c in script.log if isinstance(c, do.VerifyPage)]


def test_nobody_idle_in_time_ends_the_run() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 3, Policy(wait=20))
    script.connect("a", others=3.0)
    script.send(ev.HostRefused("b", "authentication", "no key"))
    script.beat_until(19, ["a"], others=3.0)
    assert script.end() is None
    script.beat_until(3, ["a"], others=3.0)
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.NO_HOST


def test_all_hosts_refused_ends_the_run_at_once() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 3)
    script.send(ev.HostRefused("a", "authentication", "no key"))
    script.send(ev.HostRefused("b", "host key", "changed"))
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.NO_HOST


def test_the_deadline_ends_the_run() -> None:
    script = Script([HostPlan("a", 1)], 3, Policy(deadline=10))
    script.connect("a")
    script.beat_until(11, ["a"])
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.DEADLINE


def test_queued_pages_move_to_a_slot_that_has_nothing() -> None:
    script = Script([HostPlan("slow", 1), HostPlan("fast", 1)], 2)
    script.connect("slow")
    first, second = script.sent("slow")
    script.send(ev.PageStarted("slow", first.attempt))
    commands = script.connect("fast")
    assert do.RevokeAttempt("slow", second.attempt) in commands
    script.send(ev.AttemptRevoked("slow", second.attempt))
    assert [c.page for c in script.sent("fast")] == [second.page]


def test_a_late_complaint_makes_a_delivered_page_suspect() -> None:
    script = Script([HostPlan("a", 1)], 1)
    script.connect("a")
    attempt = script.sent("a")[0].attempt
    script.send(ev.PageRendered("a", attempt, 0.1), ev.PageDelivered("a", attempt))
    script.send(ev.PageSuspected("a", attempt, 1, ("bad operator",)))
    script.send(ev.HostFinished("a"))
    assert script.scheduler.page_queue[1].state is PageState.SUSPECT
    end = script.end()
    assert end is not None
    assert end.end is JobEnd.COMPLETE


def test_a_complaint_that_comes_before_the_report_is_kept() -> None:
    """The slot has closed the document while its finalizer still encodes the page."""
    script = Script([HostPlan("a", 1)], 1)
    script.connect("a")
    attempt = script.sent("a")[0].attempt
    script.send(ev.PageStarted("a", attempt), ev.PageSuspected("a", attempt, 1, ("bad operator",)))
    script.send(ev.PageRendered("a", attempt, 0.1, ("odd font",)), ev.PageDelivered("a", attempt))
    page = script.scheduler.page_queue[1]
    assert page.state is PageState.SUSPECT
    assert set(page.diagnostics) == {"bad operator", "odd font"}


@pytest.mark.parametrize(("is_alive", "seconds"), [(False, 3.0), (True, 15.0)])
def test_late_complaints_of_a_host_that_is_alive_are_waited_for(is_alive: bool, seconds: float) -> None:
    script = Script([HostPlan("a", 1)], 1)
    script.connect("a")
    attempt = script.sent("a")[0].attempt
    script.send(ev.PageRendered("a", attempt, 0.1), ev.PageDelivered("a", attempt))
    ended = script.now
    while script.end() is None:
        script.beat_until(1, ["a"] if is_alive else [])
    assert script.now - ended == seconds


def test_recovered_pages_are_not_rendered_again() -> None:
    scheduler = Scheduler(
        Policy(),
        [HostPlan("a", 1)],
        range(1, 4),
        RunStart(recovered=[ev.Recovered(1), ev.Recovered(2, suspect=True)]),
    )
    scheduler.start(0)
    commands = scheduler.handle(ev.HostConnected("a", 1, 0, 0), now=1)
    assert [c.page for c in commands if isinstance(c, do.RenderPage)] == [3]


def test_a_job_that_is_all_there_asks_nobody() -> None:
    scheduler = Scheduler(Policy(), [HostPlan("a", 1)], [1], RunStart(recovered=[ev.Recovered(1)]))
    commands = scheduler.start(0)
    assert not [c for c in commands if isinstance(c, do.ConnectHost)]
    assert scheduler.end is JobEnd.COMPLETE


def test_a_held_job_of_the_queue_ends_when_what_was_begun_is_done() -> None:
    """It has a place among those that are seen through, and connections: others want them."""
    script = Script([HostPlan("a", 1)], 9, Policy(ends_when_held=True))
    script.connect("a")
    first, *queued = script.sent("a")
    script.send(ev.PageStarted("a", first.attempt))
    script.send(ev.HoldRequested("me"))
    script.send(*[ev.AttemptRevoked("a", command.attempt) for command in queued])
    assert script.end() is None
    script.send(ev.PageRendered("a", first.attempt, 0.1))
    assert script.end() is None
    script.send(ev.PageDelivered("a", first.attempt))
    end = script.end()
    assert end is not None
    assert (end.end, end.reason) == (JobEnd.HELD, "held by me")


def test_a_held_job_sends_nothing_and_waits_until_it_is_released() -> None:
    script = Script([HostPlan("a", 1)], 9, Policy(wait=20, lost_wait=20))
    script.connect("a")
    first, *queued = script.sent("a")
    script.send(ev.PageStarted("a", first.attempt))
    script.send(ev.HoldRequested("me"))
    assert {c.attempt for c in script.log if isinstance(c, do.RevokeAttempt)} == {
        c.attempt for c in queued
    }
    script.send(*[ev.AttemptRevoked("a", command.attempt) for command in queued])
    script.send(ev.PageRendered("a", first.attempt, 0.1), ev.PageDelivered("a", first.attempt))
    sent = len(script.sent("a"))
    script.beat_until(100, ["a"])
    assert len(script.sent("a")) == sent
    assert script.end() is None
    script.send(ev.ReleaseRequested("me"))
    assert len(script.sent("a")) > sent


def test_a_drained_host_gives_its_pages_back_within_seconds_and_is_used_again_when_asked() -> None:
    script = Script([HostPlan("a", 1), HostPlan("b", 1)], 30)
    script.connect("a")
    first = script.sent("a")[0]
    script.send(ev.PageStarted("a", first.attempt))
    script.connect("b")
    script.send(ev.DrainRequested("a", "me", "a new disk"))
    host = script.scheduler.hosts["a"]
    assert host.state is HostState.DRAINED
    assert host.reason == "drained by me: a new disk"
    script.beat_until(2.5, ["a", "b"])
    assert do.KillAttempt("a", first.attempt) in script.log
    sent = len(script.sent("a"))
    script.send(ev.HostLost("a", "rebooted"))
    script.beat_until(4, ["b"])
    script.connect("a")
    assert host.state is HostState.DRAINED
    assert len(script.sent("a")) == sent
    script.send(ev.UndrainRequested("a", "me"))
    assert host.state is HostState.IDLE
    assert len(script.sent("a")) > sent


def test_a_failed_page_may_be_tried_again_by_hand() -> None:
    script = Script([HostPlan("a", 1)], 2, Policy(retries=1))
    script.connect("a")
    first, second = script.sent("a")
    script.send(ev.AttemptFailed("a", first.attempt, FailureKind.CRASHED, "bad luck"))
    assert script.scheduler.page_queue[first.page].state is PageState.FAILED
    script.send(ev.RetryRequested(first.page, "me"))
    again = script.sent("a")[-1]
    assert again.page == first.page
    for command in (again, second):
        script.send(ev.PageRendered("a", command.attempt, 0.1), ev.PageDelivered("a", command.attempt))
    assert script.scheduler.page_queue.is_finished()
    assert snapshot.take(script.scheduler).failed == 0


def test_a_cancelled_job_ends_at_once() -> None:
    script = Script([HostPlan("a", 1)], 9)
    script.connect("a")
    script.send(ev.CancelRequested("me"))
    end = script.end()
    assert end is not None
    assert (end.end, end.reason) == (JobEnd.CANCELLED, "cancelled by me")


def test_an_honest_host_that_is_short_of_memory_is_kept_with_fewer_slots() -> None:
    script = Script([HostPlan("big", 32)], 100)
    script.connect("big")
    for _ in range(31):
        attempt = next(iter(script.scheduler.hosts["big"].in_flight))
        script.send(ev.PageStarted("big", attempt))
        script.send(
            ev.AttemptFailed("big", attempt, FailureKind.LOW_MEMORY, "short of memory", is_reported=True)
        )
    host = script.scheduler.hosts["big"]
    assert (host.state, host.slots) == (HostState.IDLE, 1)
    script.send(ev.HostLost("big", "cable"))
    script.send(ev.Ticked(), after=4.0)
    script.connect("big")
    assert host.slots == 1
    for _ in range(Policy().max_uncharged_failures + 1):
        attempt = next(iter(host.in_flight))
        script.send(
            ev.AttemptFailed("big", attempt, FailureKind.LOW_MEMORY, "short of memory", is_reported=True)
        )
    assert host.state is HostState.LOST, "one that gives up every page, though it has one slot"


@pytest.mark.parametrize("why", ["drain", "hold", "load"])
def test_a_large_honest_host_may_hand_back_all_that_it_was_asked_for(why: str) -> None:
    script = Script([HostPlan("big", 256)], 20000)
    script.connect("big")
    host = script.scheduler.hosts["big"]
    for _ in range(600):
        if len(host.in_flight) > 4100:
            break
        attempt = next(iter(host.in_flight))
        script.send(ev.PageStarted("big", attempt))
        script.send(ev.PageRendered("big", attempt, 0.01), ev.LoadSampled("big", 0.0, 0.0), after=0.01)
        script.send(ev.PageDelivered("big", attempt))
        host.seconds_per_page = host.seconds_per_a4 = 0.01  # as a host is known after a while
    assert len(host.in_flight) > 4100
    if why == "load":
        script.send(ev.LoadSampled("big", 9e3, 0.0), after=0.3)
    elif why == "drain":
        script.send(ev.DrainRequested("big", "me", ""))
    else:
        script.send(ev.HoldRequested("me"))
    script.scheduler.apply(
        *(ev.AttemptRevoked("big", name) for name in list(host.in_flight)), now=script.now
    )
    script.send(ev.LoadSampled("big", 0.0, 0.0), after=0.3)
    assert not host.in_flight or why == "load"
    assert host.is_connected


def test_a_host_whose_load_calls_pages_back_again_and_again_is_left() -> None:
    script = Script([HostPlan("liar", 256)], 20000)
    script.connect("liar")
    host = script.scheduler.hosts["liar"]
    for _ in range(60):
        script.send(ev.LoadSampled("liar", 9e3, 0.0), after=0.3)
        revoked = [ev.AttemptRevoked("liar", name) for name in list(host.in_flight)]
        script.send(*revoked, ev.LoadSampled("liar", 0.0, 0.0), after=0.3)
    assert host.state is HostState.LOST
