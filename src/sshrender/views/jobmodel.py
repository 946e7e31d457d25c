"""A job as its journal tells it, entry by entry: what the dashboard shows and the overview prints.

Pure: entries in, rows out. Times are the journal's, in seconds since 1970 by the coordinator's clock.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sshrender.views.protocol import Entry
from sshrender.views.rate import Rate

WAITING, SENT, DONE, SUSPECT, FAILED = "waiting", "sent", "done", "suspect", "failed"
SETTLED = (DONE, SUSPECT, FAILED)

BUCKET = 5.0
"""Seconds that a bar of the throughput's graph stands for."""

BUCKETS = 720
LOG_LENGTH = 5000

STRAGGLES = 4.0
"""A page straggles when it takes so many times what its kind takes, and at least STRAGGLES_FROM."""

STRAGGLES_FROM = 3.0


@dataclass(slots=True)
class PageRow:
    """One page. ``since`` is when it got into its state; ``story`` what went wrong on the way."""

    number: int
    state: str = WAITING
    host: str = ""
    attempts: int = 0
    since: float = 0.0
    seconds: float = 0.0
    file: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    said: tuple[str, ...] = ()
    reason: str = ""
    kind: str = ""
    story: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class InFlight:
    """An attempt that a host holds. ``begun``: when a slot was free for it, as far as one can tell."""

    attempt: str
    page: int
    host: str
    since: float
    begun: float | None = None


@dataclass(slots=True)
class HostRow:
    """One host. Loads are threads per core."""

    name: str
    state: str = "unknown"
    reason: str = ""
    slots: int = 0
    cores: int = 0
    others: float = 0.0
    ours: float = 0.0
    pages: int = 0
    failures: int = 0
    hedged: int = 0
    seconds: float = 0.0
    ghostscript: str = ""
    flights: dict[str, InFlight] = field(default_factory=dict)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=101))

    def begin(self, now: float) -> None:
        """The oldest attempts, as many as there are slots, are being drawn."""
        for flight in islice(self.flights.values(), self.slots or None):
            if flight.begun is None:
                flight.begun = now

    @property
    def running(self) -> int:
        """Slots at work: a host holds more than it draws."""
        return min(len(self.flights), self.slots or len(self.flights))

    @property
    def median(self) -> float | None:
        """Seconds a page, of the last hundred."""
        return statistics.median(self.recent) if self.recent else None


@dataclass(frozen=True, slots=True)
class Span:
    """Who rendered what when, for the timeline."""

    host: str
    page: int
    start: float
    end: float
    is_good: bool


@dataclass(frozen=True, slots=True)
class AttemptInWork:
    """An attempt that is being drawn, as far as one can tell from here. ``age`` in seconds."""

    flight: InFlight
    age: float
    straggles: bool


class JobModel:
    """Feed it the entries of a journal, in order. ``pages`` are those that the job asks for."""

    def __init__(self, pages: Iterable[int]) -> None:
        self.pages = {number: PageRow(number) for number in pages}
        self.hosts: dict[str, HostRow] = {}
        self.counts: Counter[str] = Counter({WAITING: len(self.pages)})
        self.log: deque[Entry] = deque(maxlen=LOG_LENGTH)
        self.logged = 0
        self.spans: list[Span] = []
        self.throughput: Counter[int] = Counter()
        self.rate = Rate()
        self.run = 0
        self.first_began = self.began = self.now = 0.0
        self.ended: Entry | None = None
        self.coordinator = ""
        self.output = ""
        self.held = ""
        self.paused = ""
        self.notes: list[str] = []
        self.delivered = 0
        self.changed: set[int] = set()
        """Pages whose looks have changed since somebody last cleared this."""
        self._takers = {
            "run_started": self._run_started,
            "run_ended": self._run_ended,
            "host_state": self._host_state,
            "host_greeted": self._host_greeted,
            "hosts_sampled": self._hosts_sampled,
            "page_sent": self._page_sent,
            "page_returned": self._page_returned,
            "attempt_dropped": self._attempt_dropped,
            "attempt_failed": self._attempt_failed,
            "page_delivered": self._page_delivered,
            "page_suspected": self._page_suspected,
            "page_withdrawn": self._page_withdrawn,
            "page_failed": self._page_failed,
            "storage_failed": self._storage_failed,
            "storage_recovered": self._storage_recovered,
            "document_noted": self._document_noted,
            "requested": self._requested,
        }

    @property
    def settled(self) -> int:
        """Pages that have reached an end."""
        return sum(self.counts[state] for state in SETTLED)

    @property
    def missing(self) -> int:
        """Pages that have not."""
        return len(self.pages) - self.settled

    def take(self, entry: Entry) -> None:
        """One entry more. One of another shape is passed over, as a damaged line is."""
        try:
            self.now = max(self.now, moment(entry["time"]))
            taker = self._takers.get(entry["type"])
            if taker is not None:
                taker(entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        if entry["type"] != "hosts_sampled":
            self.log.append(entry)
            self.logged += 1

    def drawings(self, now: float) -> list[AttemptInWork]:
        """What is being drawn at this moment, oldest first."""
        usual = self._usual()
        found = []
        for host in self.hosts.values():
            own = host.median or usual
            for flight in host.flights.values():
                if flight.begun is not None:
                    age = max(0.0, now - flight.begun)
                    found.append(AttemptInWork(flight, age, _straggles(age, own)))
        return sorted(found, key=lambda drawing: -drawing.age)

    def bars(self, count: int, now: float) -> list[float]:
        """Pages a second in the last ``count`` buckets, the current one last."""
        last = int(now // BUCKET)
        return [self.throughput[number] / BUCKET for number in range(last - count + 1, last + 1)]

    def left(self, now: float) -> float | None:
        """Seconds that the rest will take, if it goes on like this; None when nobody can tell."""
        if self.ended is not None or self.held or self.paused:
            return None
        return self.rate.left(now, self.missing)

    def _usual(self) -> float:
        recent = [host.median for host in self.hosts.values() if host.median is not None]
        return statistics.median(recent) if recent else 0.0

    def _host(self, name: Any) -> HostRow:
        key = str(name)
        if key not in self.hosts:
            self.hosts[key] = HostRow(key)
        return self.hosts[key]

    def _move(self, page: PageRow, state: str) -> None:
        self.counts[page.state] -= 1
        self.counts[state] += 1
        page.state, page.since = state, self.now
        self.changed.add(page.number)

    def _land(self, entry: Entry) -> InFlight | None:
        """The attempt is no longer with its host."""
        host = self._host(entry["host"])
        flight = host.flights.pop(entry["attempt"], None)
        host.begin(self.now)
        return flight

    # One method for each kind of entry

    def _run_started(self, entry: Entry) -> None:
        self.run += 1
        self.began = self.now
        self.first_began = self.first_began or self.now
        self.ended, self.held, self.paused = None, "", ""
        self.coordinator = str(entry.get("coordinator", ""))
        self.output = str(entry.get("output", ""))
        self.rate = Rate()
        for host in self.hosts.values():
            host.flights.clear()
            host.state, host.reason = "unknown", ""
        for name in entry.get("hosts", ()):
            self._host(name).state = "connecting"
        for page in self.pages.values():
            if page.state in (SENT, FAILED):
                self._move(page, WAITING)

    def _run_ended(self, entry: Entry) -> None:
        self.ended = entry
        for host in self.hosts.values():
            host.flights.clear()
        for page in self.pages.values():
            if page.state == SENT:
                self._move(page, WAITING)

    def _host_state(self, entry: Entry) -> None:
        host = self._host(entry["host"])
        host.state, host.reason = str(entry["state"]), str(entry["reason"])

    def _host_greeted(self, entry: Entry) -> None:
        host = self._host(entry["host"])
        host.cores = int(entry["cores"])
        host.slots = int(entry.get("slots") or host.cores)
        host.others = float(entry.get("others", 0.0)) / max(host.cores, 1)
        host.ghostscript = str(entry["ghostscript"])

    def _hosts_sampled(self, entry: Entry) -> None:
        for name, (others, ours) in entry["loads"].items():
            host = self._host(name)
            host.others, host.ours = float(others), float(ours)

    def _page_sent(self, entry: Entry) -> None:
        page, host = self.pages[entry["page"]], self._host(entry["host"])
        page.host = host.name
        page.attempts += 1
        host.flights[entry["attempt"]] = InFlight(entry["attempt"], page.number, host.name, self.now)
        host.begin(self.now)
        self._move(page, SENT)

    def _page_returned(self, entry: Entry) -> None:
        self._land(entry)
        page = self.pages[entry["page"]]
        page.story.append(entry)
        self._move(page, WAITING)

    def _attempt_dropped(self, entry: Entry) -> None:
        self._land(entry)
        self._host(entry["host"]).hedged += bool(entry["is_hedged"])
        self.pages[entry["page"]].story.append(entry)

    def _attempt_failed(self, entry: Entry) -> None:
        flight = self._land(entry)
        page, host = self.pages[entry["page"]], self._host(entry["host"])
        host.failures += 1
        page.reason, page.kind = str(entry["reason"]), str(entry["kind"])
        page.story.append(entry)
        if flight is not None:
            begun = flight.since if flight.begun is None else flight.begun
            self.spans.append(Span(host.name, page.number, begun, self.now, is_good=False))
        if page.state == SENT and not self._is_elsewhere(page.number):
            self._move(page, WAITING)

    def _is_elsewhere(self, page: int) -> bool:
        """Whether another host holds the page, too."""
        return any(
            flight.page == page for host in self.hosts.values() for flight in host.flights.values()
        )

    def _page_delivered(self, entry: Entry) -> None:
        self._land(entry)
        page, host = self.pages[entry["page"]], self._host(entry["host"])
        seconds = float(entry["seconds"])
        host.pages += 1
        host.seconds += seconds
        host.recent.append(seconds)
        page.host, page.seconds = host.name, seconds
        page.file, page.bytes = str(entry["file"]), int(entry["bytes"])
        page.width, page.height = int(entry["width"]), int(entry["height"])
        page.attempts = int(entry["attempts"])
        page.said = tuple(map(str, entry["said"]))
        page.reason = ""
        self.spans.append(Span(host.name, page.number, self.now - seconds, self.now, is_good=True))
        self.delivered += 1
        self.throughput[int(self.now // BUCKET)] += 1
        self.rate.note(self.now, self.delivered)
        if len(self.throughput) > BUCKETS:
            del self.throughput[min(self.throughput)]
        self._move(page, SUSPECT if page.said else DONE)

    def _page_suspected(self, entry: Entry) -> None:
        page = self.pages[entry["page"]]
        page.said += tuple(map(str, entry["said"]))
        page.story.append(entry)
        if page.state == DONE:
            self._move(page, SUSPECT)

    def _page_withdrawn(self, entry: Entry) -> None:
        page = self.pages[entry["page"]]
        if page.state in (DONE, SUSPECT) and entry["host"] in self.hosts:
            self.hosts[entry["host"]].pages -= 1
        page.said, page.host = (), ""
        page.story.append(entry)
        self._move(page, WAITING)

    def _page_failed(self, entry: Entry) -> None:
        page = self.pages[entry["page"]]
        page.reason, page.kind = str(entry["reason"]), str(entry["kind"])
        page.attempts = int(entry["attempts"])
        page.story.append(entry)
        self._move(page, FAILED)

    def _storage_failed(self, entry: Entry) -> None:
        self.paused = str(entry["reason"])

    def _storage_recovered(self, _entry: Entry) -> None:
        self.paused = ""

    def _document_noted(self, entry: Entry) -> None:
        self.notes = [str(line) for line in entry["said"]]

    def _requested(self, entry: Entry) -> None:
        if entry["is_late"]:
            return
        if entry["op"] == "hold":
            self.held = f"held by {entry['by']}"
        elif entry["op"] == "release":
            self.held = ""
        elif entry["op"] == "retry":
            page = self.pages[entry["page"]]
            if page.state == FAILED:
                self._move(page, WAITING)


def packed(spans: Sequence[Span], slots: Mapping[str, int]) -> list[Span]:
    """The spans as they may have been: hosts report several pages at a time, after the last of them.

    From the end backwards, each page ends when it was reported or when its slot began the next one.
    """
    begun: dict[str, list[float]] = {}
    found = []
    for span in reversed(spans):
        busy = begun.setdefault(span.host, [math.inf] * max(1, slots.get(span.host, 1)))
        slot = max(range(len(busy)), key=busy.__getitem__)
        end = min(span.end, busy[slot])
        busy[slot] = end - (span.end - span.start)
        found.append(replace(span, start=busy[slot], end=end))
    return found[::-1]


def moment(text: str) -> float:
    """``2026-01-31T12:00:00.123Z`` as seconds since 1970. Raises ValueError or TypeError."""
    return datetime.fromisoformat(text).timestamp()


def _straggles(age: float, usual: float) -> bool:
    return age > max(STRAGGLES * usual, STRAGGLES_FROM)
