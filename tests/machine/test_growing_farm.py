"""What the scheduler does for a page does not grow with the farm.

Counted in lines of the core that are run, not in time: the same on any machine, under any load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from sshrender import core
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import FailureKind
from tests.machine.simulation import SimulatedHost, Simulation

CORE = str(Path(core.__file__).parent)


def _lines_run(work: Callable[[], Any]) -> int:
    """Return how many lines of the core the work runs; each turn of a loop counts."""
    count = 0

    def count_lines(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return count_lines

    def of_the_core(frame: FrameType, _event: str, _argument: object) -> Any:
        return count_lines if frame.f_code.co_filename.startswith(CORE) else None

    before = sys.gettrace()
    sys.settrace(of_the_core)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


class _Busy:
    """A farm in the middle of a job, of which every host has rendered a page."""

    def __init__(self, hosts: int, policy: Policy | None = None) -> None:
        names = [f"h{number}" for number in range(hosts)]
        self.scheduler = Scheduler(
            policy or Policy(), [HostPlan(name, 4) for name in names], range(1, 100 * hosts)
        )
        self.now = 0.0
        self.scheduler.start(0.0)
        self.send(*(ev.HostConnected(name, 4, 0.0, 0.0) for name in names))
        self.next_host = self._hosts(names)
        for _ in names:
            self.render_page()

    @staticmethod
    def _hosts(names: list[str]) -> Iterator[str]:
        while True:
            yield from names

    def send(self, *events: ev.Event) -> list[do.Command]:
        self.now += 0.001
        return self.scheduler.handle(*events, now=self.now)

    def render_page(self, host: str = "") -> None:
        """One page of one host, with every message of its own, and a heartbeat."""
        host = host or next(self.next_host)
        attempt = next(iter(self.scheduler.hosts[host].in_flight))
        self.send(ev.LoadSampled(host, 0.0, 4.0))
        self.send(ev.PageStarted(host, attempt))
        self.send(ev.PageRendered(host, attempt, 1.0))
        self.send(ev.PageDelivered(host, attempt))

    def fail_page(self) -> None:
        """One page of one host fails, and is sent to another one; then the host renders one."""
        host = next(self.next_host)
        attempt = next(iter(self.scheduler.hosts[host].in_flight))
        kind = FailureKind.CRASHED
        self.send(ev.AttemptFailed(host, attempt, kind, "bad page", is_reported=True))
        self.render_page(host)


def _lines_per_page(hosts: int, act: Callable[[_Busy], None], pages: int = 40) -> float:
    farm = _Busy(hosts)
    return _lines_run(lambda: [act(farm) for _ in range(pages)]) / pages


def test_a_page_costs_the_same_on_any_farm() -> None:
    assert _lines_per_page(400, _Busy.render_page) <= 1.2 * _lines_per_page(20, _Busy.render_page)


def test_a_failed_page_costs_the_same_on_any_farm() -> None:
    assert _lines_per_page(400, _Busy.fail_page) <= 1.2 * _lines_per_page(20, _Busy.fail_page)


def test_a_document_on_which_every_page_fails_costs_no_search_through_its_pages() -> None:
    """On one host, pages that failed wait until nothing else does: the more of them, the longer."""

    def lines(pages: int) -> float:
        scheduler = Scheduler(Policy(retries=2), [HostPlan("a", 2)], range(1, pages + 1))
        scheduler.start(0.0)
        scheduler.handle(ev.HostConnected("a", 2, 0.0, 0.0), now=0.0)

        def fail_all() -> None:
            while scheduler.attempts:
                (name, *_), kind = scheduler.attempts, FailureKind.CRASHED
                scheduler.handle(ev.AttemptFailed("a", name, kind, "bad page"), now=0.0)

        return _lines_run(fail_all) / pages

    assert lines(600) <= 1.2 * lines(60)


def test_a_whole_job_costs_the_same_for_each_page_on_any_farm() -> None:
    """With its end, when pages are recalled and repeated, and with a heartbeat of every host."""

    def lines(hosts: int) -> float:
        farm = [SimulatedHost(f"h{number}", 1.0 + number % 3, 2) for number in range(hosts)]
        job = Simulation(farm, [1.0] * (12 * hosts))
        return _lines_run(job.run) / (12 * hosts)

    assert lines(96) <= 1.3 * lines(12)
