"""A farm in simulated time: hosts of given speeds render pages of given cost, and nothing is random.

It keeps what real hosts do: a slot renders one page after the other in the order of their arrival, pages
are reported a little later, and requests take a moment to arrive.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.core.states import FailureKind

REPORTING = 0.3
"""Seconds that what can wait a little waits on a host (runner/main.py, FLUSHES)."""

WIRE = 0.02
TICK = 0.25


@dataclass
class SimulatedHost:
    """``seconds`` that a page of cost 1 takes; ``frozen``: no page ends from then on."""

    name: str
    seconds: float
    slots: int = 1
    connects_at: float = 0.1
    frozen: float = float("inf")
    queue: list[tuple[str, int]] = field(default_factory=list)
    rendering: dict[str, int] = field(default_factory=dict)
    spent: float = 0.0
    slot_limit: int | None = None

    @property
    def usable_slots(self) -> int:
        """Slots that render for the job."""
        return self.slots if self.slot_limit is None else min(self.slots, self.slot_limit)


class Simulation:
    """Runs a job to its end; ``now`` is then what it took."""

    def __init__(
        self,
        hosts: Sequence[SimulatedHost],
        costs: Sequence[float],
        policy: Policy | None = None,
        are_costs_known: bool = True,
        pins: Mapping[int, frozenset[str]] | None = None,
    ) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.costs = dict(enumerate(costs, 1))
        self.scheduler = Scheduler(
            policy or Policy(),
            [HostPlan(host.name, host.slots) for host in hosts],
            self.costs,
            RunStart(pins=(pins or {}).items()),
        )
        self.now = 0.0
        self.sent: list[tuple[float, do.RenderPage]] = []
        self.delivered: dict[int, str] = {}
        self.returned: list[tuple[float, str]] = []
        self.revoked = 0
        self.verification_seconds: dict[str, float] = {}
        self.most_at_once = 0
        self.has_ended = False
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Any]] = []
        if are_costs_known:
            self._later(0.0, ev.PageCostsKnown(tuple(self.costs.items())))

    def at(self, moment: float, event: ev.Event) -> None:
        """Something that happens then, whatever else does."""
        self._later(moment, event)

    def run(self, longest: float = 1e5) -> float:
        """Seconds until every page is finished."""
        self._carry_out(self.scheduler.start(self.now))
        self._later(TICK, ev.Ticked())
        while not self.has_ended:
            assert self._agenda, "nothing will ever happen again"
            self.now, _, item = heapq.heappop(self._agenda)
            assert self.now < longest, "no end"
            if isinstance(item, ev.Ticked):
                self._later(self.now + TICK, item)
                self._send(*[ev.LoadSampled(name, 0.0, 1.0) for name in self.hosts])
            elif callable(item):
                item()
            else:
                self._send(item)
        return self.now

    def ideal(self) -> float:
        """All the cost by all the speed."""
        return sum(self.costs.values()) / sum(h.slots / h.seconds for h in self.hosts.values())

    def _later(self, moment: float, item: Any) -> None:
        heapq.heappush(self._agenda, (moment, next(self._order), item))

    def _send(self, *events: ev.Event) -> None:
        self._carry_out(self.scheduler.handle(*events, now=self.now))

    def _carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            match command:
                case do.ConnectHost(name):
                    moment = self.now + self.hosts[name].connects_at
                    self._later(moment, ev.HostConnected(name, self.hosts[name].slots, 0.0, 0.0))
                case do.SetSlotLimit(name, slots):
                    self._later(self.now + WIRE, lambda n=name, s=slots: self._set_slot_limit(n, s))
                case do.FinishHost(name):
                    self._later(self.now + WIRE, ev.HostFinished(name))
                case do.EndJob():
                    self.has_ended = True
                case _:
                    self._carry_out_for_pages(command)

    def _carry_out_for_pages(self, command: do.Command) -> None:
        match command:
            case do.RenderPage(name, page, attempt):
                self.sent.append((self.now, command))
                self._later(self.now + WIRE, lambda: self._take(name, page, attempt))
            case do.RevokeAttempt(name, attempt) | do.KillAttempt(name, attempt):
                is_kill = isinstance(command, do.KillAttempt)
                self.revoked += not is_kill
                self._later(self.now + WIRE, lambda: self._recall(name, attempt, is_kill))
            case do.VerifyPage(name, page, attempt):
                moment = self.now + self.verification_seconds.get(name, WIRE)
                self._later(moment, ev.PageDelivered(name, attempt))
            case do.ReturnPage(_, name):
                self.returned.append((self.now, name))
            case do.FinishPage(page):
                assert page not in self.delivered, "a page was finished twice"
                self.delivered[page] = self.scheduler.page_queue[page].host

    def _set_slot_limit(self, name: str, slots: int | None) -> None:
        self.hosts[name].slot_limit = slots
        self._begin(self.hosts[name])

    def _take(self, name: str, page: int, attempt: str) -> None:
        self.hosts[name].queue.append((attempt, page))
        self._begin(self.hosts[name])

    def _begin(self, host: SimulatedHost) -> None:
        while host.queue and len(host.rendering) < host.usable_slots:
            attempt, page = host.queue.pop(0)
            host.rendering[attempt] = page
            self.most_at_once = max(
                self.most_at_once, sum(len(each.rendering) for each in self.hosts.values())
            )
            seconds = host.seconds * self.costs[page]
            self._later(self.now + REPORTING, ev.PageStarted(host.name, attempt))
            if self.now < host.frozen:
                self._later(
                    self.now + seconds, lambda h=host, a=attempt, s=seconds: self._end_page(h, a, s)
                )

    def _end_page(self, host: SimulatedHost, attempt: str, seconds: float) -> None:
        if host.rendering.pop(attempt, None) is not None:
            host.spent += seconds
            self._later(self.now + REPORTING, ev.PageRendered(host.name, attempt, seconds))
            self._begin(host)

    def _recall(self, name: str, attempt: str, is_kill: bool) -> None:
        host = self.hosts[name]
        waiting = [each for each in host.queue if each[0] == attempt]
        if waiting:
            host.queue.remove(waiting[0])
            self._later(self.now + WIRE, ev.AttemptRevoked(name, attempt))
        elif is_kill and host.rendering.pop(attempt, None) is not None:
            self._later(self.now + WIRE, ev.AttemptFailed(name, attempt, FailureKind.KILLED, "killed"))
            self._begin(host)
