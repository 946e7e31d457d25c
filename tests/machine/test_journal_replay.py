"""What a journal records is enough: replayed, it gives the states that the scheduler had."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.journalrecorder import JournalRecorder
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core.policy import Policy
from sshrender.core.states import FailureKind
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.history import History, PageRecord
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.replay import replay
from sshrender.views.interface import View
from sshrender.views.jobmodel import JobModel
from tests.entries import entries_of
from tests.machine import conversations
from tests.machine.journalreplay import ScheduledReplay
from tests.machine.simulation import SimulatedHost, Simulation


class JournaledSimulation(Simulation):
    """A simulated farm whose events and commands are recorded by the coordinator's JournalRecorder."""

    def __init__(
        self, journal: Path, hosts: Sequence[SimulatedHost], works: Sequence[float], policy: Policy
    ) -> None:
        super().__init__(hosts, works, policy)
        self.history = History()
        plan = SimpleNamespace(history=self.history, folder=SimpleNamespace(journal=journal))
        view = SimpleNamespace(entry=lambda entry: None)
        self.recorder = JournalRecorder(
            cast("JobPlan", plan), cast("View", view), lambda: None, lambda event: None, epoch=1
        )
        self.recorder.record(je.RunStarted(pages=len(works), hosts=tuple(self.hosts)))

    def _send(self, *events: ev.Event) -> None:
        # An entry is written before the scheduler hears of the event, as in the coordinator's loop.
        for event in events:
            self._record_event(event)
            super()._send(event)

    def _record_event(self, event: ev.Event) -> None:
        attempt = self.scheduler.attempts.get(getattr(event, "attempt", ""))
        match event:
            case ev.HostConnected():
                self.recorder.record(
                    je.HostConnected(
                        host=event.host, cores=event.cores, ghostscript="10.00.0", python="3.11"
                    )
                )
            case ev.AttemptFailed() if attempt is not None and not attempt.is_recalled:
                self.recorder.failed(attempt, event.kind, event.reason)
            case ev.PageDelivered() if attempt is not None:
                page = self.scheduler.page_queue[attempt.page]
                record = PageRecord(
                    page=page.number,
                    file=f"page-{page.number:04d}.png",
                    bytes=1,
                    sha256="0" * 64,
                    width=1,
                    height=1,
                    host=event.host,
                    seconds=attempt.seconds,
                    attempts=page.attempts,
                    diagnostics=attempt.diagnostics,
                )
                self.recorder.record(record.as_entry(event.attempt))

    def _carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            match command:
                case do.RenderPage():
                    self.recorder.sent(command)
                case do.ReturnPage():
                    self.recorder.returned(command)
                case do.DropAttempt():
                    self.recorder.dropped(command)
                case do.ReportHost():
                    self.recorder.host_state(command)
                case do.FinishPage():
                    self.recorder.page_finished(self.scheduler.page_queue[command.page], command.state)
        super()._carry_out(commands)


def _replayed(
    entries: Sequence[je.JournalEntry], pages: int, hosts: Sequence[str], policy: Policy
) -> tuple[ScheduledReplay, JobModel, History]:
    """Replay a journal, up to the end of its run, in one pass."""
    scheduled = ScheduledReplay(range(1, pages + 1), hosts, policy, entries)
    model, history = JobModel(range(1, pages + 1)), History()
    replay(entries, scheduled, model, history)
    assert scheduled.ended
    return scheduled, model, history


def _simulated(journal: Path, seed: int) -> JournaledSimulation:
    """A run on three hosts, fast ones and a slow one, on which some pages fail."""
    rng = random.Random(seed)
    hosts = [
        SimulatedHost("node1", 0.5, slots=2),
        SimulatedHost("node2", 0.3, slots=2, connects_at=1.0),
        SimulatedHost("node3", 2.0, connects_at=2.0),
    ]
    policy = Policy(silence=1e6)
    farm = JournaledSimulation(journal, hosts, [rng.uniform(0.5, 3.0) for _ in range(60)], policy)
    failing = {page: rng.randint(1, 4) for page in rng.sample(range(1, 61), 12)}

    def fails(host: SimulatedHost, attempt: str, seconds: float) -> None:
        page = host.rendering.get(attempt)
        if page is None or failing.get(page, 0) == 0:
            Simulation._end_page(farm, host, attempt, seconds)
            return
        failing[page] -= 1
        del host.rendering[attempt]
        farm.at(farm.now, ev.AttemptFailed(host.name, attempt, FailureKind.CRASHED, "signal 9"))
        farm._begin(host)

    farm._end_page = fails  # type: ignore[method-assign]  # some pages fail, all others end as they do
    farm.run(longest=1000.0)
    farm.recorder.record(je.RunEnded(state="partial", reason=""))
    farm.recorder.close(10)
    return farm


@pytest.mark.parametrize("seed", range(4))
def test_a_simulated_run_s_journal_gives_the_states_that_its_scheduler_had(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "journal.jsonl"
    farm = _simulated(path, seed)
    entries = list(read_journal(path))
    kinds = {type(entry) for entry in entries}
    assert {je.PageSent, je.AttemptFailed, je.PageDelivered, je.PageFailed} <= kinds
    scheduled, model, history = _replayed(entries, 60, list(farm.hosts), farm.scheduler.policy)
    for page in farm.scheduler.page_queue.pages.values():
        again = scheduled.scheduler.page_queue[page.number]
        assert (again.state, again.host, again.attempts) == (page.state, page.host, page.attempts)
        assert again.failures == page.failures
    assert scheduled.states() == {row.number: row.state for row in model.pages.values()}
    assert history == farm.history, "what the coordinator keeps of a run is the replay of its journal"
    assert sorted(history.pages) == [page for page, state in model_states(model) if state == "done"]


def model_states(model: JobModel) -> list[tuple[int, str]]:
    """Return the pages of a job model with their states."""
    return [(row.number, row.state) for row in model.pages.values()]


class Clumsy(conversations.Host):
    """Renders as an honest host does, but fails each third page that it is asked for."""

    asked_for = 0

    def answer(self, op: str, request: dict[str, Any]) -> None:
        self.asked_for += op == "render"
        if op == "render" and self.asked_for % 3 == 0:
            fields = {"attempt": request["attempt"], "kind": "crashed", "reason": "signal 9"}
            self.send("started", attempt=request["attempt"])
            self.send("failed", **fields)
        else:
            super().answer(op, request)


def test_a_coordinator_s_journal_gives_the_states_that_it_reported(tmp_path: Path) -> None:
    def make(folder: Path) -> list[conversations.Host]:
        return [conversations.Host("node1", folder), Clumsy("node2", folder)]

    ended = conversations.run(tmp_path, 20, make)
    entries = entries_of(ended.entries)
    assert any(isinstance(entry, je.AttemptFailed) for entry in entries)
    scheduled, model, history = _replayed(entries, 20, ["node1", "node2"], conversations.quick())
    assert scheduled.states() == dict(model_states(model))
    counts = ended.outcome.pages
    assert len(history.pages) == counts["done"] + counts["suspect"] == 20
    assert {row.host for row in model.pages.values()} == {r.host for r in history.pages.values()}
