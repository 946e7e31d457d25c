"""Collect all problems of a job for ``why JOB``: pages by cause, hosts, pauses, what the job waits for.

Pure: what ``status --json`` prints and the entries of the journal in, problems out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sshrender.core.states import CHARGE_OF, Charge, HostState
from sshrender.job.journal import journalentries as je
from sshrender.views import queuewords
from sshrender.views.joblist import next_step
from sshrender.views.text import clean, count, duration, local_time, page_list

MAX_LISTED = 20
"""Problems of one kind that are put into words; the others are only counted. ``--json`` has them all."""

MAX_HOSTS_NAMED = 5

_TROUBLE = frozenset(
    state.value
    for state in (HostState.LOST, HostState.REFUSED, HostState.QUARANTINED, HostState.DRAINED)
)
"""States of a host that are worth a line. A busy host is no problem: its owner uses it."""

_CHARGED = frozenset(
    kind.value for kind, charge in CHARGE_OF.items() if charge in (Charge.PAGE, Charge.HOST)
)
"""Kinds of failure that are problems of their own: the others follow from a pause or a request."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(slots=True)
class Problem:
    """One cause, and everything that it affected.

    ``kind``: failed, missing, suspect, retried, withdrawn, fallback (pages); host; pause; run; waiting;
    document; storage. ``pages`` are sorted. ``times``: how often it happened. ``since`` and ``until``
    are as in the journal; ``until`` is empty while it lasts, and if it is one moment.
    """

    kind: str
    cause: str
    pages: list[int] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    times: int = 0
    since: str = ""
    until: str = ""
    state: str = ""
    """The state of a host, or the kind of failure of pages."""

    def as_json(self) -> dict[str, Any]:
        """Return its fields, with its words."""
        return {**asdict(self), "words": words(self)}


class _Collector:
    """Collects the problems in the runs of a job. See Replay."""

    def __init__(self, pages: frozenset[int]) -> None:
        self._pages = pages
        self.found: dict[tuple[str, ...], Problem] = {}
        self._pause: Problem | None = None

    def take(self, entry: je.JournalEntry) -> None:
        """See Replay.take."""
        match entry:
            case je.PageEntry() if entry.page in self._pages:
                self._take_of_page(entry)
            # The same host may get into one state for several reasons: each is a line.
            case je.HostStateChanged() if entry.state in _TROUBLE:
                found = self._add(entry, "host", entry.reason, entry.host, state=entry.state)
                found.times += 1
            case je.RunStarted():
                # A run that crashed has left its pause open; it ended when the next run began, at the
                # latest.
                self._end_pause(entry)
            case je.RunEnded():
                self._end_pause(entry)
                if entry.reason:
                    self._add(entry, "run", entry.reason, state=entry.state).times += 1
            case _:
                self._take_of_storage(entry)

    def _take_of_page(self, entry: je.PageEntry) -> None:
        match entry:
            case je.AttemptFailed() if entry.kind in _CHARGED:
                self._of_page(entry, "retried", entry.reason, entry.host, entry.kind)
            case je.PageWithdrawn():
                self._of_page(entry, "withdrawn", entry.reason, entry.host)
            case je.PageFellBack():
                self._of_page(entry, "fallback", entry.reason, state=entry.to)
            case _:
                pass

    def _take_of_storage(self, entry: je.JournalEntry) -> None:
        match entry:
            case je.StorageFailed():
                self._end_pause(entry)
                self._pause = Problem("pause", entry.reason, times=1, since=entry.time)
                # Each pause is a problem of its own, although causes may be equal.
                self.found["pause", str(len(self.found))] = self._pause
            case je.StorageRecovered():
                self._end_pause(entry)
            case je.SplitFailed():
                self._add(entry, "document", f"it cannot be split: {entry.reason}").times += 1
            case je.ThumbnailsLost():
                what = f"{count(entry.count, 'thumbnail')} could not be written: {entry.reason}"
                self._add(entry, "storage", what).times += 1
            case je.FolderNotSynced():
                self._add(entry, "storage", f"names cannot be flushed: {entry.reason}").times += 1
            case je.RequestsRefused():
                what = f"{count(entry.count, 'request')} without the owner's signature removed"
                self._add(entry, "storage", what).times += 1
            case _:
                pass

    def _end_pause(self, entry: je.JournalEntry) -> None:
        if self._pause is not None:
            self._pause.until = entry.time
        self._pause = None

    def _of_page(
        self, entry: je.PageEntry, kind: str, cause: str, host: str = "", state: str = ""
    ) -> None:
        found = self._add(entry, kind, cause, state=state)
        found.times += 1
        if entry.page not in found.pages:
            found.pages.append(entry.page)
        if host and host not in found.hosts:
            found.hosts.append(host)

    def _add(
        self, entry: je.JournalEntry, kind: str, cause: str, host: str = "", *, state: str = ""
    ) -> Problem:
        """Return the problem of this cause: numbers in its text, as a size or a duration, may differ."""
        # Numbers differ in texts such as "took 612 s": they are one cause.
        key = kind, state, host, _NUMBER.sub("0", cause)
        found = self.found.get(key)
        if found is None:
            hosts = [host] if host else []
            found = self.found[key] = Problem(kind, cause, hosts=hosts, since=entry.time, state=state)
        # Equal times: it happened at one moment, and has no end.
        elif entry.time > found.since:
            found.until = entry.time
        return found


def of(
    row: Mapping[str, Any],
    requested: frozenset[int],
    missing: frozenset[int],
    entries: Iterable[je.JournalEntry],
) -> list[Problem]:
    """Return the problems of a job, the most urgent first. ``row``: as ``status JOB --json`` has it.

    ``requested``: its pages; ``missing``: those that are neither delivered nor failed.
    """
    collector = _Collector(requested)
    for entry in entries:
        collector.take(entry)
    found = [*collector.found.values()]
    failed = {page["page"] for page in row["failed_pages"]}
    for each in found:
        if each.kind == "retried":  # those that failed for good have a line of their own
            # Pages that were tried again and failed in the end are listed as failed only.
            each.pages = [page for page in each.pages if page not in failed]
    found = [each for each in found if each.pages or each.kind != "retried"]
    found += [*_of_pages(row, sorted(missing)), *_of_document(row), *_waiting(row)]
    for each in found:
        each.pages.sort()
    # sorted() is stable, so problems of a kind stay in the order of the journal.
    return sorted(found, key=lambda each: _KINDS.index(each.kind))


_KINDS = (
    "waiting",
    "pause",
    "run",
    "failed",
    "missing",
    "suspect",
    "retried",
    "withdrawn",
    "fallback",
    "host",
    "document",
    "storage",
)
"""The kinds of problems, in the order in which they are shown."""


def _of_pages(row: Mapping[str, Any], missing: list[int]) -> Iterator[Problem]:
    """Yield failed and suspect pages by cause, and those that are missing from a job that has ended."""
    found: dict[tuple[str, ...], Problem] = {}
    for page in row["failed_pages"]:
        key = "failed", page["kind"], _NUMBER.sub("0", page["reason"])
        each = found.setdefault(key, Problem("failed", page["reason"], state=page["kind"]))
        each.pages.append(page["page"])
        each.times += page["attempts"]
        each.hosts = [*dict.fromkeys([*each.hosts, *page["hosts"]])]
    for page in row["suspect_pages"]:
        cause = page["said"][0]
        each = found.setdefault(("suspect", _NUMBER.sub("0", cause)), Problem("suspect", cause))
        each.pages.append(page["page"])
        each.times += 1
    yield from found.values()
    if missing and row["state"] in ("partial", "failed", "cancelled", "done"):
        yield Problem("missing", row["reason"], missing, times=1)


def _of_document(row: Mapping[str, Any]) -> Iterator[Problem]:
    for note in row["notes"]:
        yield Problem("document", note, times=1)
    for font in row["fonts_missing"]:
        yield Problem(
            "document",
            f"{font['font']} is not in the PDF and was replaced (pages {font['pages']})",
            times=1,
        )


def _waiting(row: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield why the job does not run now, though it is not finished."""
    # Said first: without the owner's signature nothing else matters.
    if row.get("unsigned") and row["state"] != "done":
        yield Problem("waiting", f"it is not run here: {row['unsigned']}", times=1)
    if row["state"] not in ("queued", "held", "paused"):
        return
    # The conditions of a queued job have lines of their own, until they are met.
    is_condition = row["state"] == "queued" and row["reason"].startswith(("after ", "not before "))
    causes = [row["reason"]] if row["reason"] and not is_condition else []
    if row.get("waits"):
        causes.append(row["waits"])
    else:
        causes += [f"it starts after {', '.join(row['after'])}"] if row["after"] else []
        causes += [f"it starts after {local_time(row['not_before'])}"] if row["not_before"] else []
    # A job that waits without a reason waits for a coordinator.
    if not causes:
        causes = [queuewords.UNSTARTED]
    for cause in causes:
        yield Problem("waiting", cause, times=1)


_CALLED = {"waiting": "waits"}


def words(problem: Problem) -> str:
    """Return a problem as one line."""
    cause, pages = clean(problem.cause), _pages(problem.pages)
    why = f": {cause}" if cause else ""
    match problem.kind:
        case "failed":
            attempts = f" after {count(problem.times, 'attempt')}" if problem.times else ""
            return f"{pages} failed{attempts}{_on(problem)} ({clean(problem.state)}){why}"
        case "missing":
            return f"{pages} not rendered{why}"
        case "suspect":
            return f"{pages} suspect{why}"
        case "retried":
            how = f"{count(problem.times, 'failed attempt')}{_on(problem)} ({clean(problem.state)})"
            return f"{pages} tried again, {how}{why}"
        case "withdrawn":
            return f"{pages} removed and rendered again{_from(problem)}{why}"
        case "fallback":
            return f"{pages} rendered by {clean(problem.state)} instead{why}"
        case "host":
            return f"host {clean(problem.hosts[0])} {clean(problem.state)}{_when(problem)}{why}"
        case "pause":
            return f"paused {_span(problem)}{why}"
        case "run":
            return f"a run ended {clean(problem.state)}{_when(problem)}{why}"
        case _:
            return f"{_CALLED.get(problem.kind, problem.kind)}: {cause}"


def lines(row: Mapping[str, Any], problems: Iterable[Problem], *, now: str) -> Iterator[str]:
    """Yield the problems in words, below the job's state (``now``), and the command that tells more."""
    found = [*problems]
    yield now
    if not found:
        yield "  no problem is on record"
    for kind in _KINDS:
        of_kind = [each for each in found if each.kind == kind]
        yield from (f"  {words(each)}" for each in of_kind[:MAX_LISTED])
        if len(of_kind) > MAX_LISTED:
            yield f"  and {len(of_kind) - MAX_LISTED} more like these; --json has them all"
    yield from _hints(row, found)


def _hints(row: Mapping[str, Any], problems: Sequence[Problem]) -> Iterator[str]:
    kinds = {each.kind for each in problems}
    # One hint for the first page: the others have the same command.
    page = next((each.pages[0] for each in problems if each.pages and each.kind != "missing"), None)
    host = next((each.hosts[0] for each in problems if each.kind == "host"), None)
    job = shlex.quote(clean(row["job"]))
    if page is not None:
        yield f"hint: the history of page {page}: sshrender why {job} --page {page}"
    elif host is not None:
        name = shlex.quote(clean(host))
        yield f"hint: the history of {clean(host)}: sshrender why {job} --host {name}"
    step = next_step(row)
    if row["state"] in ("partial", "failed"):
        step = f"to render the missing and failed pages: {step}" if kinds & {"missing", "failed"} else ""
    if step:
        yield f"hint: {step}"


def _pages(pages: list[int]) -> str:
    return f"page{'' if len(pages) == 1 else 's'} {page_list(pages)}" if pages else ""


def _on(problem: Problem) -> str:
    return f" on {_named(problem.hosts)}" if problem.hosts else ""


def _from(problem: Problem) -> str:
    return f", from {_named(problem.hosts)}" if problem.hosts else ""


def _named(hosts: list[str]) -> str:
    more = len(hosts) - MAX_HOSTS_NAMED
    named = ", ".join(clean(host) for host in hosts[:MAX_HOSTS_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def _when(problem: Problem) -> str:
    """Return when it happened: ``, 3 times, last at 2026-01-31 12:00:00``."""
    if problem.times < 2:
        return f" at {local_time(problem.since)}"
    # ``until`` is empty if all of it happened at one moment.
    return f", {problem.times} times, last at {local_time(problem.until or problem.since)}"


def _span(problem: Problem) -> str:
    """Return from when to when something lasted."""
    since = local_time(problem.since)
    if not problem.until:
        return f"since {since}"
    return f"at {since} for {duration(_seconds_between(problem.since, problem.until))}"


def _seconds_between(since: str, until: str) -> float:
    """Return the seconds between two times of a journal, which were checked when it was read."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
