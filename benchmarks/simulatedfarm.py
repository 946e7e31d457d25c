"""A farm in simulated time whose coordinator has one real core: its CPU time passes on the farm's clock.

Hosts do what real ones do: each slot renders one page after the other, what a host reports waits up to
REPORTING, messages take WIRE to arrive, and each host sends a heartbeat a second. The coordinator's loop
takes what has arrived, applies it message by message and lets the scheduler decide once (loop.py).
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FailureKind

REPORTING = 0.3
"""Seconds that what can wait a little waits on a host (runner/main.py)."""

WIRE = 0.02
HEARTBEAT = 1.0
TICK = 0.25
MAX_ITEMS_PER_TURN = 1000
"""As in coordinator/loop.py."""

SPREAD = 0.2
"""Pages take up to this share more or less than the average."""

FINGERPRINT = HostFingerprint("10.00.0", "canary", "fonts")


class _Host:
    __slots__ = ("beat", "is_flushing", "name", "outbox", "queue", "rendering", "slots")

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.queue: deque[str] = deque()
        self.rendering: dict[str, float] = {}
        self.outbox: list[ev.Event] = []
        self.is_flushing = False
        self.beat = ev.LoadSampled(name, 0.0, float(slots))


class SimulatedFarm:
    """One job on one farm. ``run`` it once, then read the results."""

    def __init__(self, slots: int, hosts: int, pages: int, seconds: float, one_at_a_time: bool) -> None:
        each, more = divmod(slots, hosts)
        self._hosts = {
            f"h{number}": _Host(f"h{number}", each + (number < more)) for number in range(hosts)
        }
        plans = [HostPlan(host.name, host.slots) for host in self._hosts.values()]
        self.scheduler = Scheduler(Policy(), plans, range(1, pages + 1))
        self.now = self.cpu_seconds = 0.0
        self._rendered_seconds = 0.0
        self._slots = slots
        self._seconds = seconds
        self._items_per_turn = 1 if one_at_a_time else MAX_ITEMS_PER_TURN
        self._random = random.Random(1)
        self._agenda: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = itertools.count()
        self._inbox: deque[ev.Event] = deque()
        self._has_ended = False

    @property
    def busy(self) -> float:
        """Return the share of the run, from its start to its end, in which the average slot rendered."""
        return self._rendered_seconds / (self._slots * self.now)

    def run(self) -> None:
        """Run the job to its end."""
        began = time.thread_time()
        commands = self.scheduler.start(0.0)
        free_at = self._spent(began)
        self._carry_out(commands, free_at)
        tick_at = TICK
        while not self._has_ended:
            turn_at = free_at if self._inbox else max(free_at, tick_at)
            if self._agenda and self._agenda[0][0] <= turn_at:
                self.now, _, act, what = heapq.heappop(self._agenda)
                act(what)
                continue
            self.now = max(turn_at, self.now)
            commands, seconds = self._turn()
            free_at = self.now + seconds
            tick_at = free_at + TICK
            self._carry_out(commands, free_at)

    def _turn(self) -> tuple[list[do.Command], float]:
        """Run one turn of the coordinator's loop; return its commands and the CPU seconds it took."""
        scheduler, now = self.scheduler, self.now
        items = [self._inbox.popleft() for _ in range(min(len(self._inbox), self._items_per_turn))]
        began = time.thread_time()
        if self._items_per_turn == 1:
            return scheduler.handle(*items, now=now), self._spent(began)
        commands: list[do.Command] = []
        for item in items:
            commands += scheduler.apply(item, now=now)
        commands += scheduler.handle(now=now)
        return commands, self._spent(began)

    def _spent(self, began: float) -> float:
        seconds = time.thread_time() - began
        self.cpu_seconds += seconds
        return seconds

    def _later(self, at: float, act: Callable[[Any], None], what: Any) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), act, what))

    # What commands cause

    def _carry_out(self, commands: list[do.Command], at: float) -> None:
        requests: list[do.Command] = []
        for command in commands:
            kind = type(command)
            if kind in (do.RenderPage, do.RevokeAttempt, do.KillAttempt):
                requests.append(command)
            elif isinstance(command, do.VerifyPage):
                self._later(
                    at + WIRE, self._inbox.append, ev.PageDelivered(command.host, command.attempt)
                )
            elif isinstance(command, do.ConnectHost):
                self._later(at + self._random.uniform(0.1, 0.5), self._connect, command.host)
            elif isinstance(command, do.FinishHost):
                self._later(at + WIRE, self._inbox.append, ev.HostFinished(command.host))
            elif isinstance(command, do.EndJob):
                self._has_ended = True
        if requests:
            self._later(at + WIRE, self._take, requests)

    def _connect(self, name: str) -> None:
        host = self._hosts[name]
        self._inbox.append(ev.HostConnected(name, host.slots, 0.0, 0.0, fingerprint=FINGERPRINT))
        self._later(self.now + HEARTBEAT, self._beat, host)

    def _beat(self, host: _Host) -> None:
        self._inbox.append(host.beat)
        self._later(self.now + HEARTBEAT, self._beat, host)

    def _take(self, requests: list[Any]) -> None:
        """Take requests that have arrived at their hosts."""
        touched = {}
        for request in requests:
            host = touched[request.host] = self._hosts[request.host]
            if type(request) is do.RenderPage:
                host.queue.append(request.attempt)
            elif request.attempt in host.queue:
                host.queue.remove(request.attempt)
                self._report(host, ev.AttemptRevoked(request.host, request.attempt))
            elif type(request) is do.KillAttempt and request.attempt in host.rendering:
                self._rendered_seconds += self.now - host.rendering.pop(request.attempt)
                self._report(
                    host, ev.AttemptFailed(request.host, request.attempt, FailureKind.KILLED, "killed")
                )
        for host in touched.values():
            self._begin(host)

    # What hosts do

    def _begin(self, host: _Host) -> None:
        while host.queue and len(host.rendering) < host.slots:
            attempt = host.queue.popleft()
            host.rendering[attempt] = self.now
            seconds = self._seconds * self._random.uniform(1 - SPREAD, 1 + SPREAD)
            self._later(self.now + seconds, self._end, (host, attempt))
            self._report(host, ev.PageStarted(host.name, attempt))

    def _end(self, what: tuple[_Host, str]) -> None:
        host, attempt = what
        began = host.rendering.pop(attempt, None)
        if began is not None:
            seconds = self.now - began
            self._rendered_seconds += seconds
            self._report(host, ev.PageRendered(host.name, attempt, seconds))
            self._begin(host)

    def _report(self, host: _Host, event: ev.Event) -> None:
        host.outbox.append(event)
        if not host.is_flushing:
            host.is_flushing = True
            self._later(self.now + REPORTING + WIRE, self._flush, host)

    def _flush(self, host: _Host) -> None:
        host.is_flushing = False
        self._inbox.extend(host.outbox)
        host.outbox.clear()
