"""A coordinator dies: another machine goes on. It is far away: it does what is asked elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sshrender.job.output.publish import page_name
from tests import pdfs
from tests.entries import lines_of
from tests.lab.coordinators import Coordinator, Machine, in_flight, submitted, wait_until
from tests.lab.farm import Farm
from tests.lab.slow import open_gate_after

PATIENCE = 180.0
MANY = 4000
"""Pages of a job that is cancelled at the end of the test: 0.6 s each in four slots, 600 s."""

Entry = dict[str, Any]
Start = Callable[..., Coordinator]


class Desk(Machine):
    """Where somebody sits who coordinates nothing, and reads journals."""

    def __init__(self, farm: Farm, pages: int, seconds: float, slots: int = 1, last: int = 0) -> None:
        """A document of so many pages, and hosts that need so long for each of them.

        *last*: pages after it wait for :meth:`go_on`.
        """
        open_gate_after(farm.hosts, seconds, last, "/mnt/san/go" if last else "")
        self.hosts = farm.write_inventory(slots=slots)
        self.document = pdfs.write(farm.root / "long.pdf", pdfs.numbered(pages))
        self.names = [page_name(page, pages, "png") for page in range(1, pages + 1)]
        super().__init__(farm, "elsewhere", self.hosts)

    def submit(self, *words: str) -> str:
        """Put the document into the queue: the job's name."""
        (job,) = submitted(self.say("submit", str(self.document), "-r", "30", *words))
        return job

    def go_on(self) -> None:
        """Let hosts render the pages that wait."""
        (self.farm.san / "go").touch()

    def journal(self) -> list[Entry]:
        """Of the only job that there is."""
        return [entry for path in self.farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind."""
        return [entry for entry in self.journal() if entry["type"] == kind]

    def delivered(self) -> list[int]:
        """The pages that are, in the order in which they were."""
        return [entry["page"] for entry in self.of("page_delivered")]

    def runs(self) -> list[list[Entry]]:
        """What each run has told, its beginning first."""
        runs: list[list[Entry]] = []
        for entry in self.journal():
            if entry["type"] == "run_started":
                runs.append([])
            if runs:
                runs[-1].append(entry)
        return runs

    def check_that_nothing_was_done_twice(self) -> None:
        """A page that was proved in an earlier run is not drawn again, and each is delivered once."""
        known: set[int] = set()
        is_later_run = False
        sent: set[int] = set()
        for entry in self.journal():
            if entry["type"] == "run_started":
                is_later_run, known = True, known | sent
                sent = set()
            elif entry["type"] == "page_delivered":
                sent.add(entry["page"])
            elif entry["type"] == "page_sent" and is_later_run:
                assert entry["page"] not in known, entry
        assert sorted(self.delivered()) == list(range(1, len(self.names) + 1))


@pytest.fixture
def start(farm: Farm) -> Iterator[Start]:
    """Start a command on a machine of its own; none outlives the test."""
    with ExitStack() as machines:

        def begin(name: str, hosts: Path, *words: str) -> Coordinator:
            coordinator = Coordinator(farm, name, hosts, *words)
            machines.callback(coordinator.kill)
            coordinator.start()
            return coordinator

        yield begin


def _when(entry: Entry) -> float:
    return datetime.fromisoformat(entry["time"]).timestamp()


def _by(entry: Entry, *coordinators: Coordinator) -> Coordinator:
    """Who has begun this run."""
    (found,) = [each for each in coordinators if entry["coordinator"].startswith(f"{each.name} (")]
    return found


def _delivered_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_another_coordinator_finishes_what_a_killed_one_began(farm: Farm, start: Start) -> None:
    pages = 100
    desk = Desk(farm, pages=pages, seconds=0.15, last=60)
    both = [start(name, desk.hosts, "coordinate", "-v") for name in ("two", "one")]
    job = desk.submit("-o", "/mnt/san/out/long")
    wait_until(lambda: len(desk.delivered()) >= 30, PATIENCE, *both)
    (begun,) = desk.of("run_started")
    killed = _by(begun, *both)
    (other,) = [each for each in both if each is not killed]
    killed.kill()
    desk.go_on()
    wait_until(lambda: desk.of("run_ended"), PATIENCE, other, pause=0.5)
    assert desk.status(job)["state"] == "done"
    begun, again = desk.of("run_started")
    assert _by(again, *both) is other
    assert again["epoch"] > begun["epoch"]
    desk.check_that_nothing_was_done_twice()
    assert _delivered_in(farm.san / "out" / "long") == desk.names


def test_a_killed_render_is_finished_from_cron_on_another_machine(farm: Farm, start: Start) -> None:
    desk = Desk(farm, pages=80, seconds=0.1, last=30)
    words = ["render", str(desk.document), "-r", "30", "-o", "/mnt/san/out/long", "--progress", "plain"]
    render = start("one", desk.hosts, *words)
    wait_until(lambda: len(desk.delivered()) >= 20, PATIENCE, render)
    render.kill()
    assert len(desk.delivered()) < 80, "it was to be killed in the middle"
    desk.go_on()
    cron = start("two", desk.hosts, "coordinate", "--once")
    assert cron.wait(PATIENCE) == 0, cron.said()
    _, again = desk.of("run_started")
    assert _by(again, render, cron) is cron
    desk.check_that_nothing_was_done_twice()
    assert desk.status("long")["state"] == "done"
    assert desk.status("long")["output"] == "/mnt/san/out/long"
    assert _delivered_in(farm.san / "out" / "long") == desk.names


def test_a_killed_render_is_resumed_from_another_machine(farm: Farm, start: Start) -> None:
    desk = Desk(farm, pages=80, seconds=0.1, last=30)
    own, there = farm.root / "own", farm.root / "there"
    words = [str(desk.document), "-r", "30", "-o", str(own), "--progress", "plain"]
    render = start("one", desk.hosts, "render", *words)
    wait_until(lambda: len(desk.delivered()) >= 20, PATIENCE, render)
    render.kill()
    before = _delivered_in(own)
    assert len(before) < 80, "it was to be killed in the middle"
    desk.go_on()
    stands = desk.status("long")
    assert (stands["state"], stands["reason"]) == ("partial", "its coordinator is gone")
    resume = start("two", desk.hosts, "resume", "long", "-o", str(there), "--progress", "plain")
    assert resume.wait(PATIENCE) == 0, resume.said()
    desk.check_that_nothing_was_done_twice()
    assert desk.status("long")["state"] == "done"
    assert _delivered_in(there) == desk.names
    assert _delivered_in(own) == before, "the other machine has that folder, not this one"


def test_who_coordinates_does_what_is_asked_on_another_machine(farm: Farm, start: Start) -> None:
    desk = Desk(farm, pages=MANY, seconds=0.6, slots=2)
    service = start("one", desk.hosts, "coordinate", "-v")
    job = desk.submit("-o", "/mnt/san/out/long")

    def wait_for_more(pages: int) -> None:
        aim = len(desk.delivered()) + pages
        wait_until(lambda: len(desk.delivered()) >= aim, PATIENCE, service)

    def ask(*words: str) -> None:
        said = desk.say(*words)
        assert said.returncode == 0, said.stderr

    wait_for_more(5)
    assert desk.status(job)["state"] == "running"

    ask("hold", job)
    stands = desk.status(job)
    assert stands["state"] == "held"
    assert stands["held_by"].endswith("@elsewhere")
    wait_until(lambda: in_flight(desk.journal()) == 0, PATIENCE, service)
    sent = len(desk.of("page_sent"))
    time.sleep(2.0)  # in which a dozen pages would be drawn
    assert len(desk.of("page_sent")) == sent

    wait_until(lambda: len(desk.of("run_ended")) == 1, PATIENCE, service)
    assert "held by" in desk.of("run_ended")[0]["reason"]

    ask("release", job)
    wait_for_more(5)
    assert desk.status(job)["state"] == "running"

    ask("alter", job, "--priority", "7", "--limit", "1")
    stands = desk.status(job)
    assert (stands["priority"], stands["limit"]) == (7, 1)
    wait_until(lambda: len(_since_the_last_request(desk)) > 12, PATIENCE, service)
    assert _rendered_at_once(_since_the_last_request(desk)) < 1.4, "two would be 2"
    wait_until(
        lambda: any(_holds_with(7, host.exec("cat", "/proc/net/unix").stdout) for host in farm.hosts), 30
    )

    ask("alter", job, "--limit", "none")
    assert desk.status(job)["limit"] is None
    # Four slots are there. It takes a while until all are used.
    wait_until(
        lambda: len(later := _since_the_last_request(desk)) > 30 and _rendered_at_once(later) > 1.4,
        PATIENCE,
        service,
    )

    ask("cancel", job)
    wait_until(lambda: len(desk.of("run_ended")) == 2, PATIENCE, service)
    wait_until(lambda: desk.status(job)["state"] == "cancelled", PATIENCE, service, pause=1.0)
    assert 0 < desk.status(job)["pages"]["done"] < MANY
    time.sleep(3.0)  # three looks at the queue
    assert len(desk.of("run_started")) == 2, "whoever looks after the queue leaves it alone"
    assert service.is_alive()


def _since_the_last_request(desk: Desk) -> list[tuple[Entry, Entry]]:
    """Of pages that were sent after it and are delivered: both entries, in the order of the latter."""
    entries = desk.journal()
    asked = max(at for at, entry in enumerate(entries) if entry["type"] == "requested")
    sent = {entry["attempt"]: entry for entry in entries[asked:] if entry["type"] == "page_sent"}
    done = [entry for entry in entries[asked:] if entry["type"] == "page_delivered"]
    return [(sent[entry["attempt"]], entry) for entry in done if entry["attempt"] in sent]


def _rendered_at_once(pages: list[tuple[Entry, Entry]]) -> float:
    """How many pages, on average. Not how many were sent: some wait on a host behind another.

    However late an entry is written, that is never more than there were: each page was rendered between
    the first time and the last one.
    """
    began, ended = min(_when(sent) for sent, _ in pages), max(_when(done) for _, done in pages)
    return sum(float(done["seconds"]) for _, done in pages) / (ended - began)


def _holds_with(priority: int, sockets: str) -> bool:
    """Return whether a slot is held with this priority (runner/slots/slotlocks.py has the names)."""
    words = [line.split()[-1].split("-") for line in sockets.splitlines() if "-holds-" in line]
    return any(word[-2] == str(priority) for word in words)
