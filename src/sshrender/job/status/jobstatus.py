"""Report the state of a job from its journal, ``job.json``, attributes and lease.

No host and no coordinator is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sshrender.core.states import UNCHARGED
from sshrender.document import pagelist
from sshrender.errors import UserError
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import CANCELLED, Attributes
from sshrender.job.journal import history
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.replay import replay
from sshrender.job.journal.runwaits import RunWaits
from sshrender.job.journal.storagepause import Pause
from sshrender.job.lease import in_words
from sshrender.job.leasefiles import Claim
from sshrender.job.output import outputlocation
from sshrender.job.queue.requestoperations import Effect, effect_of
from sshrender.job.spec import JobSpec
from sshrender.job.status.accounting import Account

MAX_HOSTS = 10_000
"""Hosts of one journal that are counted: another user's journal may name one in each line."""


@dataclass(slots=True)
class HostShare:
    """The work of a host for the job in all its runs. ``state``: the last one in the newest run.

    ``flights``: attempts that it has now. A failure that is charged to nothing is not counted.
    """

    name: str
    flights: int = 0
    pages: int = 0
    failures: int = 0
    hedged: int = 0
    seconds: float = 0.0
    state: str = "unknown"
    reason: str = ""


@dataclass(slots=True)
class JobReport:
    """A job's report. ``state``: done, partial, failed, held, cancelled, running, paused or queued.

    Times are as in the journal, empty if there is none.
    """

    name: str
    folder: str
    state: str
    reason: str
    pages: dict[str, int]
    failed: list[dict[str, Any]]
    suspect: dict[int, tuple[str, ...]]
    missing: frozenset[int]
    requested: frozenset[int]
    hosts: list[HostShare]
    runs: int
    created: str
    updated: str
    output: str
    coordinator: str
    notes: list[str]
    fonts: dict[str, str]
    spec: JobSpec
    attributes: Attributes
    seconds_left: float | None = None
    """Time that the rest will take at the present rate; None if that is unknown."""
    paused: Pause | None = None
    run_waits: RunWaits = field(default_factory=RunWaits)
    """What a running coordinator waits for besides that."""
    waiting: Mapping[int, Pause] = field(default_factory=dict)
    """Rendered pages that wait, with the reasons."""
    pools: list[je.PoolReported] = field(default_factory=list)
    """The state of each pool that the running coordinator uses."""
    has_open_run: bool = False
    """Whether the last run has recorded no end."""
    user: int = -1
    """The number of the user whose folder it is, if it was read."""
    queue_place: int | None = None
    """Its place among its user's jobs that can start, from 1 (api/queueplaces.py); None for others."""
    waits: str = ""
    """What it waits for, in words, if it has such a place."""

    @property
    def is_complete(self) -> bool:
        """Whether every page is delivered."""
        # ``> 0``: a page list that cannot be read has no page, and is not complete.
        return self.pages["done"] + len(self.suspect) == self.pages["total"] > 0

    def as_json(self) -> dict[str, Any]:
        """Return the object of ``status --json`` for a job: the summary of ``render``, and some more."""
        return {
            "schema": 1,
            "job": self.name,
            "state": self.state,
            "reason": self.reason,
            "paused": _json(self.paused),
            "no_host": _json(self.run_waits.host),
            "withheld": _json(self.run_waits.write),
            "waiting_pages": [
                {"page": page, **pause.as_json()} for page, pause in sorted(self.waiting.items())
            ],
            "job_dir": self.folder,
            "output": self.output or None,
            "pages": self.pages,
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
            "failed_pages": self.failed,
            "suspect_pages": [{"page": page, "said": list(said)} for page, said in self.suspect.items()],
            "notes": self.notes,
            "fonts_missing": [{"font": font, "pages": pages} for font, pages in self.fonts.items()],
            "hosts": [
                {
                    "name": host.name,
                    "state": host.state,
                    "reason": host.reason,
                    "running": host.flights,
                    "pages": host.pages,
                    "failures": host.failures,
                    "hedged": host.hedged,
                    "seconds": round(host.seconds, 3),
                }
                for host in self.hosts
            ],
            "pools": [
                {
                    "pool": pool.pool,
                    "waiting": pool.waiting,
                    "running": pool.running,
                    "reason": pool.reason,
                    "start": pool.start,
                }
                for pool in self.pools
            ],
            "runs": self.runs,
            "created": self.created,
            "updated": self.updated,
            "coordinator": self.coordinator or None,
            **self._queue(),
            "document": self.spec.document.model_dump(mode="json"),
            "settings": self.spec.settings.model_dump(mode="json"),
        }

    def _queue(self) -> dict[str, Any]:
        """Return the fields of its place in the queue."""
        found = self.attributes
        return {
            "owner": found.owner or None,
            "submitted": found.submitted or None,
            "priority": found.priority,
            "limit": found.limit,
            "after": list(found.after),
            "not_before": found.not_before or None,
            "held_by": found.held or None,
            "queue_place": self.queue_place,
            "waits": self.waits or None,
        }


@dataclass(slots=True)
class _Progress:
    """The results of a job's runs, and the work of its hosts. See Replay."""

    runs: int = 0
    output: str = ""
    ended: je.RunEnded | None = None
    updated: str = ""
    failed: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    hedged: Counter[str] = field(default_factory=Counter)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: str = ""
    paused: Pause | None = None
    waits: RunWaits = field(default_factory=RunWaits)
    waiting: dict[int, Pause] = field(default_factory=dict)
    pools: dict[str, je.PoolReported] = field(default_factory=dict)
    flights: dict[str, str] = field(default_factory=dict)
    """The host of each attempt that has not ended."""

    def take(self, entry: je.JournalEntry) -> None:
        """See Replay.take."""
        self.updated = entry.time
        self.waits.take(entry)
        match entry:
            # A run begins with nothing failed: pages that failed are tried again.
            case je.RunStarted():
                self.runs += 1
                self.output, self.ended, self.held = entry.output, None, ""
                self.failed.clear()
                # A host is as it is in this run, or not used yet.
                self.states.clear()
                self._leave_all()
            case je.RunEnded():
                self.ended = entry
                self._leave_all()
            case je.StorageFailed() | je.StorageRecovered():
                # A recovery ends the pause, whatever began it.
                self.paused = Pause.of(entry) if isinstance(entry, je.StorageFailed) else None
            # Bounded, as another user may have written the journal; a known pool is always kept current.
            case je.PoolReported(pool=pool) if pool in self.pools or len(self.pools) < MAX_HOSTS:
                self.pools[pool] = entry
            case je.RequestHandled(is_late=False):
                self._request(entry)
            case je.HostStateChanged():
                self.states[entry.host] = entry.state, entry.reason
            case je.PageWaits(page=page):
                self.waiting[page] = Pause.of(entry)
            case je.PageFailed(page=page):
                self.waiting.pop(page, None)
                self.failed[page] = _failed(entry)
            case je.AttemptEntry() | je.PageDelivered():
                self._of_attempt(entry)
            case _:
                pass

    def _of_attempt(self, entry: je.AttemptEntry | je.PageDelivered) -> None:
        # Only the first of these begins an attempt; all others end one.
        if isinstance(entry, je.PageSent):
            self.flights[entry.attempt] = entry.host
            return
        self.flights.pop(entry.attempt, None)
        self.waiting.pop(entry.page, None)
        # A failure that is charged to nothing is not one of the host (core/states.py).
        if isinstance(entry, je.AttemptFailed) and entry.kind not in UNCHARGED:
            self.failures[entry.host] += 1
        elif isinstance(entry, je.AttemptDropped):
            self.hedged[entry.host] += entry.is_hedged

    def _leave_all(self) -> None:
        """Drop the state of a single run: its pause, and its attempts."""
        self.paused = None
        self.waiting.clear()
        self.flights.clear()
        self.pools.clear()

    def _request(self, entry: je.RequestHandled) -> None:
        match effect_of(entry.op):
            case Effect.HELD:
                self.held = f"held by {entry.by}"
            case Effect.RELEASED:
                self.held = ""
            case Effect.PAGE_RETRIED:
                self.failed.pop(entry.page, None)
            case Effect.NOTHING:
                pass


class _Relevant:
    """Selects the entries that can concern a job: of its pages, and of no more hosts than one can use.

    Another user's journal may name as many pages and hosts as fit into it: the others take no memory.
    """

    def __init__(self, pages: frozenset[int]) -> None:
        self._pages = pages
        self._hosts: set[str] = set()

    def concerns(self, entry: je.JournalEntry) -> bool:
        """Whether an entry is to be replayed."""
        page = je.page_of(entry)
        # ``not page``: entries of no page, and requests with page 0.
        return (not page or page in self._pages) and self._is_of_a_host(getattr(entry, "host", ""))

    def _is_of_a_host(self, host: str) -> bool:
        if host and host not in self._hosts and len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        return not host or host in self._hosts


def of(
    folder: JobFolder,
    spec: JobSpec,
    entries: Iterable[je.JournalEntry],
    holder: Claim | None,
    attributes: Attributes | None = None,
) -> JobReport:
    """Return the report of a job with this journal. ``holder``: the claim of its coordinator, if any."""
    follower = Follower(spec)
    replay(entries, follower)
    return follower.report(folder, holder, attributes)


class Follower:
    """Follows the journal of a job; makes the report at any time. See Replay."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._pages = _pages(spec)
        self._progress, self._past = _Progress(), history.History()
        self._relevant = _Relevant(self._pages)

    def take(self, entry: je.JournalEntry) -> None:
        """See Replay.take."""
        if self._relevant.concerns(entry):
            self._progress.take(entry)
            self._past.take(entry)

    def report(
        self, folder: JobFolder, holder: Claim | None, attributes: Attributes | None = None
    ) -> JobReport:
        """Return the report as of the last entry. ``holder``: the claim of its coordinator, if any."""
        return _report(
            folder, self._spec, self._progress, self._past, holder, attributes or Attributes()
        )

    def record(self, page: int) -> history.PageRecord | None:
        """Return a delivered page of the job; None if it is not delivered."""
        return self._past.pages.get(page) if page in self._pages else None

    @property
    def records(self) -> dict[int, history.PageRecord]:
        """The delivered pages of the job."""
        return {number: record for number, record in self._past.pages.items() if number in self._pages}


def _report(
    folder: JobFolder,
    spec: JobSpec,
    progress: _Progress,
    past: history.History,
    holder: Claim | None,
    attributes: Attributes,
) -> JobReport:
    pages = _pages(spec)
    done = {number: record for number, record in past.pages.items() if number in pages}
    # A page that was delivered after it had failed is not failed any more.
    failed = [told for number, told in sorted(progress.failed.items()) if number not in done]
    suspect = {
        number: record.diagnostics for number, record in sorted(done.items()) if record.is_suspect
    }
    missing = pages - done.keys() - {entry["page"] for entry in failed}
    is_strict = attributes.wishes.get("strict") is True
    if is_strict:  # as the run's own summary counts them (coordinator/outcome.py)
        failed += [_too_suspect(done[number]) for number in suspect]
        failed.sort(key=lambda each: int(each["page"]))
    counts = {
        "total": len(pages),
        "done": len(done) - len(suspect),
        "suspect": 0 if is_strict else len(suspect),
        "failed": len(failed),
        "missing": len(missing),
    }
    state, reason = _state(counts, progress, holder, attributes)
    return JobReport(
        name=spec.name,
        folder=str(folder.path),
        state=state,
        reason=reason,
        pages=counts,
        failed=failed,
        suspect=suspect,
        requested=pages,
        missing=missing,
        hosts=_shares(done.values(), progress),
        runs=progress.runs,
        created=spec.created,
        updated=progress.updated or spec.created,
        output=progress.output or outputlocation.in_words(attributes, folder.path.parent),
        coordinator=in_words(holder) if holder is not None else "",
        notes=past.notes,
        fonts=past.fonts,
        spec=spec,
        attributes=attributes,
        paused=progress.paused if state == "paused" else None,
        run_waits=progress.waits if holder is not None else RunWaits(),
        waiting=progress.waiting if holder is not None else {},
        pools=list(progress.pools.values()) if holder is not None else [],
        has_open_run=progress.runs > 0 and progress.ended is None,
    )


def _json(pause: Pause | None) -> dict[str, str | None] | None:
    return None if pause is None else pause.as_json()


def removed(name: str, accounts: Sequence[Account]) -> dict[str, Any]:
    """Return the report of a job that ``clean`` removed, from its accounts."""
    pages = sum(account.pages for account in accounts)
    return {
        "schema": 1,
        "job": name,
        "state": "removed",
        "reason": "",
        "pages": {"total": pages, "done": pages, "suspect": 0, "failed": 0, "missing": 0},
        "owner": accounts[0].user if accounts else None,
        "updated": max((account.month for account in accounts), default=""),
        "accounts": [account.as_json() for account in accounts],
    }


def _pages(spec: JobSpec) -> frozenset[int]:
    try:
        return frozenset(pagelist.parse(spec.settings.pages, spec.document.pages))
    except UserError:
        return frozenset()


def _failed(entry: je.PageFailed) -> dict[str, Any]:
    return {
        "page": entry.page,
        "kind": entry.kind,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "hosts": list(dict.fromkeys(entry.hosts)),
    }


def _too_suspect(record: history.PageRecord) -> dict[str, Any]:
    """Return a suspect page as a failed one, as ``--strict`` counts it."""
    return {
        "page": record.page,
        "kind": "suspect",
        "reason": record.diagnostics[-1],
        "attempts": record.attempts,
        "hosts": [record.host],
    }


def _state(
    counts: dict[str, int], progress: _Progress, holder: Claim | None, attributes: Attributes
) -> tuple[str, str]:
    held = attributes.held and f"held by {attributes.held}" + (attributes.why and f": {attributes.why}")
    if holder is not None:
        held = held or progress.held
        if held:
            return "held", held
        if progress.paused is not None:
            return "paused", progress.paused.reason
        return "running", je.waits_in_queue(progress.pools.values())
    delivered = counts["done"] + counts["suspect"]
    is_queued = attributes.is_queued and not attributes.over
    # A complete job that was queued again waits for its next run.
    if delivered == counts["total"] and not is_queued:
        return "done", ""
    # The order of these decides what is shown if several apply: what a user did comes first.
    if attributes.over == CANCELLED:
        return CANCELLED, attributes.why
    if held:
        return "held", held
    if progress.ended is not None:
        reason = progress.ended.reason
    else:
        reason = "its coordinator is gone" if progress.runs else ""
    # A queued job stays queued, however its last run ended.
    if progress.runs == 0 or is_queued:
        return "queued", attributes.why or reason or _waits_for(attributes)
    if progress.ended is not None and progress.ended.state == CANCELLED:
        return CANCELLED, reason
    return ("partial" if delivered else "failed"), reason


def _waits_for(attributes: Attributes) -> str:
    """Return the reason why a job waits, as far as its attributes say."""
    # No coordinator takes a job that was not submitted, and its own run has not begun.
    if not attributes.is_queued and not attributes.over:
        return "interrupted before it began, and not in the queue: resume it"
    words = [f"after {', '.join(attributes.after)}"] if attributes.after else []
    words += [f"not before {attributes.not_before}"] if attributes.not_before else []
    return "; ".join(words)


def _shares(records: Iterable[history.PageRecord], progress: _Progress) -> list[HostShare]:
    # In this order: the state of each host that reported one, then what hosts did that reported none.
    shares = {
        name: HostShare(name, state=state, reason=why) for name, (state, why) in progress.states.items()
    }
    for record in records:
        if record.host:
            share = shares.setdefault(record.host, HostShare(record.host))
            share.pages += 1
            share.seconds += record.seconds
    for name, count in progress.failures.items():
        shares.setdefault(name, HostShare(name)).failures = count
    for name, count in progress.hedged.items():
        shares.setdefault(name, HostShare(name)).hedged = count
    for name in progress.flights.values():
        shares.setdefault(name, HostShare(name)).flights += 1
    return sorted(shares.values(), key=lambda share: (-share.pages, share.name))
