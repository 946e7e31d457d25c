"""The state that all requests of one server share: threads, followed jobs, the list of jobs, access."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sshrender.api import joblistsource, statusreports
from sshrender.api.jobs import require_readable
from sshrender.api.queueplaces import Place
from sshrender.api.web import uploads
from sshrender.api.web.jobfeed import JobFeed
from sshrender.errors import ExitCode, UserError
from sshrender.views.dashboard.source import JobLine, Listed
from sshrender.web.authentication import Authenticator
from sshrender.web.jobwatchers import READ_SECONDS, StillReading, WatchedJob
from sshrender.web.refusals import Refused, busy, not_found
from sshrender.web.roles import Person
from sshrender.web.santhreads import ANSWER_TIMEOUT, OneThread, SanThreads, T, Turns
from sshrender.web.settings import ServeSettings

LIST_SECONDS = 2.0
"""Seconds for which a list of jobs is shown again instead of being read again."""

UNTAKEN_SECONDS = 60.0
"""Seconds after which the page says that no coordinator takes jobs of the queue."""

MAX_FEEDS = 64
"""Jobs that are kept in memory; the one that was asked for least recently is dropped."""


MAX_FIRST_READINGS = 4
"""Most jobs that are kept while they are read for the first time: as many as threads (santhreads.py)."""

MAX_FEED_PAGES = 300_000
"""Pages of all jobs in memory, or one job of any size: a page takes 1 KB, and more with its history."""


class UserTurns:
    """Long work of one user, one piece after the other: another user's does not wait for all of it."""

    def __init__(self, pool: SanThreads) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self.waiting = 0
        """Requests that have such work."""

    @property
    def is_idle(self) -> bool:
        """Whether no request waits, and no work is being done for a client that has gone away."""
        return not self.waiting and not self._lock.locked()

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call ``work`` in a thread. It continues without the client: a proxy may give up earlier."""
        await self._lock.acquire()
        task = asyncio.create_task(self._pool.run(work, *arguments))
        # Released with the work and not with the request: a client that hangs up gets no second turn
        # beside it.
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._lock.release()
        if not task.cancelled():
            task.exception()  # seen, even if the client has gone


@dataclass(slots=True)
class Site:
    """One server. ``pool``: work of a moment; ``long``: work that takes as long as it needs."""

    settings: ServeSettings
    authenticator: Authenticator
    pool: SanThreads = field(default_factory=lambda: SanThreads(16))
    long: SanThreads = field(default_factory=lambda: SanThreads(4, None, 64))
    engines: SanThreads = field(default_factory=lambda: SanThreads(4, None, 64))
    """Asks batch systems. One that does not answer takes a minute, for which no other work waits."""
    documents: SanThreads = field(default_factory=lambda: SanThreads(2, None, 64))
    """Puts uploads together and looks at them: minutes, which downloads do not wait for."""
    opening: SanThreads = field(default_factory=lambda: SanThreads(4, None))
    """Begins to follow jobs. A request waits for five seconds; what took longer is not lost."""
    downloads: SanThreads = field(default_factory=lambda: SanThreads(4, None, 2048))
    """Reads files, a block at a time. More may wait than there are connections: none is cut off."""
    passwords: SanThreads = field(default_factory=lambda: SanThreads(2, 30.0, 16))
    users: SanThreads = field(default_factory=lambda: SanThreads(2))
    """Looks at the file of the users, which may be on a file server."""
    counts: Counter[str] = field(default_factory=Counter)
    """Answers and bytes, for the metrics."""
    bodies: Counter[str] = field(default_factory=Counter)
    """Parts that each user is sending."""
    completing: Counter[str] = field(default_factory=Counter)
    """Uploads of each user that become jobs at this moment."""
    reading: dict[str, UserTurns] = field(default_factory=dict)
    """Users whose documents are being put together and looked at."""
    telling: dict[str, UserTurns] = field(default_factory=dict)
    """Users for whom whole journals are being read."""
    checking: dict[str, UserTurns] = field(default_factory=dict)
    """Users whose passwords are being compared."""
    streams: Counter[str] = field(default_factory=Counter)
    """Live pages of each user."""
    _feeds: OrderedDict[str, WatchedJob] = field(default_factory=OrderedDict)
    _making: dict[str, asyncio.Task[WatchedJob]] = field(default_factory=dict)
    _listed: tuple[float, Listed] | None = None
    _table: joblistsource.JobListSource | None = None
    _list_turns: Turns = field(default_factory=Turns)
    _list_thread: OneThread = field(default_factory=OneThread)
    _untaken: dict[str, float] = field(default_factory=dict)

    @property
    def san(self) -> Path:
        """The shared folder."""
        return self.settings.san

    async def watched(self, name: str, person: Person, timeout: float = READ_SECONDS) -> WatchedJob:
        """Return a job that this user may see. Raises Refused (404), as if others' did not exist.

        ``timeout``: seconds after which a journal that is read for the first time raises StillReading.
        """
        if not _may_be_name(name):
            raise not_found(f"there is no job {name[:40]}")
        found = self._feeds.get(name)
        if found is None or found.gone:
            try:
                found = await self._follow(name)
            except UserError as error:
                raise (_no_job(name) if error.code == ExitCode.USAGE else error) from None
        await self._require_seen(found, person)
        if name in self._feeds:
            self._feeds.move_to_end(name)
        try:
            await found.refresh(timeout=timeout)
        except StillReading:
            self._keep_few(name)
            raise
        except UserError as error:
            if error.code == ExitCode.USAGE:
                self.drop(name)
                raise _no_job(name) from None
            raise
        self._keep_few(name)
        if not found.seen_by(person):
            raise _no_job(name)
        return found

    async def _require_seen(self, found: WatchedJob, person: Person) -> None:
        """Raise Refused unless the user may see the job, before its journal is read: that is work."""
        name = found.feed.name
        if not found.seen_by(person):
            # Read again, because attributes that were damaged for a moment have no owner.
            owner = await self.pool.run(found.feed.read_owner)
            if not person.may_see(name, found.feed.spec.id, owner):
                raise _no_job(name)

    def _keep_few(self, name: str) -> None:
        """Drop jobs that no client watches. Raises Refused (503) if all the others are watched."""
        while len(self._feeds) > 1 and (
            len(self._feeds) > MAX_FEEDS
            or sum(each.feed.pages for each in self._feeds.values()) > MAX_FEED_PAGES
        ):
            # The part of a large job that was read is kept: its page asks again and again.
            reading = [key for key, each in self._feeds.items() if each.is_reading][:MAX_FIRST_READINGS]
            in_use = {*reading, *(key for key, each in self._feeds.items() if each.watchers)}
            oldest = next((key for key in self._feeds if key not in in_use and key != name), None)
            if oldest is not None:
                del self._feeds[oldest]
            elif name not in in_use:
                del self._feeds[name]
                raise Refused(503, "too many jobs are open", "try again later", {"Retry-After": "30"})
            else:
                break

    async def _follow(self, name: str) -> WatchedJob:
        """Begin to follow a job: once, however many ask for it at the same moment. Raises UserError."""
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.create_task(self._make(name))
            making.add_done_callback(partial(self._made, name))
        # All wait for the same work. It continues without them, and the next request finds what it made.
        if not (await asyncio.wait({making}, timeout=ANSWER_TIMEOUT))[0]:
            raise busy()
        return making.result()

    async def _make(self, name: str) -> WatchedJob:
        feed = await self.opening.run(JobFeed, self.san, name)
        found = self._feeds[name] = WatchedJob(feed, self.pool, self.long, self._place_of)
        return found

    async def _place_of(self, name: str) -> Place | None:
        """Return a job's place, as the list of jobs has it: one reading serves all pages of jobs."""
        # Without the list, a page still shows all that its own job tells.
        with contextlib.suppress(Refused, UserError):
            for line in (await self.listed()).jobs:
                if line.name == name and line.place is not None:
                    return Place(line.place, line.waits)
        return None

    def _made(self, name: str, task: asyncio.Task[WatchedJob]) -> None:
        del self._making[name]
        if not task.cancelled():
            task.exception()  # seen, even if all who asked have gone

    def drop(self, name: str) -> None:
        """Forget a job that is gone."""
        found = self._feeds.pop(name, None)
        if found is not None:
            found.gone = found.gone or "this job was removed"
            found.tell_watchers()

    async def listed(self) -> Listed:
        """Return all jobs and hosts, as of some seconds ago."""
        async with self._list_turns.taken():
            if self._listed is None or time.monotonic() - self._listed[0] > LIST_SECONDS:
                found = await self._list_thread.run(self.pool, self._read_list)
                self._listed = time.monotonic(), found
                self._note_untaken(found)
            return self._listed[1]

    def _read_list(self) -> Listed:
        # A folder that is not there has no jobs for the table: to users they would all be lost.
        require_readable(self.san)
        if self._table is None:
            self._table = joblistsource.whole_queue(self.san, self.settings.hosts_file)
        return self._table.read()

    def documents_of(self, user: str) -> contextlib.AbstractContextManager[UserTurns]:
        """Give what reads documents, one of each user at a time: minutes. Raises Refused (429)."""
        return self._turns_of(self.reading, user, self.documents, "documents")

    def journals_of(self, user: str) -> contextlib.AbstractContextManager[UserTurns]:
        """Give what reads whole journals, one for each user at a time: seconds. Raises Refused (429)."""
        return self._turns_of(self.telling, user, self.long, "questions")

    def logins_of(self, user: str) -> contextlib.AbstractContextManager[UserTurns]:
        """Give what compares passwords, one of each user at a time: a second. Raises Refused (429)."""
        return self._turns_of(self.checking, user, self.passwords, "logins")

    @contextlib.contextmanager
    def _turns_of(
        self, all_turns: dict[str, UserTurns], user: str, pool: SanThreads, what: str
    ) -> Iterator[UserTurns]:
        # Those whose clients went away while they were busy: nothing else removes them.
        for name in [name for name, turns in all_turns.items() if turns.is_idle]:
            del all_turns[name]
        found = all_turns.setdefault(user, UserTurns(pool))
        if found.waiting >= self.settings.quota.uploads:
            raise Refused(
                429, f"too many of your {what} are waiting already", "wait", {"Retry-After": "5"}
            )
        found.waiting += 1
        try:
            yield found
        finally:
            found.waiting -= 1
            if found.is_idle:
                all_turns.pop(user, None)

    def close(self) -> None:
        """End what would keep the server from ending."""
        for each in self._feeds.values():
            each.close()

    def forget_password(self, job: str) -> None:
        """Drop the password of a job's document: no page of it is rendered any more."""
        if self.settings.passwords is not None:
            self.settings.passwords.forget(job)

    def forget_list(self) -> None:
        """Read the list again when it is asked for next: something has changed."""
        self._listed = None

    def _note_untaken(self, listed: Listed) -> None:
        now = time.monotonic()
        if any(line.is_coordinated for line in listed.jobs):
            self._untaken.clear()
            return
        waiting = {line.name for line in listed.jobs if line.state == "queued" and not line.note}
        self._untaken = {name: self._untaken.get(name, now) for name in waiting}

    @property
    def is_untaken(self) -> bool:
        """Whether a queued job has waited for a minute and no coordinator runs any job."""
        return any(time.monotonic() - since > UNTAKEN_SECONDS for since in self._untaken.values())

    async def lines(self, person: Person) -> list[JobLine]:
        """Return the jobs that this user may see."""
        listed = await self.listed()
        return [line for line in listed.jobs if person.may_see(line.name, line.id, line.owner)]

    async def reports(self, person: Person, asker: str) -> list[dict[str, Any]]:
        """Return the jobs that this user may see, as ``status --json`` has them.

        ``asker``: with whose questions this one is counted (routing.py).
        """
        with self.journals_of(asker) as read:
            return await read(self._read_reports, person)

    def _read_reports(self, person: Person) -> list[dict[str, Any]]:
        require_readable(self.san)
        return [
            public(report.as_json())
            for report in statusreports.job_reports(self.san, {})
            if person.may_see(report.name, report.spec.id, report.attributes.owner)
        ]

    async def tend(self) -> None:
        """Remove what is stale, now and each hour, as long as the server runs."""
        from sshrender.api.web import webaccess

        while True:
            tasks = [uploads.clear_stale, webaccess.clear_links]
            if self.settings.passwords is not None:
                tasks.append(self.settings.passwords.forget_ended)
            for task in tasks:
                # A removal that fails is tried again in an hour; it does not stop the other tasks.
                with contextlib.suppress(Refused, OSError, UserError):
                    await self.long.run(task, self.san)
            await asyncio.sleep(3600)


def _no_job(name: str) -> Refused:
    return not_found(f"there is no job {name}")


def _may_be_name(name: str) -> bool:
    """Return whether a job's folder could have this name: others are an error there, not a 404."""
    # Hidden folders are no jobs, and ".." is not even one of the shared folder.
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".")
    return is_plain and len(name.encode("utf-8", "replace")) <= 255


def public(row: dict[str, Any]) -> dict[str, Any]:
    """Return a job's row without the paths of this machine, which concern no web user."""
    return {**row, "job_dir": None, "output": None}
