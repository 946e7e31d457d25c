"""Hosts in this process that talk to a whole coordinator: real loop, scheduler, verifier and job folder.

A host gets requests as a runner does, and answers with lines that the protocol's own decoder reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import queue
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sshrender.coordinator.hosts.connection import HostSpoke, LinkFailed
from sshrender.coordinator.jobopening import open_job
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.jobrun import run_job
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.renderrequest import HostSetup, RenderRequest
from sshrender.coordinator.runcomponents import RunResources
from sshrender.core.policy import HostPlan, Policy
from sshrender.document.reading import Reading
from sshrender.transports.interface import FilesFailed, Refusal
from sshrender.transports.messages import Inspected, ProtocolError, decode
from sshrender.views.silent import SilentView
from tests import pdfs
from tests.entries import lines_of
from tests.stretch import stretched

SIDE = 72
"""Points of a page, and its pixels at 72 dpi."""

Fields = dict[str, Any]


def image(page: int, color: int = 0) -> bytes:
    """A whole page image, unlike that of every other page."""
    pixel = bytes((page % 256, page // 256, color))
    return b"P6\n%d %d\n255\n" % (SIDE, SIDE) + pixel * (SIDE * SIDE)


class Host:
    """Answers as an honest runner does, in a thread of its own."""

    def __init__(self, name: str, folder: Path, **hello: Any) -> None:
        self.name = name
        self.folder = folder
        self.hello = hello
        self.asked: queue.SimpleQueue[tuple[str, Fields] | None] = queue.SimpleQueue()
        self.heard: list[Fields] = []
        self.delay = 0.0
        """Seconds until it sends its hello."""
        self.may_greet: Callable[[], bool] = lambda: True
        """It sends its hello once this is true."""
        self._post: Callable[[Any], None] = lambda item: None
        self._link: Any = None
        self.breaks_protocol = False
        """Whether a message that cannot be decoded is meant."""
        self.protocol_errors: list[str] = []

    def meet(self, link: Any, post: Callable[[Any], None]) -> None:
        """A connection begins."""
        self._link, self._post = link, post
        threading.Thread(target=self._live, args=(link,), daemon=True).start()

    def send(self, type_: str, **fields: Any) -> None:
        """A line, as it would be read at the other end."""
        link = self._link
        if link.is_closed:
            return
        try:
            message = decode(json.dumps({"type": type_, **fields}).encode())
        except ProtocolError as error:
            self.protocol_errors.append(str(error))
            link.is_closed = True
            self._post(LinkFailed(link, Refusal.PROTOCOL, str(error)))
            return
        self._post(HostSpoke(link, message))

    def send_hello(self) -> None:
        """Say what it is."""
        fields: Fields = {"python": "3.11.2", "ghostscript": "10.00.0", "slots": 2, "cores": 2}
        fields["san"] = {"seen": True, "writable": True, "reason": ""}
        self.send("hello", **{**fields, **self.hello})

    def beat(self) -> None:
        """Say how it is."""
        self.send("heartbeat", others=0.0, ours=0.0, free_memory=1)

    def report(self, request: Fields, data: bytes) -> Fields:
        """Write a page image; answers the report of it."""
        (self.folder / request["output"]).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        fields = {"attempt": request["attempt"], "bytes": len(data), "sha256": digest}
        return {**fields, "page_size": [SIDE, SIDE], "seconds": 0.01, "cpu": 0.01, "diagnostics": []}

    def answer(self, op: str, request: Fields) -> None:
        """One request."""
        if op == "prepare":
            self.send_hello()
        elif op == "render":
            self.send("started", attempt=request["attempt"])
            self.send("rendered", **self.report(request, image(request["page"])))
        elif op in ("revoke", "kill"):
            self.send("kept", attempt=request["attempt"])
        elif op == "finish":
            self.send("bye")

    def idle(self) -> None:
        """No request came for a moment."""

    def _live(self, link: Any) -> None:
        threading.Event().wait(self.delay)
        self.delay = 0.0
        while not (link.is_closed or self.may_greet()):
            threading.Event().wait(0.02)
        while not link.is_closed:
            try:
                op, request = link.requests.get(timeout=0.1)
            except queue.Empty:
                if link.has_completed_handshake:
                    self.beat()
                self.idle()
                continue
            link.has_completed_handshake |= op == "prepare"
            self.heard.append({"op": op, **request})
            self.answer(op, request)


class Link:
    """What the coordinator takes for a connection."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.requests: queue.SimpleQueue[tuple[str, Fields]] = queue.SimpleQueue()
        self.is_closed = self.has_completed_handshake = False

    def send(self, op: str, **fields: Any) -> None:
        """A request."""
        self.requests.put((op, fields))

    def files(self, timeout: float) -> Any:
        """There are none."""
        raise FilesFailed("no files travel here")

    def message_taken(self) -> None:
        """A message was taken in."""

    def close(self) -> None:
        """No more."""
        self.is_closed = True


class Links:
    """Connections to hosts in this process."""

    def __init__(self, hosts: Mapping[str, Host], inbox: queue.SimpleQueue[Any]) -> None:
        self._hosts = hosts
        self._inbox = inbox

    def take(self, setup: HostSetup) -> Link:
        """A new one."""
        link = Link(setup.plan.name)
        self._hosts[setup.plan.name].meet(link, self._inbox.put)
        return link


@dataclass
class Ended:
    """How a run ended."""

    outcome: Outcome
    plan: JobPlan
    entries: list[Fields]

    def of(self, kind: str) -> list[Fields]:
        """The journal's entries of this type."""
        return [entry for entry in self.entries if entry["type"] == kind]

    def host(self, name: str) -> Any:
        """A host's row of the summary."""
        (row,) = [host for host in self.outcome.hosts if host.name == name]
        return row

    def pages(self) -> list[bytes]:
        """The delivered files, in order."""
        return [path.read_bytes() for path in sorted(self.plan.output.glob("page-*"))]


def quick(**changes: Any) -> Policy:
    """Return the scheduler's timeouts, shortened for tests. Hosts are threads, which wait for a core."""
    policy = Policy(
        wait=5.0,
        reconnect_first=0.2,
        max_reconnect=0.5,
        # Not at the import: the load of the machine is another when the test runs.
        answer_timeout=stretched(2.0),
        sample_interval=0.05,
        finish_wait=0.5,
        storage_probe=0.1,
        max_storage_probe=0.3,
        silence=stretched(5.0),
    )
    return replace(policy, **changes)


def run(
    folder: Path,
    pages: int,
    make: Callable[[Path], list[Host]],
    policy: Policy | None = None,
    only: Mapping[str, str] | None = None,
) -> Ended:
    """Render a document on these hosts. ``make`` gets the folder in which they work."""
    document = folder / "d.pdf"
    if not document.exists():
        pdfs.write(document, pdfs.numbered(pages, SIDE, SIDE))
    (folder / "san").mkdir(exist_ok=True)
    request = RenderRequest(
        source=document,
        san=folder / "san",
        output=folder / "out",
        device="ppmraw",
        dpi=72.0,
        policy=policy or quick(),
        has_overview=False,
    )
    reading, inbox = Reading(), queue.SimpleQueue[Any]()
    try:
        (folder / "out").mkdir(exist_ok=True)
        plan = open_job(request, reading, lambda san, file: Inspected(pages, ()))
        hosts = {host.name: host for host in make(plan.folder.path)}
        links: Any = Links(hosts, inbox)
        transport: Any = None
        setups = [
            HostSetup(HostPlan(name, 2), transport, str(folder / "san"), connect_timeout=stretched(2.0))
            for name in hosts
        ]
        outcome = run_job(plan, RunResources(setups, links, inbox, SilentView(io.StringIO())))
    finally:
        reading.close()
    for host in hosts.values():
        # Otherwise a message that was renamed would be tested by nothing.
        assert host.breaks_protocol or host.protocol_errors == [], host.protocol_errors
    return Ended(outcome, plan, lines_of(plan.folder.journal))


class RandomHost(Host):
    """Says anything that is well formed, at any time: of its attempts, of others', again and again."""

    def __init__(self, name: str, folder: Path, rng: random.Random) -> None:
        super().__init__(name, folder)
        self.rng = rng
        self.known = ["1.1", "1.2", "1.3", "7.7"]
        self.pages = list(range(14))
        self.focus = "1.1"
        self.renders: list[Fields] = []
        self.reports: dict[str, Fields] = {}

    def answer(self, op: str, request: Fields) -> None:
        if op == "render":
            self.known.append(request["attempt"])
            self.renders.append(request)
        if op == "prepare" or (op != "render" and self.rng.random() < 0.5):
            super().answer(op, request)
        self.idle()

    def idle(self) -> None:
        self.focus = self.rng.choice(self.known[-3:])
        for _ in range(self.rng.choice([0, 1, 3, 30, 100])):
            (type_,) = self.rng.choices(list(_ANYTHING), [_RARE.get(type_, 1.0) for type_ in _ANYTHING])
            self.send(type_, **_ANYTHING[type_](self))

    def attempt(self) -> str:
        """Most often the one that it speaks of now, which is one of its newest."""
        return self.focus if self.rng.random() < 0.8 else self.rng.choice(self.known)

    def kind(self) -> str:
        """Of a failure."""
        return self.rng.choices(KINDS, [1, 1, 1, 1, 20, 0.1, 1])[0]

    def diagnostics(self) -> list[str]:
        """Some lines."""
        return [f"line {self.rng.randrange(99)}" for _ in range(self.rng.choice([0, 1, 40]))]

    def rendered(self) -> Fields:
        """A report of a file that is whole, half, another page's, or not there."""
        if not self.renders or self.rng.random() < 0.3:
            report = {"attempt": self.attempt(), "bytes": 9, "sha256": "0" * 64, "page_size": None}
            return {**report, "seconds": 1e8, "cpu": 0.0, "diagnostics": self.diagnostics()}
        focus = [request for request in self.renders if request["attempt"] == self.focus]
        request = self.rng.choice(focus or self.renders[-3:])
        if request["attempt"] not in self.reports:
            data = self.rng.choice([image(request["page"]), image(1)[:50], b"", image(2) + b"more"])
            self.reports[request["attempt"]] = self.report(request, data)
        return {**self.reports[request["attempt"]], "diagnostics": self.diagnostics()}


KINDS = ("timeout", "memory", "crashed", "no_output", "storage", "killed", "low_memory")

_RARE = {"revoked": 0.05, "inspected": 0.03, "trouble": 0.03, "bye": 0.03, "failed": 4.0}
"""Messages that end the connection are rare, or few others would be sent."""

_ANYTHING: dict[str, Callable[[RandomHost], Fields]] = {
    "heartbeat": lambda h: {
        "others": h.rng.choice([0.0, 99.0]),
        "ours": 0.0,
        "available_slots": h.rng.choice([None, 0, 1, 1024]),
    },
    "started": lambda h: {"attempt": h.attempt()},
    "rendered": lambda h: h.rendered(),
    "failed": lambda h: {"attempt": h.attempt(), "kind": h.kind(), "reason": "r" * 999},
    "revoked": lambda h: {"attempt": h.attempt()},
    "kept": lambda h: {"attempt": h.attempt()},
    "suspected": lambda h: {
        "attempt": h.attempt(),
        "page": h.rng.choice(h.pages),
        "diagnostics": ["x", *h.diagnostics()],
    },
    "reopening": lambda h: {
        "attempt": h.attempt(),
        "page": h.rng.choice(h.pages),
        "seconds": 9.0,
        "is_over": h.rng.random() < 0.5,
    },
    "thumbnail": lambda h: {"page": h.rng.choice(h.pages), "data": "/9j/"},
    "noted": lambda h: {"diagnostics": h.diagnostics()},
    "inspected": lambda h: {"pages": 3},
    "trouble": lambda h: {"reason": "?"} if h.rng.random() < 0.3 else {"reason": "\ud800" * 9},
    "bye": lambda h: {},
}
