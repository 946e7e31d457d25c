"""Replay a journal into rows of pages and hosts, for the dashboard and the overview.

Pure: entries in, rows out. Times are the journal's, in seconds since 1970 by the coordinator's clock.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sshrender.core.states import UNCHARGED
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.runwaits import RunWaits
from sshrender.job.journal.storagepause import Pause
from sshrender.job.queue.requestoperations import Effect, effect_of
from sshrender.views import hostwords
from sshrender.views.hostrow import HostRow, InFlight
from sshrender.views.jobduration import RunTimes
from sshrender.views.poolreports import PoolReports
from sshrender.views.rate import Rate, stands_still
from sshrender.views.severity import ERROR, severity
from sshrender.views.text import waits_until

WAITING, SENT, DONE, SUSPECT, FAILED = "waiting", "sent", "done", "suspect", "failed"
"""States of a page."""

_CONNECTED = ("idle", "busy", "drained")
"""States of a host whose slots may be at work."""

SETTLED = (DONE, SUSPECT, FAILED)

BUCKET = 5.0
"""Seconds of one bar in the graph of the throughput."""

# An hour of bars.
BUCKETS = 720
LOG_LENGTH = 5000
MAX_PROBLEMS = 500
"""Errors, and as many warnings, that stay when the log has forgotten what happened around them."""


STRAGGLER_FACTOR = 4.0
"""An attempt is a straggler if it takes this many times the usual, and at least STRAGGLER_SECONDS."""

STRAGGLER_SECONDS = 3.0


@dataclass(slots=True)
class PageRow:
    """One page. ``since`` is when it got into its state; ``history``: what went wrong on the way."""

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
    diagnostics: tuple[str, ...] = ()
    reason: str = ""
    kind: str = ""
    history: list[je.JournalEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """An attempt on the timeline: which host rendered which page, and when."""

    host: str
    page: int
    start: float
    end: float
    is_good: bool


@dataclass(frozen=True, slots=True)
class AttemptInWork:
    """An attempt that is being rendered, as far as the journal shows. ``age`` in seconds."""

    flight: InFlight
    age: float
    straggles: bool


class JobModel:
    """The state of a job, replayed from its journal. ``pages``: those of the job. See Replay."""

    def __init__(self, pages: Iterable[int]) -> None:
        self.pages = {number: PageRow(number) for number in pages}
        self.hosts: dict[str, HostRow] = {}
        self.counts: Counter[str] = Counter({WAITING: len(self.pages)})
        self.log: deque[je.JournalEntry] = deque(maxlen=LOG_LENGTH)
        self.logged = 0
        self._errors: deque[tuple[int, je.JournalEntry]] = deque(maxlen=MAX_PROBLEMS)
        self._warnings: deque[tuple[int, je.JournalEntry]] = deque(maxlen=MAX_PROBLEMS)
        self.spans: list[Span] = []
        self.throughput: Counter[int] = Counter()
        self.rate = Rate()
        self.run = 0
        self.began = self.now = 0.0
        self.ended: je.RunEnded | None = None
        self.coordinator = ""
        self.output = ""
        self.held = self.held_note = ""
        self.pause: Pause | None = None
        self.told_pause: Pause | None = None  # by the run's process: a full disk takes no journal entry
        self.pools = PoolReports()
        self.waits = RunWaits()
        self.times = RunTimes()
        self._states_before: dict[str, tuple[str, str]] = {}
        self.notes: list[str] = []
        self.delivered = 0
        self.changed: set[int] = set()
        """Pages that have changed since the dashboard last cleared this."""

    @property
    def delivered_pages(self) -> int:
        """The number of delivered pages, suspect ones included; percentages count them."""
        return self.counts[DONE] + self.counts[SUSPECT]

    @property
    def paused(self) -> str:
        """The error of the storage while the run is paused; otherwise empty."""
        return next((each.reason for each in (self.pause, self.told_pause) if each), "")

    @property
    def settled(self) -> int:
        """The number of pages in a terminal state."""
        return sum(self.counts[state] for state in SETTLED)

    @property
    def missing(self) -> int:
        """The number of pages in no terminal state."""
        return len(self.pages) - self.settled

    def take(self, entry: je.JournalEntry) -> None:
        """Apply the next entry. One that names a page which is not the job's is ignored."""
        # The clocks of two coordinators may differ, and time must not go back here.
        self.now = max(self.now, entry.moment.timestamp())
        self.times.take(entry, self.now)
        self.pools.take(entry)
        self.waits.take(entry)
        # PageEntry is a subclass of JournalEntry, so the other entries are those that are none.
        if not isinstance(entry, je.PageEntry):
            self._take_of_run(entry)
        elif entry.page not in self.pages:
            return
        elif isinstance(entry, je.DocumentReopening):
            self._reopening(entry)
        else:
            self._take_of_page(entry, self.pages[entry.page])
        self.rate.stand_still(self.now, self._is_still)
        # Samples come every few seconds and tell nothing that a log should keep.
        if not isinstance(entry, je.HostsSampled):
            self._log(entry)

    def _log(self, entry: je.JournalEntry) -> None:
        severe = severity(entry)
        if severe:
            (self._errors if severe == ERROR else self._warnings).append((self.logged, entry))
        self.log.append(entry)
        self.logged += 1

    def problems(self) -> list[tuple[int, je.JournalEntry]]:
        """Return the latest errors and warnings with their numbers in the log, oldest first."""
        return sorted([*self._errors, *self._warnings], key=lambda problem: problem[0])

    def _take_of_run(self, entry: je.JournalEntry) -> None:
        match entry:
            case je.RunStarted():
                self._run_started(entry)
            case je.RunEnded():
                self._run_ended(entry)
            case je.HostStateChanged():
                self._host_changed(entry)
            case je.HostConnected():
                self._host_connected(entry)
            case je.HostsSampled():
                self._hosts_sampled(entry)
            case je.StorageFailed():
                self.pause = Pause.of(entry)
            case je.StorageRecovered():
                self.pause = None
            case je.DocumentDiagnosed():
                self.notes = list(entry.diagnostics)
            case je.RequestHandled(is_late=False):
                self._request(entry)
            case _:
                pass

    def _take_of_page(self, entry: je.PageEntry, page: PageRow) -> None:
        match entry:
            case je.PageSent():
                self._page_sent(entry, page)
            case je.PageReturned():
                self._remove_flight(entry.host, entry.attempt)
                page.history.append(entry)
                self._move(page, WAITING)
            case je.AttemptDropped():
                self._remove_flight(entry.host, entry.attempt)
                # True counts as 1: only an attempt that lost against another one was hedged.
                self._host(entry.host).hedged += entry.is_hedged
                page.history.append(entry)
            case je.AttemptFailed():
                self._attempt_failed(entry, page)
            case je.PageDelivered():
                self._page_delivered(entry, page)
            case je.PageSuspected():
                page.diagnostics += entry.diagnostics
                page.history.append(entry)
                # Only from DONE: a page that was withdrawn meanwhile is waiting again.
                if page.state == DONE:
                    self._move(page, SUSPECT)
            case je.PageWithdrawn():
                self._page_withdrawn(entry, page)
            case je.PageFailed():
                page.reason, page.kind = entry.reason, entry.kind
                page.attempts = entry.attempts
                page.history.append(entry)
                self._move(page, FAILED)
            case _:
                pass

    def _reopening(self, entry: je.DocumentReopening) -> None:
        host = self._host(entry.host)
        if entry.is_over:
            host.reopening.pop(entry.page, None)
            host.begin(self.now)
        # Bounded by the number of slots: the entries come from hosts.
        elif len(host.reopening) < max(1, host.slots):
            host.reopening[entry.page] = self.now

    def drawings(self, now: float) -> list[AttemptInWork]:
        """Return the attempts that are being rendered at this moment, oldest first."""
        usual = self._usual()
        found = []
        for host in self.hosts.values():
            own = host.median or usual
            for flight in host.flights.values():
                if flight.begun is not None:
                    age = max(0.0, now - flight.begun)
                    found.append(AttemptInWork(flight, age, _is_straggler(age, own)))
        return sorted(found, key=lambda drawing: -drawing.age)

    def bars(self, count: int, now: float) -> list[float]:
        """Return pages per second in the last ``count`` buckets, the current one last."""
        last = int(now // BUCKET)
        return [self.throughput[number] / BUCKET for number in range(last - count + 1, last + 1)]

    def speed(self, now: float) -> float | None:
        """Return pages per second; None while no page can come, or there is too little to average."""
        if self.paused or self.held or self.none_usable:
            return None
        return self.rate.per_second(now)

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest will take at this speed; None if that is unknown."""
        if self.ended is not None or not self.speed(now):
            return None
        return self.rate.left(now, self.missing)

    @property
    def _is_still(self) -> bool:
        """Whether no page can come."""
        return stands_still(
            is_paused=bool(self.paused),
            is_working=bool(self.counts[SENT]),
            is_held=bool(self.held),
            has_no_host=lambda: self.none_usable,
        )

    @property
    def none_usable(self) -> str:
        """That no host can render now, in words; empty while one can, or no page is missing."""
        if not self.missing:
            return ""
        return hostwords.none_usable(host.state for host in self.hosts.values())

    @property
    def no_host(self) -> str:
        """``none_usable``, and until when the run waits for a host, if there is a limit."""
        none, wait = self.none_usable, self.waits.host
        return none and none + waits_until(wait.until if wait else "")

    def _usual(self) -> float:
        recent = [host.median for host in self.hosts.values() if host.median is not None]
        return statistics.median(recent) if recent else 0.0

    def _host(self, name: str) -> HostRow:
        if name not in self.hosts:
            self.hosts[name] = HostRow(name)
        return self.hosts[name]

    def _move(self, page: PageRow, state: str) -> None:
        # The counts of all states add up to the number of pages.
        self.counts[page.state] -= 1
        self.counts[state] += 1
        page.state, page.since = state, self.now
        self.changed.add(page.number)

    def _remove_flight(self, host_name: str, attempt: str) -> InFlight | None:
        """Remove an attempt from its host, and return it; None if the host did not have it."""
        host = self._host(host_name)
        flight = host.flights.pop(attempt, None)
        host.begin(self.now)
        return flight

    def _run_started(self, entry: je.RunStarted) -> None:
        self.run += 1
        self.began = self.now
        self.ended, self.held, self.held_note, self.pause = None, "", "", None
        self.coordinator, self.output = entry.coordinator, entry.output
        self.rate = Rate()
        # Kept for a run that contacts no host at all (_run_ended).
        self._states_before = {host.name: (host.state, host.reason) for host in self.hosts.values()}
        for host in self.hosts.values():
            # Attempts of the last run are void: its coordinator is gone.
            host.flights.clear()
            host.reopening.clear()
            host.state, host.reason = "unknown", ""
        for name in entry.hosts:
            self._host(name).state = "connecting"
        for page in self.pages.values():
            # Pages that failed in an earlier run are tried again in this one.
            if page.state in (SENT, FAILED):
                self._move(page, WAITING)

    def _run_ended(self, entry: je.RunEnded) -> None:
        self.ended, self.pause = entry, None
        for host in self.hosts.values():
            host.flights.clear()
            host.reopening.clear()
            if host.state == "connecting":  # it was not needed, and no connection was waited for
                host.state, host.reason = "unknown", ""
        # No host was contacted, as nothing was left to do: the run before says how they were.
        if all(host.state == "unknown" and not host.reason for host in self.hosts.values()):
            for name, (state, reason) in self._states_before.items():
                self.hosts[name].state, self.hosts[name].reason = state, reason
        for page in self.pages.values():
            if page.state == SENT:
                self._move(page, WAITING)

    def _host_changed(self, entry: je.HostStateChanged) -> None:
        host = self._host(entry.host)
        host.state, host.reason = entry.state, entry.reason
        if entry.state not in _CONNECTED:
            host.reopening.clear()

    def _host_connected(self, entry: je.HostConnected) -> None:
        host = self._host(entry.host)
        host.cores = entry.cores
        host.slots = entry.slots or host.cores
        host.others = entry.load / max(host.cores, 1)
        host.ghostscript, host.node = entry.ghostscript, entry.node

    def _hosts_sampled(self, entry: je.HostsSampled) -> None:
        for name, (others, own) in entry.loads.items():
            host = self._host(name)
            host.others, host.ours = others, own

    def _page_sent(self, entry: je.PageSent, page: PageRow) -> None:
        host = self._host(entry.host)
        page.host = host.name
        page.attempts += 1
        host.flights[entry.attempt] = InFlight(entry.attempt, page.number, host.name, self.now)
        host.begin(self.now)
        self._move(page, SENT)

    def _attempt_failed(self, entry: je.AttemptFailed, page: PageRow) -> None:
        flight, host = self._remove_flight(entry.host, entry.attempt), self._host(entry.host)
        host.failures += entry.kind not in UNCHARGED
        page.reason, page.kind = entry.reason, entry.kind
        page.history.append(entry)
        if flight is not None:
            begun = flight.since if flight.begun is None else flight.begun
            self.spans.append(Span(host.name, page.number, begun, self.now, is_good=False))
        # A hedged page stays sent while another host renders it.
        if page.state == SENT and not self._is_elsewhere(page.number):
            self._move(page, WAITING)

    def _is_elsewhere(self, page: int) -> bool:
        """Whether another host has an attempt of the page, too."""
        return any(
            flight.page == page for host in self.hosts.values() for flight in host.flights.values()
        )

    def _page_delivered(self, entry: je.PageDelivered, page: PageRow) -> None:
        self._remove_flight(entry.host, entry.attempt)
        host = self._host(entry.host)
        seconds = float(entry.seconds)
        host.pages += 1
        host.seconds += seconds
        host.recent.append(seconds)
        page.host, page.seconds = host.name, seconds
        page.file, page.bytes = entry.file, entry.bytes
        page.width, page.height = entry.width, entry.height
        page.attempts = entry.attempts
        page.diagnostics = entry.diagnostics
        page.reason = ""
        self.spans.append(Span(host.name, page.number, self.now - seconds, self.now, is_good=True))
        self.delivered += 1
        self.throughput[int(self.now // BUCKET)] += 1
        self.rate.note(self.now, self.delivered)
        if len(self.throughput) > BUCKETS:
            del self.throughput[min(self.throughput)]
        self._move(page, SUSPECT if page.diagnostics else DONE)

    def _page_withdrawn(self, entry: je.PageWithdrawn, page: PageRow) -> None:
        # Pages of a host that was outvoted no longer count for it.
        if page.state in (DONE, SUSPECT) and entry.host in self.hosts:
            self.hosts[entry.host].pages -= 1
        page.diagnostics, page.host = (), ""
        page.history.append(entry)
        self._move(page, WAITING)

    def _request(self, entry: je.RequestHandled) -> None:
        match effect_of(entry.op):
            case Effect.HELD:
                self.held, self.held_note = f"held by {entry.by}", entry.note
            case Effect.RELEASED:
                self.held = self.held_note = ""
            case Effect.PAGE_RETRIED:
                page = self.pages.get(entry.page)
                if page is not None and page.state == FAILED:
                    self._move(page, WAITING)
            case Effect.NOTHING:
                pass


def packed(spans: Sequence[Span], slots: Mapping[str, int]) -> list[Span]:
    """Return the spans as they may have been: hosts report several pages at a time, after the last.

    From the end backwards, each page ends when it was reported or when its slot began the next one.
    """
    begun: dict[str, list[float]] = {}
    found = []
    for span in reversed(spans):
        busy = begun.setdefault(span.host, [math.inf] * max(1, slots.get(span.host, 1)))
        # The slot that is free longest before this page: it leaves the others for earlier pages.
        slot = max(range(len(busy)), key=busy.__getitem__)
        end = min(span.end, busy[slot])
        busy[slot] = end - (span.end - span.start)
        found.append(replace(span, start=busy[slot], end=end))
    return found[::-1]


def _is_straggler(age: float, usual: float) -> bool:
    return age > max(STRAGGLER_FACTOR * usual, STRAGGLER_SECONDS)
