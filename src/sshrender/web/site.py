"""What all requests of one server share: threads, followed jobs, the list of jobs, and who may ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sshrender.api import jobreports, jobtable
from sshrender.api.web import uploads
from sshrender.api.web.jobfeed import JobFeed, queue_position
from sshrender.errors import UserError
from sshrender.views.dashboard.source import JobLine, Listed
from sshrender.web.identity import Authenticator
from sshrender.web.people import Person
from sshrender.web.refusals import Refused, busy, not_found
from sshrender.web.sanpool import ANSWER_TIMEOUT, SanPool, T, Turns
from sshrender.web.settings import ServeSettings

POLL_INTERVAL = 0.5
"""Seconds between two looks at the journal of a running job that is watched."""

REST_INTERVAL = 2.0
COMMENT_INTERVAL = 15.0
"""Seconds without a message after which a comment is sent: proxies close silent connections."""

LIST_SECONDS = 2.0
"""For how long a list of jobs is shown again instead of read anew."""

UNTAKEN_SECONDS = 60.0
"""Seconds after which the page says that no coordinator takes jobs of the queue."""

MAX_FEEDS = 64
"""Jobs that are kept in memory; the one that was asked for least recently is dropped."""


MAX_FEED_PAGES = 300_000
"""Pages of all jobs in memory, or one job of any size: a page takes 1 KB, and more with its history."""


class Watched:
    """A job that is followed. One update at a time; all watchers share each message."""

    def __init__(self, feed: JobFeed, pool: SanPool, long: SanPool) -> None:
        self.feed = feed
        self._long = long
        self.watchers = 0
        self.version = 0
        self.position: int | None = None
        self.gone = ""
        """Why the job is not followed any more; empty while it is."""
        self._is_closing = False
        self._pool = pool
        self._turns = Turns()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Task[bool] | None = None
        self._thread = threading.Lock()
        """Of the thread that works on the feed."""
        self._updated = 0.0
        self._messages: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()

    async def refresh(self, age: float = POLL_INTERVAL) -> None:
        """Read what is new, unless that was done so few seconds ago. Raises UserError or Refused."""
        async with self._turns.taken():
            if time.monotonic() - self._updated >= age:
                await self._update()

    async def _update(self) -> None:
        has_changed = await (self._alone(self.feed.update) if self._updated else self._first_update())
        position = None
        if self.feed.report.state == "queued":
            position = await self._pool.run(queue_position, self.feed.folder.path.parent, self.feed.name)
        self._updated = time.monotonic()
        if has_changed or position != self.position:
            self.position = position
            self.tell_watchers()

    async def _first_update(self) -> bool:
        """Read a journal from its beginning: that of a large job takes seconds, which no limit ends.

        Raises Refused when the shared folder hangs meanwhile.
        """
        if self._first is None:
            self._first = asyncio.create_task(self._long.run(self._in_thread, self.feed.update))
        first = self._first
        while not (await asyncio.wait({first}, timeout=ANSWER_TIMEOUT))[0]:
            # The next request waits for the same reading.
            await self._pool.run(self.feed.folder.spec.is_file)
        self._first = None
        return first.result()

    async def _alone(self, work: Callable[..., T], *arguments: Any) -> T:
        """Work on the feed. Raises Refused while a thread hangs in it whose request has given up."""
        if self._thread.locked():
            raise busy()
        return await self._pool.run(self._in_thread, work, *arguments)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._thread:
            return work(*arguments)

    def tell_watchers(self) -> None:
        """Wake all watchers: something has changed."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def message(self, since: int) -> tuple[int, bytes]:
        """Return what is new since this byte, and the byte up to which it counts."""
        async with self._turns.taken():
            key = (since, self.version)
            if key not in self._messages:
                made = await self._alone(self.feed.message, since)
                data = json.dumps({**made, "position": self.position}, separators=(",", ":")).encode()
                self._messages[key] = made["offset"], data
                while len(self._messages) > 8:
                    self._messages.popitem(last=False)
            return self._messages[key]

    async def sheet(self) -> dict[str, Any]:
        """Return all that the overview shows."""
        async with self._turns.taken():
            return await self._long.run(self._in_thread, self.feed.sheet)

    @contextlib.contextmanager
    def _watching(self) -> Any:
        self.watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self.watchers -= 1

    async def messages(self, since: int) -> AsyncIterator[tuple[int, bytes] | None]:
        """Yield messages as they come; None when nothing came for a while. Ends when the job is gone."""
        with self._watching():
            seen = -1
            while not self.gone and not self._is_closing:
                changed = self._changed
                if self.version != seen or since < self.feed.offset:
                    seen = self.version
                    offset, data = await self.message(since)
                    # A server that has read less than another one has nothing new to tell.
                    if offset >= since:
                        since = offset
                        yield offset, data
                        continue
                try:
                    await asyncio.wait_for(changed.wait(), COMMENT_INTERVAL)
                except TimeoutError:
                    yield None

    def close(self) -> None:
        """End all streams: the server ends, and browsers connect to another one."""
        self._is_closing = True
        self._changed.set()

    async def _follow(self) -> None:
        while self.watchers and not self.gone and not self._is_closing:
            try:
                await self.refresh(0)
            except Refused:
                pass  # the shared folder does not answer for now
            except UserError as error:
                if not await self._is_there():
                    self.gone = error.what
                    self.tell_watchers()
            is_running = self.feed.report.state == "running"
            await asyncio.sleep(POLL_INTERVAL if is_running else REST_INTERVAL)

    async def _is_there(self) -> bool:
        try:
            return await self._pool.run(self.feed.folder.spec.is_file)
        except (Refused, OSError):
            return True


class DocumentTurns:
    """Reads the documents of one user, one after the other: each may take minutes."""

    def __init__(self, pool: SanPool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self.waiting = 0
        """Requests that have a document to read."""

    @property
    def is_busy(self) -> bool:
        """Whether a document is being read, perhaps for a client that has gone away."""
        return self._lock.locked()

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call ``work`` in a thread. It goes on without the client: a proxy may give up earlier."""
        await self._lock.acquire()
        task = asyncio.create_task(self._pool.run(work, *arguments))
        # Released with the work and not with the request: who hangs up gets no second turn beside it.
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._lock.release()
        if not task.cancelled():
            task.exception()  # seen, also where the client has gone


@dataclass(slots=True)
class Site:
    """One server. ``pool``: work of a moment; ``long``: work that takes as long as it needs."""

    settings: ServeSettings
    authenticator: Authenticator
    pool: SanPool = field(default_factory=lambda: SanPool(16))
    long: SanPool = field(default_factory=lambda: SanPool(4, None, 64))
    documents: SanPool = field(default_factory=lambda: SanPool(2, None, 64))
    """Puts uploads together and looks at them: minutes, which downloads do not wait for."""
    downloads: SanPool = field(default_factory=lambda: SanPool(4, None, 2048))
    """Reads files, a block at a time. More may wait than there are connections: none is cut off."""
    passwords: SanPool = field(default_factory=lambda: SanPool(2, 30.0, 16))
    counts: Counter[str] = field(default_factory=Counter)
    """Answers and bytes, for the metrics."""
    bodies: Counter[str] = field(default_factory=Counter)
    """Parts that each user is sending."""
    completing: Counter[str] = field(default_factory=Counter)
    """Uploads of each user that become jobs at this moment."""
    reading: dict[str, DocumentTurns] = field(default_factory=dict)
    """Users whose documents are being put together and looked at."""
    streams: Counter[str] = field(default_factory=Counter)
    """Live pages of each user."""
    _feeds: OrderedDict[str, Watched] = field(default_factory=OrderedDict)
    _making: dict[str, asyncio.Task[Watched]] = field(default_factory=dict)
    _listed: tuple[float, Listed] | None = None
    _table: jobtable.JobTable | None = None
    _list_turns: Turns = field(default_factory=Turns)
    _untaken: dict[str, float] = field(default_factory=dict)

    @property
    def san(self) -> Path:
        """The shared folder."""
        return self.settings.san

    async def watched(self, name: str, person: Person) -> Watched:
        """Return a job that this user may see. Raises Refused (404), as if others' did not exist."""
        if not _may_be_name(name):
            raise not_found(f"there is no job {name[:40]}")
        found = self._feeds.get(name)
        if found is None or found.gone:
            try:
                found = await self._follow(name)
            except UserError as error:
                raise (not_found(f"there is no job {name}") if error.code == 2 else error) from None
        if name in self._feeds:
            self._feeds.move_to_end(name)
        try:
            await found.refresh()
        except UserError:
            if not await self.pool.run(found.feed.folder.spec.is_file):
                self.drop(name)
                raise not_found(f"there is no job {name}") from None
            raise
        self._keep_few(name)
        if not person.may_see(name, found.feed.owner):
            raise not_found(f"there is no job {name}")
        return found

    def _keep_few(self, name: str) -> None:
        """Drop jobs that no client watches. Raises Refused (503) where all the others are watched."""
        while len(self._feeds) > 1 and (
            len(self._feeds) > MAX_FEEDS
            or sum(each.feed.pages for each in self._feeds.values()) > MAX_FEED_PAGES
        ):
            unwatched = (key for key, each in self._feeds.items() if not each.watchers and key != name)
            oldest = next(unwatched, None)
            if oldest is not None:
                del self._feeds[oldest]
            elif not self._feeds[name].watchers:
                del self._feeds[name]
                raise Refused(503, "too many jobs are open", "try again later", {"Retry-After": "30"})
            else:
                break

    async def _follow(self, name: str) -> Watched:
        """Begin to follow a job: once, however many ask for it at the same moment. Raises UserError."""
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.create_task(self._make(name))
            making.add_done_callback(partial(self._made, name))
        # Shielded: the one who asked first may go away.
        return await asyncio.shield(making)

    async def _make(self, name: str) -> Watched:
        feed = await self.pool.run(JobFeed, self.san, name)
        found = self._feeds[name] = Watched(feed, self.pool, self.long)
        return found

    def _made(self, name: str, task: asyncio.Task[Watched]) -> None:
        del self._making[name]
        if not task.cancelled():
            task.exception()  # seen, also where all who asked have gone

    def drop(self, name: str) -> None:
        """Forget a job that is gone."""
        found = self._feeds.pop(name, None)
        if found is not None:
            found.gone = found.gone or f"{name} was removed"
            found.tell_watchers()

    async def listed(self) -> Listed:
        """Return all jobs and hosts, as of some seconds ago."""
        async with self._list_turns.taken():
            if self._listed is None or time.monotonic() - self._listed[0] > LIST_SECONDS:
                if self._table is None:
                    self._table = await self.pool.run(
                        jobtable.whole_queue, self.san, self.settings.hosts_file
                    )
                self._listed = time.monotonic(), await self.pool.run(self._table.read)
                self._note_untaken(self._listed[1])
            return self._listed[1]

    @contextlib.contextmanager
    def documents_of(self, user: str) -> Iterator[DocumentTurns]:
        """Give what reads documents, one of each user at a time. Raises Refused (429) for too many."""
        turns = self.reading.setdefault(user, DocumentTurns(self.documents))
        if turns.waiting >= self.settings.quota.uploads:
            raise Refused(
                429, "many of your documents are being read already", "wait", {"Retry-After": "5"}
            )
        turns.waiting += 1
        try:
            yield turns
        finally:
            turns.waiting -= 1
            if not turns.waiting and not turns.is_busy:
                self.reading.pop(user, None)

    def close(self) -> None:
        """End what would keep the server from ending."""
        for each in self._feeds.values():
            each.close()

    def forget_password(self, job: str) -> None:
        """Drop the password of a job's document: no page of it is rendered any more."""
        if self.settings.passwords is not None:
            self.settings.passwords.forget(job)

    def forget_list(self) -> None:
        """Read the list anew when it is asked for next: something has changed."""
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
        return [line for line in listed.jobs if person.may_see(line.name, line.owner)]

    async def reports(self, person: Person) -> list[dict[str, Any]]:
        """Return the jobs that this user may see, as ``status --json`` has them."""
        damaged: dict[str, str] = {}
        found = await self.long.run(jobreports.job_reports, self.san, damaged)
        rows = [report.as_json() for report in found]
        return [public(row) for row in rows if person.may_see(row["job"], row["owner"] or "")]

    async def tend(self) -> None:
        """Remove what is stale, now and each hour, as long as the server runs."""
        from sshrender.api.web import webaccess

        while True:
            tasks = [uploads.clear_stale, webaccess.clear_links]
            if self.settings.passwords is not None:
                tasks.append(self.settings.passwords.forget_ended)
            for task in tasks:
                # What cannot be removed now is tried again in an hour, and keeps no other task from it.
                with contextlib.suppress(Refused, OSError, UserError):
                    await self.long.run(task, self.san)
            await asyncio.sleep(3600)


def _may_be_name(name: str) -> bool:
    """Return whether a job's folder could have this name: others are an error there, not a 404."""
    # Hidden folders are no jobs, and ".." is not even one of the shared folder.
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".")
    return is_plain and len(name.encode("utf-8", "replace")) <= 255


def public(row: dict[str, Any]) -> dict[str, Any]:
    """Return a job's row without the paths of this machine, which concern no web user."""
    return {**row, "job_dir": None, "output": None}
