"""Follows many jobs at once for the dashboard's list: the whole queue, or the documents of one command.

A running job's journal is followed line by line. Any other job is read again only when its files have
changed, so that thousands of finished jobs cost one look each.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sshrender.api import jobchanges, queueplaces
from sshrender.api.dashboardsource import JobSource, inventory_hosts
from sshrender.api.jobs import find_job, job_names, on_san, read_or_record
from sshrender.api.queueplaces import Place, QueuedJob
from sshrender.api.runcontext import FAILED
from sshrender.config import inventory as inv
from sshrender.config.paths import state_folder
from sshrender.config.settings import resolve
from sshrender.core.queueorder import LeaseHolder
from sshrender.document import pagelist
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journal import MAX_BYTES, JournalTail, read_journal
from sshrender.job.journal.journalentries import PoolReported
from sshrender.job.lease import Observer, in_words
from sshrender.job.leasefiles import Claim
from sshrender.job.queue import drains
from sshrender.job.queue.queuescanner import entry_of
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.spec import JobSpec, load_spec
from sshrender.job.status import jobstatus
from sshrender.utf8 import writable
from sshrender.views.dashboard.source import HostLine, JobLine, JobView, Listed, PoolLine
from sshrender.views.hostrow import HostRow
from sshrender.views.jobmodel import JobModel

# The list is read every few seconds, and another user decides how long a journal is.
MAX_LISTED_JOURNAL = 8 << 20
"""Bytes of another user's journal that the list reads: some 20,000 pages."""

_ORDER = ("running", "paused", "held", "queued")
"""Unfinished jobs come first, in this order; then finished ones, the latest first."""

_READINGS_SKIPPED = 4
"""Readings after which a finished job is looked at again: there may be thousands, on a slow folder."""

_WORKING = ("idle", "busy")
"""States of a connected host. A host that works for one job and is lost for another one works."""


class JobListSource:
    """A JobList of all jobs in the shared folder. See views.dashboard.source."""

    is_first = True

    def __init__(
        self,
        san: Path,
        title: str,
        hosts: Sequence[inv.HostTable],
        hosts_file: Path | None = None,
    ) -> None:
        """``hosts`` of the inventory ``hosts_file``; None: of the one that is found."""
        self.title = title
        self._san = san
        self._hosts = hosts
        self._hosts_file = hosts_file
        # By name. A job that is gone is dropped, so the table does not grow for ever.
        self._jobs: dict[str, _Job] = {}

    def read(self) -> Listed:
        """See JobList."""
        return on_san(self._san, self._read)

    def open(self, key: str) -> JobView:
        """See JobList."""
        # As a path: find_job would take the key for the beginning of a longer name otherwise.
        path = str(self._san / key)
        return on_san(self._san, lambda: JobSource(*find_job(self._san, path), self._hosts))

    def change(self, key: str, op: Operation) -> str:
        """See JobList."""
        job = [str(self._san / key)]
        typed = {} if self._hosts_file is None else {"hosts": self._hosts_file}
        if op is Operation.RELEASE:
            (changed,) = jobchanges.release(self._san, job)
        elif op is Operation.HOLD:
            (changed,) = jobchanges.hold(self._san, job, settings=resolve(typed).settings)
        else:
            (changed,) = jobchanges.cancel(self._san, job, settings=resolve(typed).settings)
        return changed.no_need or "; ".join(each.in_words() for each in changed.left)

    def _read(self) -> Listed:
        names = self._names()
        damaged: dict[str, str] = {}
        # keys() minus a set is a new set, so deleting from the dictionary is safe.
        for gone in self._jobs.keys() - set(names):
            del self._jobs[gone]
        lines, updated = [], {}
        for name in names:
            line = read_or_record(self._san, name, partial(self._line, name), damaged)
            if line is not None:
                lines.append(line)
                updated[name] = self._jobs[name].updated
        coordinated = {line.name for line in lines if line.is_coordinated}
        queued = {name: job.queued_job(name in coordinated) for name, job in self._jobs.items()}
        lines = _with_places(lines, queueplaces.of(queued.values(), damaged))
        lines += [JobLine("", name, "unreadable", note=why) for name, why in damaged.items()]
        ordered = tuple(self._in_order(lines, updated, queued))
        return Listed(ordered, tuple(self._host_lines()), tuple(self._pool_lines()))

    def _names(self) -> Sequence[str]:
        """Return the names of the jobs to list. Raises OSError."""
        return job_names(self._san)

    def _in_order(
        self, lines: list[JobLine], updated: Mapping[str, str], queued: Mapping[str, QueuedJob]
    ) -> list[JobLine]:
        """Return unfinished jobs first: of queued ones the next, of others the latest first."""
        # Damaged jobs have no time, and come last among those of their rank.
        latest = sorted(lines, key=lambda line: updated.get(line.name, ""), reverse=True)
        now = time.time()
        waiting = [line for line in latest if line.state == "queued" and line.name in queued]
        # As a coordinator takes them (job/queue/queuescanner.py).
        waiting.sort(key=lambda line: queued[line.name].entry.rank(now))
        order = {line.name: number for number, line in enumerate(waiting)}
        # sorted() is stable, so the order by time stays within a rank.
        return sorted(latest, key=lambda line: (_rank(line.state), order.get(line.name, len(order))))

    def _line(self, name: str) -> JobLine | None:
        """Return the line of a job; None if it is gone. Raises UserError or OSError."""
        known = self._jobs.get(name)
        if known is None:
            folder = JobFolder(self._san / name)
            spec = load_spec(folder)
            if spec is None:
                return None
            known = self._jobs[name] = _Job(folder, spec)
        return known.line()

    def _pool_lines(self) -> Iterator[PoolLine]:
        """Yield the state of each pool for all running jobs."""
        used: dict[str, list[tuple[str, PoolReported]]] = {}
        for name, job in self._jobs.items():
            for report in job.pools():
                used.setdefault(report.pool, []).append((name, report))
        for pool, reports in sorted(used.items()):
            yield PoolLine(
                name=pool,
                waiting=sum(report.waiting for _, report in reports),
                running=sum(report.running for _, report in reports),
                reason=next((report.reason for _, report in reports if report.reason), ""),
                start=min((report.start for _, report in reports if report.start), default=""),
                jobs=tuple(name for name, _ in reports),
            )

    def _host_lines(self) -> list[HostLine]:
        """Return what each host does for all running jobs, those that work first."""
        # Hosts of the inventory are shown even if no job uses them.
        used: dict[str, list[tuple[str, HostRow]]] = {host.name: [] for host in self._hosts}
        for name, job in self._jobs.items():
            for row in job.hosts():
                used.setdefault(row.name, []).append((name, row))
        drained: dict[str, drains.Drain] = {}
        # The drains are on the shared folder; a list without them is better than none.
        with contextlib.suppress(OSError):
            drained = drains.read(self._san)
        return [_host(name, rows, drained.get(name)) for name, rows in sorted(used.items())]


class DocumentListSource(JobListSource):
    """The documents of one command: those that have a job by now, then the others.

    ``documents``: their file names. ``jobs``: the names of the jobs that were opened so far. ``stages``:
    what is being done to open each of the others, or why it failed (RunContext.on_stage).
    """

    is_first = False

    def __init__(
        self,
        san: Path,
        hosts: Sequence[inv.HostTable],
        documents: Sequence[str],
        jobs: Callable[[], Sequence[str]],
        stages: Callable[[], Mapping[str, str]],
    ) -> None:
        super().__init__(san, "documents of this command", hosts)
        self._documents = documents
        self._opened = jobs
        self._stages = stages

    def _names(self) -> Sequence[str]:
        # A document that was opened twice has one job, and one line.
        return list(dict.fromkeys(self._opened()))

    def _in_order(
        self,
        lines: list[JobLine],
        updated: Mapping[str, str],  # noqa: ARG002 - as typed
        queued: Mapping[str, QueuedJob],  # noqa: ARG002 - as typed
    ) -> list[JobLine]:
        return [*lines, *self._without_job()]

    def _without_job(self) -> Iterator[JobLine]:
        stages = self._stages()
        opened = [job.document for job in self._jobs.values()]
        for document in self._documents:
            if writable(document) in opened:
                # Removed, so that of two documents of the same name each takes one job.
                opened.remove(writable(document))
                continue
            stage = stages.get(document, "")
            state = "failed" if stage.startswith(FAILED) else "opening" if stage else "waiting"
            yield JobLine("", document, state, note=stage.removeprefix(FAILED))


def _with_places(lines: Sequence[JobLine], places: Mapping[str, Place]) -> list[JobLine]:
    """Return the lines; those of jobs that wait in the queue with their place."""
    return [
        replace(line, place=places[line.name].number, waits=places[line.name].waits)
        if line.state == "queued" and line.name in places
        else line
        for line in lines
    ]


def _rank(state: str) -> int:
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)


class _Job:
    """One job of the list."""

    def __init__(self, folder: JobFolder, spec: JobSpec) -> None:
        self._folder = folder
        self._spec = spec
        self._observer = Observer(folder.lease)
        # Changes when the journal or the attributes change, or when a coordinator comes or goes.
        self._stamp: object = None
        self._read: JobLine | None = None
        # Readings in which a finished job was not looked at.
        self._skipped = 0
        self._tail: JournalTail | None = None
        # Empty until the job runs; a journal of thousands of pages is not kept for jobs that wait.
        self._model = JobModel(())
        self._attributes = Attributes()
        self._is_left_alone = False
        self.updated = spec.created
        """The time of the last event, as in the journal."""
        self.user = folder.path.lstat().st_uid
        """The number of the user whose folder it is."""

    @property
    def document(self) -> str:
        """The file name of its document."""
        return self._spec.document.name

    def queued_job(self, has_holder: bool) -> QueuedJob:
        """Return what decides its place in the queue. ``has_holder``: a coordinator has it now."""
        holder = LeaseHolder.ACTIVE if has_holder else LeaseHolder.NONE
        entry = entry_of(self._folder.name, self._attributes, holder)
        return QueuedJob(self.user, entry, self._is_left_alone)

    def hosts(self) -> list[HostRow]:
        """Return the hosts of a running job."""
        return [] if self._tail is None else list(self._model.hosts.values())

    def pools(self) -> list[PoolReported]:
        """Return the states of the pools of a running job."""
        return [] if self._tail is None else list(self._model.pools.latest.values())

    def line(self) -> JobLine:
        """Return its state. Raises UserError or OSError."""
        # Only finished jobs are skipped: a running or queued one may change at any moment.
        if self._read is not None and self._read.state not in _ORDER and self._tail is None:
            self._skipped = (self._skipped + 1) % (_READINGS_SKIPPED + 1)
            if self._skipped:
                return self._read
        claim = self._observer.holder()
        # A process that does not respond may end, which no file tells.
        silent = self._observer.unresponsive()
        stamp = (_stamp(self._folder.journal), _stamp(self._folder.attributes), claim is None, silent)
        if claim is not None:
            # The report of a job that did not run is out of date from now on.
            self._read, self._is_left_alone = None, False
            return self._followed(stamp)
        # The model of the last run stays; hosts() returns none without a tail.
        self._tail = None
        if stamp != self._stamp or self._read is None:
            self._read = self._reported(claim)
            self._stamp = stamp
            self._is_left_alone = self._read.state == "queued"
        if self._is_left_alone:
            # Again each time: an imported key makes the job one of this user's.
            self._is_left_alone = queueplaces.is_left_alone(self._folder, self.user)
        return self._read

    def _followed(self, stamp: object) -> JobLine:
        """Return the line of a running job, from the new entries of its journal."""
        if self._tail is None:
            self._tail = JournalTail(self._folder.journal)
            pages = pagelist.parse(self._spec.settings.pages, self._spec.document.pages)
            self._model = JobModel(pages)
        while entries := self._tail.new():
            for entry in entries:
                self._model.take(entry)
                self.updated = entry.time
        if stamp != self._stamp:
            self._attributes = jobattributes.load_or_none(self._folder) or Attributes()
            self._stamp = stamp
        line = _running(self._folder.name, self._model, self._attributes)
        return replace(
            line, submitted=self._attributes.submitted or self._spec.created, id=self._spec.id
        )

    def _report(self, claim: Claim | None) -> jobstatus.JobReport:
        is_own = self._folder.path.lstat().st_uid == os.geteuid()
        entries = read_journal(self._folder.journal, MAX_BYTES if is_own else MAX_LISTED_JOURNAL)
        found = jobattributes.load_or_none(self._folder)
        return jobstatus.of(self._folder, self._spec, entries, claim, found)

    def _reported(self, claim: Claim | None) -> JobLine:
        """Return the line of a job that does not run."""
        report = self._report(claim)
        self.updated, self._attributes = report.updated, report.attributes
        silent = self._observer.unresponsive()
        return JobLine(
            key=report.name,
            name=report.name,
            state=report.state,
            total=report.pages["total"],
            done=report.pages["done"],
            suspect=report.pages["suspect"],
            failed=report.pages["failed"],
            owner=report.attributes.owner,
            note=report.reason if silent is None else f"{in_words(silent)} is not responding",
            submitted=report.attributes.submitted or self._spec.created,
            ended="" if report.state in _ORDER else report.updated,
            id=self._spec.id,
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None if it is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    # Size and time do not tell a file from its replacement; the inode does.
    return status.st_ino, status.st_size, status.st_mtime_ns


def _running(name: str, model: JobModel, attributes: Attributes) -> JobLine:
    held = model.held or (attributes.held and f"held by {attributes.held}")
    state = "paused" if model.paused else "held" if held else "running"
    now = max(model.now, time.time())
    return JobLine(
        key=name,
        name=name,
        state=state,
        total=len(model.pages),
        done=model.counts["done"],
        suspect=model.counts["suspect"],
        failed=model.counts["failed"],
        hosts=sum(bool(host.flights) for host in model.hosts.values()),
        speed=model.speed(now),
        left=model.left(now),
        owner=attributes.owner,
        note=model.paused or held or model.pools.wait(model.counts["sent"]) or model.no_host,
        is_coordinated=True,
    )


def _host(name: str, rows: Sequence[tuple[str, HostRow]], drained: drains.Drain | None) -> HostLine:
    """Return the line of a host that these jobs use."""
    works = [row for _, row in rows if row.state in _WORKING]
    # The work of a host counts most; a host without a job is shown with its name only.
    shown = works[0] if works else rows[0][1] if rows else HostRow(name, state="")
    note = f": {drained.note}" if drained is not None and drained.note else ""
    why = "" if drained is None else f"drained by {drained.by}{note}"
    slots = max((row.slots for _, row in rows), default=0)
    running = sum(row.running for _, row in rows)
    return HostLine(
        name=name,
        state=shown.state or ("drained" if drained is not None else ""),
        reason=shown.reason or why or (f"on {shown.node}" if shown.node else ""),
        slots=slots,
        # Pages of all jobs share the slots: what exceeds them waits on the host.
        running=min(running, slots or running),
        # The load of others is known only while a job is connected to it.
        others=shown.others if works else None,
        jobs=tuple(job for job, _ in rows),
    )


def whole_queue(san: Path, hosts_file: Path | None) -> JobListSource:
    """Return the list of all jobs in the shared folder, and of all hosts of the inventory.

    Raises UserError.
    """
    if san != state_folder():  # which is created with the first job
        on_san(san, lambda: require_san(san))
    return JobListSource(san, f"jobs in {san}", inventory_hosts(hosts_file), hosts_file)
