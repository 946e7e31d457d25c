"""Lease and scheduler as one machine: each epoch is one coordinator's, whoever freezes, dies or is late.

Coordinators on machines whose clocks differ share a simulated storage. Each is a thread that runs the
real lease and the real scheduler; one runs at a time, in simulated time, and hands control back before
and after each operation on the storage, each reading of its clock and each pause: there it may be frozen
or killed, as hypothesis draws. What happens in what order is a matter of these times alone. Asked is:

- No epoch is held by two, no attempt's name is used twice, and no page is published twice.
- A coordinator neither publishes nor journals once one with a higher epoch has begun to. Allowed is one
  operation that is past ``ensure``: when that last looked (at its clock, or for a higher epoch) the
  other had not begun, and between this look and the operation there was a freeze. No look beforehand
  prevents that. A page is there once all the same, by link, and is adopted; a line tells of such a one.
- In the end one that runs alone completes the job, and those that wake up afterwards change nothing.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.core.states import JobEnd
from sshrender.job import lease as leases
from sshrender.job.journal import history
from sshrender.job.journal.history import PageRecord
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.lease import BEAT_SECONDS, LEASE_SECONDS, Lease, LeaseHeld, LeaseLost
from sshrender.job.leasefiles import Claim
from tests.entries import entry

KILLED, SKEW = math.inf, 0.01
POLICY = Policy(wait=1e6, lost_wait=1e6, silence=1e6, stall=1e6, page_timeout=1e6)
HOSTS = [HostPlan("a", 1), HostPlan("b", 1)]
AGAIN, RENDERING, DISTURBED, CALM = 3.0, 1.2, 90.0, 120.0


class Blow(NamedTuple):
    """Machine ``who`` is frozen just before, or just after, its nth operation of a kind."""

    who: int
    where: str
    is_before: bool
    nth: int
    seconds: float


class Nature(NamedTuple):
    """A machine's clock, when its coordinator starts, and how old what it reads may be."""

    pace: float = 1.0
    offset: float = 0.0
    starts_at: float = 0.0
    stale: float = 0.0


class Fate(NamedTuple):
    """All that is drawn of a world. ``lags``: what operations take, one after the other."""

    natures: list[Nature]
    blows: list[Blow]
    lags: list[float]
    pages: int = 1
    is_linked: bool = True
    """Epochs are claimed by link(2); else by creating a file, which is filled a moment later."""


class Ended(BaseException):
    """Unwinds the thread of a coordinator that is no more."""


class World:
    """The storage, the time, what is asked of coordinators, and whose turn it is: who wakes first."""

    def __init__(self, fate: Fate, program: Callable[[Machine], None]) -> None:
        self.fate, self.program = fate, program
        self.now, self.until, self.is_calm, self.is_closing = 0.0, 0.0, False, False
        self.lags = itertools.cycle(fate.lags)
        self.beats: list[tuple[float, int, Claim | None]] = [(-math.inf, -1, None)]
        self.epochs: dict[int, Claim | None] = {}
        self.claims: dict[int, tuple[float, float]] = {}
        self.owners: dict[int, int] = {}
        self.attempts, self.wanted = set[str](), set(range(1, fate.pages + 1))
        self.pages: dict[int, tuple[int, int]] = {}
        self.journal: list[JournalEntry] = []
        self.begun: dict[int, float] = {}
        self.director = threading.Semaphore(0)
        self.error: BaseException | None = None
        self.awake: list[Machine] = []
        self.machines = [Machine(self, index, nature) for index, nature in enumerate(fate.natures)]

    def run(self, machines: list[Machine], seconds: float) -> None:
        """Let these go on for so long; the others are frozen meanwhile."""
        self.awake, self.until = list(machines), self.now + seconds
        while (machine := self.next()) is not None:
            machine.frozen += max(0.0, self.now - machine.wakes_at)
            self.now = max(self.now, machine.wakes_at)
            machine.turn.release()
            self.director.acquire()
            if self.error is not None:
                raise self.error

    def next(self) -> Machine | None:
        awake = [each for each in self.awake if not each.is_over and each.wakes_at <= self.until]
        return min(awake, key=lambda each: each.wakes_at, default=None)

    def sleep(self, machine: Machine, seconds: float) -> None:
        """Called by its thread: comes back that much later, after whatever others do until then."""
        machine.wakes_at = self.now + seconds
        if not self.is_closing and self.next() is machine:
            self.now = machine.wakes_at
            return
        self.director.release()
        machine.turn.acquire()
        if self.is_closing:
            raise Ended

    def close(self) -> None:
        self.is_closing = True
        for machine in self.machines:
            machine.turn.release()
            machine.thread.join(10)
            assert not machine.thread.is_alive()

    def grants(self, claim: Claim) -> bool:
        if self.fate.is_linked:
            return self.epochs.setdefault(claim.epoch, claim) is claim
        is_new = claim.epoch not in self.epochs
        self.epochs.setdefault(claim.epoch, None)
        return is_new

    def link(self, page: int, by: tuple[int, int]) -> None:
        self.pages.setdefault(page, by)

    def act(self, machine: Machine, epoch: int) -> None:
        """It publishes or journals at this moment: see the head of this file."""
        assert self.owners[epoch] == machine.index, "somebody acts in another one's epoch"
        for higher, began in self.begun.items():
            is_frozen_act = machine.frozen > 0 and began >= machine.looked_at
            said = f"epoch {epoch} acts at {self.now}, {higher} began at {began}"
            assert higher <= epoch or is_frozen_act, said
        self.begun.setdefault(epoch, self.now)

    def is_complete(self) -> bool:
        return set(self.pages) == self.wanted == set(history.of(self.journal).pages)


class Machine:
    """One coordinator's: its thread, its clock, and the storage as it sees it (leasefiles.Files)."""

    def __init__(self, world: World, index: int, nature: Nature) -> None:
        self.world, self.index, self.nature = world, index, nature
        self.wakes_at, self.is_over = world.now + nature.starts_at, False
        self.looked_at = self.frozen = self.clock_read = self.seen_until = 0.0
        self.beat_began = self.beaten_at = 0.0
        self._blows = {blow[1:4]: blow.seconds for blow in world.fate.blows if blow.who == index}
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._lives = itertools.count()
        self.turn = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _live(self) -> None:
        self.turn.acquire()
        try:
            if not self.world.is_closing:
                self.world.program(self)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the test runs
            self.world.error = error
        finally:
            self.is_over = True
            self.world.director.release()

    @contextmanager
    def _at(self, operation: str, seconds: float = 0.0) -> Iterator[None]:
        """What is done inside is done at one moment; before and after it, anything may happen."""
        self._wait(operation, True, seconds)
        yield
        self.looked_at, self.frozen = self.world.now, 0.0
        self._wait(operation, False, 0.0)

    def _wait(self, operation: str, is_before: bool, seconds: float) -> None:
        nth = self._counts[operation, is_before]
        self._counts[operation, is_before] += 1
        freeze = 0.0 if self.world.is_calm else self._blows.get((operation, is_before, nth), 0.0)
        self.frozen += freeze
        self.world.sleep(self, seconds + next(self.world.lags) + freeze)

    def take(self) -> Lease:
        """Take the lease as a process that began just now."""
        token = f"{self.index:016x}{next(self._lives):016x}"
        claim = Claim(0, 0, f"m{self.index}", 1000 + self.index, f"boot {self.index}", "1", token)
        lease = leases.take_from(self, claim, self.clock, self.pause)
        assert lease.epoch not in self.world.owners, "an epoch is held by two"
        self.world.owners[lease.epoch] = self.index
        self.world.claims[lease.epoch] = self.seen_until, self.world.claims[lease.epoch][1]
        return lease

    def clock(self) -> float:
        with self._at("clock"):
            self.clock_read = self.world.now
            return self.nature.offset + self.nature.pace * self.world.now

    def pause(self, seconds: float) -> None:
        with self._at("pause", seconds / self.nature.pace):
            pass

    def read(self) -> Claim | None:
        """Its own writes at once, those of others when it happens to see them."""
        with self._at("read"):
            self.seen_until = self.world.now - self.nature.stale
            beats = reversed(self.world.beats)
            return next(claim for at, by, claim in beats if by == self.index or at <= self.seen_until)

    def write(self, claim: Claim) -> None:
        with self._at("write"):
            self.beat_began, self.beaten_at = self.clock_read, self.world.now
            self.world.beats.append((self.world.now, self.index, claim))

    def newest_epoch(self) -> int:
        with self._at("newest"):
            return max(self.world.epochs, default=0)

    def claimant(self, epoch: int) -> Claim | None:
        with self._at("claimant"):
            return self.world.epochs.get(epoch)

    def claim(self, claim: Claim) -> bool:
        with self._at("claim"):
            if not self.world.grants(claim):
                return False
            self.world.claims[claim.epoch] = self.seen_until, self.world.now
        if not self.world.fate.is_linked:
            with self._at("fill"):
                self.world.epochs[claim.epoch] = claim
        return True

    def publish(self, page: int, epoch: int) -> None:
        with self._at("publish"):
            self.world.act(self, epoch)
            first = self.world.pages.get(page, (epoch, self.index))
            self.world.link(page, (epoch, self.index))
            assert self.world.pages[page] == first, "a page was published twice"

    def append(self, epoch: int, line: JournalEntry) -> None:
        with self._at("append"):
            self.world.act(self, epoch)
            self.world.journal.append(line)

    def recall(self) -> tuple[set[int], set[int]]:
        with self._at("recall"):
            return set(self.world.pages), set(history.of(self.world.journal).pages)


class Run:
    """One run of the job, on hosts that never fail, and draw what they have begun."""

    def __init__(self, machine: Machine, lease: Lease) -> None:
        self.machine, self.lease = machine, lease
        self.drawing: dict[str, tuple[str, float]] = {}
        self.now = self.beaten_at = machine.clock()
        self.journal("run_started")
        present, journaled = machine.recall()
        for page in sorted(present - journaled):
            self.tell(page)
        wanted, old = sorted(machine.world.wanted), map(ev.Recovered, sorted(present))
        self.scheduler = Scheduler(
            POLICY, HOSTS, wanted, RunStart(epoch=lease.epoch, recovered=old, now=self.now)
        )

    def run(self) -> None:
        """Until the scheduler says that it is over; then the lease is given back. Raises LeaseLost."""
        events = self.obey(self.scheduler.start(self.now))
        while self.scheduler.end is None:
            self.machine.pause(0.5)
            self.now = self.machine.clock()
            for name in [name for name, (_, end) in self.drawing.items() if end <= self.now]:
                events.append(ev.PageRendered(self.drawing.pop(name)[0], name, RENDERING))
            events = self.obey(self.scheduler.handle(*events, now=self.now))
            if self.now - self.beaten_at >= BEAT_SECONDS:
                self.beaten_at = self.now
                self.lease.beat()
        assert self.scheduler.end is JobEnd.COMPLETE
        self.lease.release()

    def obey(self, commands: list[do.Command]) -> list[ev.Event]:
        events: list[ev.Event] = []
        for command in commands:
            match command:
                case do.ConnectHost(host):
                    events.append(ev.HostConnected(host, 1, 0.0, 0.0))
                case do.RenderPage(host, _, attempt):
                    assert attempt not in self.machine.world.attempts, "an attempt's name is used twice"
                    self.machine.world.attempts.add(attempt)
                    self.drawing[attempt] = (host, self.now + RENDERING)
                case do.VerifyPage(host, page, attempt):
                    self.lease.ensure()
                    self.machine.publish(page, self.lease.epoch)
                    self.tell(page)
                    events.append(ev.PageDelivered(host, attempt))
                case do.FinishHost(host):
                    events.append(ev.HostFinished(host))
        return events

    def tell(self, page: int) -> None:
        host = f"host of {self.machine.index}"
        record = PageRecord(page, f"page-{page:04d}.png", 1, "0" * 64, 1, 1, host, "10", RENDERING)
        self.journal("page_delivered", **record.as_fields())

    def journal(self, kind: str, **fields: Any) -> None:
        self.lease.ensure()
        self.machine.append(self.lease.epoch, entry(kind, 0.0, epoch=self.lease.epoch, **fields))


def coordinate(machine: Machine) -> None:
    """See the job through, again and again until it is complete."""
    while not machine.world.is_complete():
        try:
            Run(machine, machine.take()).run()
        except (LeaseHeld, LeaseLost):
            machine.pause(AGAIN)


def live_through(fate: Fate) -> None:
    """Disturbed at first, then one alone, then whoever was frozen meanwhile."""
    world = World(fate, coordinate)
    try:
        world.run(world.machines, DISTURBED)
        world.is_calm = True
        world.machines.append(Machine(world, len(world.machines), Nature()))
        world.run(world.machines[-1:], CALM)
        assert world.is_complete(), "one that was alone did not complete the job"
        pages = dict(world.pages)
        world.run(world.machines, CALM)
        assert pages == world.pages
        assert world.is_complete()
        assert history.of(world.journal * 2) == history.of(world.journal), (
            "replayed twice, it says something else"
        )
    finally:
        world.close()


def hold(turns: list[tuple[int, float, float]], beats: list[int], machine: Machine) -> None:
    """Take the lease when it is to be had; beat in time; give it back, or fall silent (below 0)."""
    try:
        lease = machine.take()
    except LeaseHeld:
        machine.pause(AGAIN)
        return hold(turns, beats, machine)
    count, taken_at = beats[machine.index % len(beats)], machine.world.claims[lease.epoch][1]
    for _ in range(abs(count)):
        machine.pause(BEAT_SECONDS)
        lease.beat()
    free_at = machine.beaten_at + (LEASE_SECONDS / (1 + SKEW) if count < 0 else 0.0)
    turns.append((lease.epoch, taken_at, free_at))
    return lease.release() if count >= 0 else None


PACES, OFFSETS = st.sampled_from([1.0, 1 - SKEW, 1 + SKEW]), st.floats(-1e6, 1e6)
STARTS, AGES = st.sampled_from([0.0, 0.1, 1.0, 3.0, 8.0]), st.sampled_from([0.0, 0.2, 0.9])
NATURES = st.builds(Nature, PACES, OFFSETS, STARTS, AGES)


def _blows(operations: list[str], most: int, seconds: list[float]) -> st.SearchStrategy[Blow]:
    who, where = st.sampled_from([0, 0, 0, 1, 1, 2, 3]), st.sampled_from(operations)
    return st.builds(Blow, who, where, st.booleans(), st.integers(0, most), st.sampled_from(seconds))


LONG = [5.0, 8.0, 11.0, 12.0, 14.0, 20.0, 40.0, KILLED]
BLOWS = st.one_of(
    _blows(["write", "publish", "append", "recall"], 6, LONG),
    _blows(["claim", "fill"], 1, [0.5, 2.0, 5.0, KILLED]),
    _blows(["read", "newest", "claimant", "clock", "pause"], 25, [0.5, 2.0, *LONG]),
)
LAGS = st.lists(st.floats(0, 0.1), min_size=1, max_size=5)
CROWDS = st.lists(NATURES, min_size=2, max_size=4)
FATES = st.builds(Fate, CROWDS, st.lists(BLOWS, min_size=2, max_size=16), LAGS, pages=st.integers(6, 12))

PAIR = [Nature(), Nature(starts_at=1.0)]
UNSEEN = Fate(PAIR, [Blow(0, "write", False, 0, 12.0), Blow(1, "claim", True, 0, 2.0)], [0.01], 6)
"""The holder freezes after its first beat, and who watches it between its last look and its claim."""
LATE = Fate(PAIR, [Blow(0, "write", True, 1, 20.0), Blow(1, "publish", True, 0, KILLED)], [0.01], 6)
"""A holder's beat is written when its successor has died."""

OVERTAKEN = Fate(
    [Nature(), Nature(starts_at=1.0)], [Blow(0, "publish", True, 0, 40.0)], lags=[0.01], pages=6
)
"""The holder freezes with a proved page in its hand, and wakes when its successor has published it."""

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


UNFILLED = Fate(PAIR, [Blow(0, "fill", True, 0, KILLED)], [0.01], 6, is_linked=False)
"""A claimant dies between creating the file of its epoch and filling it: that epoch is nobody's."""


@pytest.mark.parametrize("is_linked", [True, False])
@settings(patient, max_examples=100)
@given(fate=FATES)
@example(fate=UNSEEN)
@example(fate=LATE)
@example(fate=OVERTAKEN)
@example(fate=UNFILLED)
def test_results_of_one_coordinator_at_most_are_published_for_an_epoch(
    is_linked: bool, fate: Fate
) -> None:
    live_through(fate._replace(is_linked=is_linked))


@pytest.mark.parametrize("is_linked", [True, False])
@settings(patient, max_examples=40)
@given(fate=FATES, beats=st.lists(st.integers(-6, 6), min_size=1, max_size=4))
def test_of_all_who_want_the_lease_one_has_it_while_it_beats(
    is_linked: bool, fate: Fate, beats: list[int]
) -> None:
    turns: list[tuple[int, float, float]] = []
    crowd = [nature._replace(starts_at=nature.starts_at / 50) for nature in fate.natures]
    world = World(Fate(crowd, [], fate.lags, is_linked=is_linked), partial(hold, turns, beats))
    try:
        world.run(world.machines, 1000.0)  # raises LeaseLost where one that beats is taken for dead
    finally:
        world.close()
    assert [epoch for epoch, _, _ in turns] == list(range(1, len(crowd) + 1))
    assert sorted(world.owners.values()) == list(range(len(crowd)))
    for (_, _, free_at), (_, taken_at, _) in itertools.pairwise(turns):
        assert free_at <= taken_at, "a holder was taken for dead too early"
        assert taken_at - free_at <= LEASE_SECONDS + BEAT_SECONDS + AGAIN + 2.0, (
            "a silent holder was believed for long"
        )


def test_a_holder_that_was_not_seen_to_beat_again_is_fenced_before_its_successor_begins() -> None:
    live_through(UNSEEN)


MUTATIONS: dict[str, tuple[object, str, object]] = {
    "ensure does nothing": (Lease, "ensure", lambda lease: None),
    "nobody looks for a higher epoch": (Lease, "_check", lambda lease: None),
    "beats are trusted for long": (leases, "TRUSTED_SECONDS", 30.0),
    "holders are never taken for dead": (leases, "LEASE_SECONDS", 1e9),
    "a claim is not followed by a look": (leases, "_outwait", lambda files, found, pause: None),
    "two may claim an epoch": (World, "grants", lambda world, claim: True),
    "pages are overwritten": (World, "link", lambda world, page, by: world.pages.update({page: by})),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_model_notices_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(patient, max_examples=300, derandomize=True, phases=[Phase.explicit, Phase.generate])
    @given(fate=FATES)
    @example(fate=LATE)
    @example(fate=UNSEEN)
    @example(fate=OVERTAKEN)
    def search(fate: Fate) -> None:
        live_through(fate)

    monkeypatch.setattr(*MUTATIONS[name])
    with pytest.raises(AssertionError):
        search()
