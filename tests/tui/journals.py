"""Journals for tests, as a coordinator writes them, and a job in memory that has one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from sshrender.job.journal.journalentries import AttemptEntry, JournalEntry, PageDelivered, PageSent
from sshrender.job.journal.storagepause import Pause
from sshrender.job.queue.requestoperations import Operation
from sshrender.views.dashboard.source import HostLine, JobFacts, JobLine, JobList, JobView, Listed
from tests.entries import entry

DIED = "Ghostscript died of signal 9"
BEGAN = 1_800_000_000.0
"""The time at which each of these runs starts, in seconds since 1970."""


class Journal:
    """Collects entries. ``now`` is the time of the next one, in seconds since the run started."""

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
        """Add an entry."""
        self.entries.append(entry(type_, BEGAN + self.now, **fields))

    def greet(self, host: str, slots: int = 2) -> None:
        """Add the entries of a host that connects and is idle."""
        self.write(
            "host_connected", host=host, cores=slots, slots=slots, ghostscript="10.00.0", python="3.11"
        )
        self.state(host, "idle")

    def state(self, host: str, state: str, reason: str = "") -> None:
        """Change the state of a host."""
        self.write("host_state", host=host, state=state, reason=reason)

    def send(self, page: int, host: str) -> str:
        """Send a page to a host; return the attempt's name."""
        self._count += 1
        attempt = f"1.{self._count}"
        self.write("page_sent", page=page, host=host, attempt=attempt)
        return attempt

    def deliver(self, page: int, host: str, attempt: str, said: Sequence[str] = ()) -> None:
        """Deliver a page."""
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
        """Let an attempt fail."""
        fields = {"page": page, "host": host, "attempt": attempt}
        self.write("attempt_failed", kind="crashed", reason=reason, **fields)

    def give_up(self, page: int, hosts: Sequence[str], reason: str = DIED) -> None:
        """Let a page fail after all attempts."""
        self.write(
            "page_failed", page=page, kind="crashed", reason=reason, attempts=3, hosts=list(hosts)
        )


def eventful() -> Journal:
    """Return sixty pages on four hosts after ten seconds, with all states of pages and hosts but one."""
    journal = Journal(60, ["node1", "node2", "node3", "node4"])
    journal.now = 1.0
    journal.state("node4", "refused", "no python3 there")
    journal.state("node3", "busy", "other people's load is 1.20 per core (used below 0.5)")
    for page in range(1, 41):
        journal.now = 1.0 + page / 5
        host = ("node1", "node2")[page % 2]
        attempt = journal.send(page, host)
        if page == 7:
            journal.deliver(page, host, attempt, ["unknown operator: nonsense"])
        elif page == 12:
            journal.fail(page, host, attempt)
            journal.give_up(page, ["node1", "node2", "node1"])
        elif page == 23:
            late = attempt
        else:
            journal.deliver(page, host, attempt)
    journal.now = 9.5
    journal.write("page_returned", page=23, host="node2", attempt=late, reason="the host was left")
    journal.state("node2", "lost", "not heard for 8 s")
    journal.write("hosts_sampled", loads={"node1": [0.1, 0.95], "node3": [1.2, 0.0]})
    for page in (41, 42, 43):
        journal.send(page, "node1")
    journal.now = 10.0
    return journal


def straggling() -> Journal:
    """Return ``eventful``, but page 23 stays on node1 while that host renders other pages."""
    journal = eventful()
    sent = next(each for each in journal.entries if isinstance(each, PageSent) and each.page == 23)
    gone = [
        each
        for each in journal.entries
        if isinstance(each, (AttemptEntry, PageDelivered)) and each.attempt == sent.attempt
    ]
    journal.entries = [each for each in journal.entries if each not in gone[1:]]
    return journal


def reopening() -> Journal:
    """Return ``straggling``, but a slot of node1 opens the document again for half a minute by now."""
    journal = straggling()
    journal.now = 10.0
    fields = {"host": "node1", "page": 40, "seconds": 31.0}
    journal.write("document_reopening", is_over=False, **fields)
    return journal


def finished() -> Journal:
    """Return ``eventful`` at its end: all pages but one are delivered."""
    journal = eventful()
    journal.now = 12.0
    waiting = [23, *range(41, 61)]
    for page in waiting:
        journal.now += 0.2
        journal.deliver(page, "node1", journal.send(page, "node1"))
    journal.write("run_ended", state="partial", reason="1 page failed")
    return journal


def paused() -> Journal:
    """Return ``eventful`` when the shared folder has just become full."""
    journal = eventful()
    for page in (41, 42, 43):
        attempt = f"1.{page}"
        journal.write(
            "page_returned", page=page, host="node1", attempt=attempt, reason="the storage failed"
        )
    journal.write("storage_failed", reason="/san/big-3fa9c1d2/pages: No space left on device")
    return journal


class FakeJob:
    """A JobView in memory."""

    def __init__(self, journal: Journal, pages: int, coordinator: str = "desk (pid 7)") -> None:
        self.journal = journal
        self.holder = coordinator
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.error: OSError | None = None
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
        """See JobView."""
        return self._facts

    def entries(self) -> list[JournalEntry]:
        """See JobView."""
        if self.error is not None:
            raise self.error
        new, self._at = self.journal.entries[self._at :], len(self.journal.entries)
        return new

    def coordinator(self) -> str:
        """See JobView."""
        return self.holder

    def request(self, op: Operation, **fields: Any) -> None:
        """See JobView."""
        self.requests.append((op, fields))

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        """See JobView."""
        data = io.BytesIO()
        Image.new("RGB", (158, 224), (200, 40, 90)).save(data, "PNG")
        return data.getvalue()

    def ssh_command(self, host: str) -> str:
        """See JobView."""
        return f"ssh artist@{host}"


class Watcher:
    """An Owner that shows one job until ``is_done`` is set."""

    def __init__(self, job: JobView | None, listed: JobList | None = None) -> None:
        self.source = job
        self.listed = listed
        self.stage = ""
        self.told: Pause | None = None
        self.is_done = False
        self.interrupts = 0

    def job(self) -> JobView | None:
        """See Owner."""
        return self.source

    def jobs(self) -> JobList | None:
        """See Owner."""
        return self.listed

    def doing(self) -> str:
        """See Owner."""
        return self.stage

    def pause(self) -> Pause | None:
        """See Owner."""
        return self.told

    def is_over(self) -> bool:
        """See Owner."""
        return self.is_done

    def interrupt(self) -> str:
        """See Owner."""
        self.interrupts += 1
        return "stopping"


class FakeList:
    """A JobList in memory. ``opened``: the keys of the jobs that were opened."""

    def __init__(self, title: str, listed: Listed, *, is_first: bool = False) -> None:
        self.title = title
        self.is_first = is_first
        self.listed = listed
        self.opened: list[str] = []
        self.changed: list[tuple[str, str]] = []
        self.error: OSError | None = None

    def read(self) -> Listed:
        """See JobList."""
        if self.error is not None:
            raise self.error
        return self.listed

    def open(self, key: str) -> JobView:
        """See JobList."""
        self.opened.append(key)
        return FakeJob(eventful(), 60)

    def change(self, key: str, op: Operation) -> str:
        """See JobList."""
        if self.error is not None:
            raise self.error
        self.changed.append((key, str(op)))
        return ""


def several_documents() -> Watcher:
    """Return a command that renders three documents, of which one waits."""
    lines = (
        JobLine("1", "big-3fa9c1d2", "running", 60, 38, 1, 1, hosts=1, speed=4.2, left=5.0),
        JobLine("2", "small-77aa01b3", "done", 12, 12),
        JobLine("", "third.pdf", "waiting", note="is opened when another document has ended"),
    )
    return Watcher(FakeJob(eventful(), 60), FakeList("documents of this command", Listed(lines)))


def queue() -> Watcher:
    """Return what ``watch`` without a job shows: five jobs on four hosts."""
    lines = (
        JobLine("a", "big-3fa9c1d2", "running", 60, 38, 1, 1, 2, 4.2, 5.0, "ann@desk"),
        JobLine(
            "b", "atlas-0b77f2aa", "paused", 1321, 400, owner="ann@desk", note="No space left on device"
        ),
        JobLine("c", "thesis-91c0de55", "queued", 204, owner="bob@lab", note="after big-3fa9c1d2"),
        JobLine("d", "flyer-5be1a0c4", "held", 2, owner="bob@lab", note="held by bob@lab: new paper"),
        JobLine(
            "e", "manual-2a18866e", "partial", 120, 118, 0, 2, owner="ann@desk", note="2 pages failed"
        ),
    )
    hosts = (
        HostLine("node1", "idle", "", 4, 4, 0.1, ("big-3fa9c1d2",)),
        HostLine("node2", "idle", "", 4, 2, 0.3, ("big-3fa9c1d2", "atlas-0b77f2aa")),
        HostLine("node3", "busy", "other people's load is 1.20 per core", 4, 0, 1.2, ("big-3fa9c1d2",)),
        HostLine("node4", "lost", "not heard for 8 s", 0, 0, None, ("big-3fa9c1d2",)),
        HostLine("node5", "", "no job uses it now"),
    )
    return Watcher(None, FakeList("jobs in /san/sshrender", Listed(lines, hosts), is_first=True))
