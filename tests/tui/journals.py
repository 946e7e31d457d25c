"""Journals as a coordinator writes them, made to order; and a job that has one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from sshrender.job.journalentries import AttemptEntry, JournalEntry, PageDelivered, PageSent
from sshrender.job.operations import Operation
from sshrender.views.dashboard.source import JobFacts, JobView
from tests.entries import entry

DIED = "Ghostscript died of signal 9"
BEGAN = 1_800_000_000.0
"""The moment at which all of these runs begin."""


class Journal:
    """Entries at moments that are seconds since the run began."""

    def __init__(self, pages: int, hosts: Sequence[str]) -> None:
        self.entries: list[JournalEntry] = []
        self.now = 0.0
        self._count = 0
        self.write(
            "run_started", epoch=1, pages=pages, output="/out", coordinator="desk (pid 7)", hosts=hosts
        )
        for host in hosts:
            self.greet(host)

    def write(self, type_: str, /, **fields: Any) -> None:
        """An entry of this moment."""
        self.entries.append(entry(type_, BEGAN + self.now, **fields))

    def greet(self, host: str, slots: int = 2) -> None:
        """The host is idle."""
        self.write(
            "host_connected", host=host, cores=slots, slots=slots, ghostscript="10.00.0", python="3.11"
        )
        self.state(host, "idle")

    def state(self, host: str, state: str, reason: str = "") -> None:
        """The host is something else."""
        self.write("host_state", host=host, state=state, reason=reason)

    def send(self, page: int, host: str) -> str:
        """A page is sent; the attempt's name."""
        self._count += 1
        attempt = f"1.{self._count}"
        self.write("page_sent", page=page, host=host, attempt=attempt)
        return attempt

    def deliver(self, page: int, host: str, attempt: str, said: Sequence[str] = ()) -> None:
        """It is delivered."""
        facts: dict[str, Any] = {"file": f"page-{page:04d}.png", "bytes": 51323, "sha256": "0" * 64}
        facts |= {"width": 1240, "height": 1754, "ghostscript": "10.00.0", "seconds": 0.5, "attempts": 1}
        self.write(
            "page_delivered",
            page=page,
            host=host,
            attempt=attempt,
            diagnostics=list(said),
            cpu=0.4,
            **facts,
        )

    def fail(self, page: int, host: str, attempt: str, reason: str = DIED) -> None:
        """It came to nothing."""
        fields = {"page": page, "host": host, "attempt": attempt}
        self.write("attempt_failed", kind="crashed", reason=reason, **fields)

    def give_up(self, page: int, hosts: Sequence[str], reason: str = DIED) -> None:
        """It has failed."""
        self.write(
            "page_failed", page=page, kind="crashed", reason=reason, attempts=3, hosts=list(hosts)
        )


def eventful() -> Journal:
    """Sixty pages on four hosts, after ten seconds: every state of page and host but one."""
    told = Journal(60, ["node1", "node2", "node3", "node4"])
    told.now = 1.0
    told.state("node4", "refused", "no python3 there")
    told.state("node3", "busy", "other people's load is 1.20 per core (used below 0.5)")
    for page in range(1, 41):
        told.now = 1.0 + page / 5
        host = ("node1", "node2")[page % 2]
        attempt = told.send(page, host)
        if page == 7:
            told.deliver(page, host, attempt, ["unknown operator: nonsense"])
        elif page == 12:
            told.fail(page, host, attempt)
            told.give_up(page, ["node1", "node2", "node1"])
        elif page == 23:
            late = attempt
        else:
            told.deliver(page, host, attempt)
    told.now = 9.5
    told.write("page_returned", page=23, host="node2", attempt=late, reason="the host was left")
    told.state("node2", "lost", "not heard for 8 s")
    told.write("hosts_sampled", loads={"node1": [0.1, 0.95], "node3": [1.2, 0.0]})
    for page in (41, 42, 43):
        told.send(page, "node1")
    told.now = 10.0
    return told


def straggling() -> Journal:
    """Eventful, and page 23 has been with node1 all along, while it drew the others."""
    told = eventful()
    sent = next(each for each in told.entries if isinstance(each, PageSent) and each.page == 23)
    gone = [
        each
        for each in told.entries
        if isinstance(each, (AttemptEntry, PageDelivered)) and each.attempt == sent.attempt
    ]
    told.entries = [each for each in told.entries if each not in gone[1:]]
    return told


class FakeJob:
    """See Source: a job in memory."""

    def __init__(self, told: Journal, pages: int, coordinator: str = "desk (pid 7)") -> None:
        self.told = told
        self.holder = coordinator
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.trouble: OSError | None = None
        self._at = 0
        self._facts = JobFacts(
            "big-3fa9c1d2",
            "/san/big-3fa9c1d2",
            "big.pdf",
            tuple(range(1, pages + 1)),
            "png16m at 150 dpi",
        )

    @property
    def facts(self) -> JobFacts:
        """See Source."""
        return self._facts

    def entries(self) -> list[JournalEntry]:
        """See Source."""
        if self.trouble is not None:
            raise self.trouble
        new, self._at = self.told.entries[self._at :], len(self.told.entries)
        return new

    def coordinator(self) -> str:
        """See Source."""
        return self.holder

    def ask(self, op: Operation, **fields: Any) -> None:
        """See Source."""
        self.asked.append((op, fields))

    def picture(self, page_file: str, *, large: bool) -> bytes | None:
        """See Source."""
        data = io.BytesIO()
        Image.new("RGB", (158, 224), (200, 40, 90)).save(data, "PNG")
        return data.getvalue()

    def ssh_command(self, host: str) -> str:
        """See Source."""
        return f"ssh artist@{host}"


class Watcher:
    """See Owner: shows one job until it is told to end."""

    def __init__(self, job: JobView | None) -> None:
        self.source = job
        self.is_done = False
        self.interrupts = 0

    def job(self) -> JobView | None:
        """See Owner."""
        return self.source

    def is_over(self) -> bool:
        """See Owner."""
        return self.is_done

    def interrupt(self) -> str:
        """See Owner."""
        self.interrupts += 1
        return "stopping"
