"""What the scheduler keeps current event by event is what a pass over all hosts and pages would find.

The slow definitions here are the oracle. They are compared after every turn of random histories, so that
a change that forgets to have a host counted again shows at once.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import hosttimeouts, hosttotals
from sshrender.core.pageparts import PageParts
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.rankedhosts import RankedHosts
from sshrender.core.records import Host
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.core.states import FINISHED, FailureKind, HostState, PageState
from tests.machine.test_changing_farm import ChangingFarm

PAGES_PER_PART = 4


class CheckedFarm(ChangingFarm):
    """A farm that compares every counter of the scheduler with its slow definition, after each turn."""

    def carry_out(self, commands: list[do.Command]) -> None:
        super().carry_out(commands)
        if self.scheduler.end is None:
            compare(self.scheduler)

    def beats(self) -> list[ev.Event]:
        """Heartbeats, some of which say that other jobs hold slots."""
        return [
            beat._replace(available_slots=self.rng.choice([None, None, 0, 1, 2]))
            if isinstance(beat, ev.LoadSampled) and self.unlucky
            else beat
            for beat in super().beats()
        ]

    def finish_page(self, host: str) -> ev.Event:
        """Some pages are reported as started first, and some fail for other reasons than usual."""
        attempt = self.held[host][0]
        luck = self.rng.random()
        if luck < 0.4:
            return ev.PageStarted(host, attempt)
        if luck < 0.4 + self.unlucky / 8:
            self.held[host].pop(0)
            kind = self.rng.choice([FailureKind.LOW_MEMORY, FailureKind.HOST])
            return ev.AttemptFailed(host, attempt, kind, "bad luck", is_reported=True)
        return super().finish_page(host)


def compare(scheduler: Scheduler) -> None:
    """Compare what the scheduler keeps current with the slow definition of each."""
    run, queue = scheduler._run, scheduler.page_queue
    hosts, pages = list(scheduler.hosts.values()), list(queue.pages.values())
    totals = run.totals.refresh()
    idle = [host for host in hosts if host.state is HostState.IDLE]
    known = [host.seconds_per_a4 for host in hosts if host.seconds_per_a4 is not None]
    assert totals.usual == (pytest.approx(sum(known) / len(known)) if known else None)
    assert totals.rate == pytest.approx(sum(hosttotals.rate(host) for host in idle))
    assert totals.backlog == pytest.approx(sum(host.backlog for host in idle))
    assert totals.free == sum(host.free_slots() for host in idle)
    assert totals.sharers == sum(not host.plan.needs_transfer for host in idle)
    assert set(totals.surplus) == {h.name for h in idle if len(h.in_flight) > h.usable_slots}
    fastest = [(h.seconds_per_a4, h.index, h.name) for h in idle if h.seconds_per_a4 is not None]
    assert totals.fastest.first() == min(fastest, default=None)
    assert +run.host_counts == Counter(host.state for host in hosts)
    assert run.revoking_count == sum(attempt.is_revoking for attempt in scheduler.attempts.values())
    for host in hosts:
        in_flight = host.in_flight.values()
        assert host.started_count == sum(attempt.started_at is not None for attempt in in_flight)
        assert (host.stalled_since is not None) == host.is_stalled()
        assert host.verifying == sum(
            attempt.host == host.name and attempt.rendered_at is not None
            for attempt in scheduler.attempts.values()
        )
        due = hosttimeouts.next_check(host, run.policy, run.stall_timeout)
        woken = run._wake_times.key(host.name)
        assert due is None or (woken is not None and woken <= max(due, scheduler._run.now + 0.1))
    assert +queue.counts == Counter(page.state for page in pages)
    assert queue.finished_count == sum(page.state in FINISHED for page in pages)
    waiting = [page for page in pages if page.state is PageState.WAITING]
    to_send = waiting + [page for page in pages if page.state is PageState.UNREADY]
    assert queue.cost_to_send == pytest.approx(sum(page.cost for page in to_send))
    constrained = {page.number for page in waiting if page.is_constrained}
    assert constrained == {page.number for page in pages if page.number in queue.constrained}
    assert queue.has_unconstrained() == any(not page.is_constrained for page in waiting)
    lowest = min((page.number for page in waiting if not page.is_constrained), default=None)
    first = queue.next_unconstrained()
    assert (first.number if first else None) == lowest
    staged = {part for host in hosts for part in host.staged_parts}
    parts = {queue.parts.of(page.number) for page in waiting if not page.is_constrained} - staged
    assert queue.parts.untouched(from_end=False) == min(parts, default=None)
    assert queue.parts.untouched(from_end=True) == max(parts, default=None)
    _compare_takers(scheduler, idle)


def _compare_takers(scheduler: Scheduler, idle: list[Host]) -> None:
    """The next host to get a page is the one that a search over all hosts with capacity finds."""
    totals = scheduler._run.totals
    usual = totals.usual or 1.0
    takers = [host for host in idle if host.capacity(scheduler.policy) > 0]

    def seconds_to_finish(host: Host) -> float:
        each = host.seconds_per_a4 if host.seconds_per_a4 is not None else usual
        rendering = each * (1 + host.backlog / max(host.usable_slots, 1))
        wait = 0.0 if host.usable_slots else hosttotals.SLOT_LOCK_WAIT
        return rendering + host.transfer_seconds * (1 + len(host.in_flight)) + wait

    totals.unpark()
    found = totals.next_taker(usual)
    assert (found is None) == (not takers)
    if found is not None:
        assert seconds_to_finish(found) == pytest.approx(min(map(seconds_to_finish, takers)))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    pages=st.integers(1, 20),
    there=st.integers(1, 3),
    later=st.integers(0, 2),
    limit=st.sampled_from([None, None, 2]),
)
def test_what_is_kept_current_is_what_a_pass_over_everything_finds(
    seed: int, pages: int, there: int, later: int, limit: int | None
) -> None:
    rng = random.Random(seed)
    names = [f"h{number}" for number in range(there + later)]
    plans = [HostPlan(name, 2, needs_transfer=rng.random() < 0.3) for name in names[:there]]
    policy = Policy(
        wait=1e6, lost_wait=1e6, quarantine_first=5, silence=60, quarantine_after=2, limit=limit
    )
    pins = [(1, frozenset({rng.choice(names[:there])}))] if rng.random() < 0.3 else []
    start = RunStart(pages_per_part=PAGES_PER_PART, pins=pins)
    scheduler = Scheduler(policy, plans, range(1, pages + 1), start)
    scheduler.handle(ev.PageCostsKnown(tuple((n, 0.5 + n % 3) for n in range(1, pages + 1))), now=0.0)
    farm = CheckedFarm(scheduler, rng, names)
    farm.bad_pages = {pages // 2}
    farm.run(steps=2000)


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.sampled_from([1.0, 2.0, 3.0]))))
def test_ranked_hosts_are_found_in_the_order_of_their_newest_keys(
    changes: list[tuple[int, float | None]],
) -> None:
    ranked = RankedHosts()
    keys: dict[str, tuple[float, int, str]] = {}
    for index, key in changes:
        name = f"h{index}"
        if key is None:
            ranked.discard(name)
            keys.pop(name, None)
        else:
            ranked.put(name, key, index)
            keys[name] = (key, index, name)
        in_order = sorted(keys.values())
        assert ranked.first() == (in_order[0] if in_order else None)
        for each in keys:
            others = [entry for entry in in_order if entry[2] != each]
            assert ranked.first_besides(each) == (others[0] if others else None)
        assert len(ranked) == len(keys)
        assert len(ranked._heap) <= 3 * len(keys) + 18


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12), st.sampled_from([-1, 1]))))
def test_the_untouched_parts_are_those_with_waiting_pages_that_no_host_has(
    changes: list[tuple[bool, int, int]],
) -> None:
    parts = PageParts(3)
    waiting: Counter[int] = Counter()
    staged: Counter[int] = Counter()
    for is_waiting, number, change in changes:
        counts, part = (waiting if is_waiting else staged), (number - 1) // 3
        if counts[part] + change < 0:
            continue
        counts[part] += change
        if is_waiting:
            parts.count_waiting(number, change)
        else:
            parts.count_staged(part, change)
        untouched = [each for each in range(4) if waiting[each] and not staged[each]]
        assert parts.untouched(from_end=False) == min(untouched, default=None)
        assert parts.untouched(from_end=True) == max(untouched, default=None)
