"""Follows a job for many watchers: they share one reading of its journal at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sshrender.api.queueplaces import Place
from sshrender.api.web.compressedblocks import Block
from sshrender.api.web.jobfeed import JobFeed
from sshrender.errors import ExitCode, UserError
from sshrender.web.refusals import Refused
from sshrender.web.roles import Person
from sshrender.web.santhreads import ANSWER_TIMEOUT, OneThread, SanThreads, Turns

POLL_INTERVAL = 0.5
"""Seconds between two looks at the journal of a running job that is watched."""

REST_INTERVAL = 2.0
COMMENT_INTERVAL = 15.0
"""Seconds without a message after which a comment is sent: proxies close silent connections."""

READ_SECONDS = 15.0
"""Seconds that a request waits for the first reading of a journal. Proxies wait for 30 to 60, and a page
takes a stream that is silent for 20 (assets/job.js) for one that a proxy keeps back."""


PlaceOf = Callable[[str], Awaitable[Place | None]]
"""Returns the place of a job in the queue; None if it has none, or the queue cannot be read now."""


class StillReading(Refused):
    """The journal of a job is read for the first time, which takes seconds for a large one."""

    def __init__(self, part: float) -> None:
        """``part``: how much of it was read, from 0 to 1."""
        super().__init__(
            503,
            f"the history of this job is being read: {100 * part:.0f} %",
            "try again in a moment",
            {"Retry-After": "2"},
        )
        self.part = part


class WatchedJob:
    """A job that is followed. One update at a time; all watchers share each message."""

    def __init__(
        self, feed: JobFeed, pool: SanThreads, long: SanThreads, place_of: PlaceOf | None = None
    ) -> None:
        """``place_of``: without it, the job has no place in a queue."""
        self.feed = feed
        self._place_of = place_of
        self._long = long
        self.watchers = 0
        self.version = 0
        self.place: Place | None = None
        """Its place in the queue, while it waits there (api/queueplaces.py)."""
        self.gone = ""
        """The reason why the job is no longer followed; empty while it is."""
        self._is_closing = False
        self.trouble = ""
        """The reason why the job cannot be read at the moment; empty: it can."""
        self._pool = pool
        self._turns = Turns()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Task[bool] | None = None
        self._is_read = False
        self._alone = OneThread()
        self._updated = 0.0
        self._messages: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()

    @property
    def is_reading(self) -> bool:
        """Whether its journal is being read for the first time."""
        return self._first is not None

    async def refresh(self, age: float = POLL_INTERVAL, timeout: float = READ_SECONDS) -> None:
        """Read what is new, unless that was done so few seconds ago. Raises UserError or Refused.

        ``timeout``: seconds after which the first reading raises StillReading. It continues then.
        """
        if not self._is_read:
            await self._read_first(timeout)
        async with self._turns.taken():
            if time.monotonic() - self._updated >= age:
                await self._update()

    async def _update(self) -> None:
        # A journal that was just read for the first time is not read again.
        has_changed = not self._updated or await self._alone.run(self._pool, self.feed.update)
        place = None
        if self.feed.report.state == "queued" and self._place_of is not None:
            place = await self._place_of(self.feed.name)
        self._updated = time.monotonic()
        if has_changed or place != self.place or self.trouble:
            self.place, self.trouble = place, ""
            self.tell_watchers()

    async def _read_first(self, timeout: float) -> None:
        """Read a journal from its beginning. All requests wait for the same reading.

        It takes no turn: requests that wait for it are not refused when one of them gives up. Raises
        Refused when the shared folder hangs meanwhile.
        """
        if self._first is None:
            self._first = asyncio.create_task(self._alone.run(self._long, self.feed.update))
        first, until = self._first, time.monotonic() + timeout
        while not first.done():
            left = max(0.0, until - time.monotonic())
            if (await asyncio.wait({first}, timeout=min(left, ANSWER_TIMEOUT)))[0]:
                break
            # On a folder that answers, this costs nothing; on one that hangs it raises Refused.
            await self._pool.run(self.feed.folder.spec.is_file)
            if left <= ANSWER_TIMEOUT and not first.done():
                raise StillReading(self.feed.part_read)
        if self._first is first:
            # After an error the next request begins again.
            self._first, self._is_read = None, first.exception() is None
        first.result()

    def tell_watchers(self) -> None:
        """Wake all watchers: something has changed."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def seen_by(self, person: Person) -> bool:
        """Return whether this user may see the job."""
        return person.may_see(self.feed.name, self.feed.spec.id, self.feed.owner)

    def in_queue(self) -> dict[str, Any]:
        """Return the place of the job in the queue, for the page and for programs."""
        place = self.place
        return {"position": place and place.number, "waits": place.waits if place else ""}

    async def message(self, since: int) -> tuple[int, bytes]:
        """Return what is new since this byte, and the byte up to which it counts."""
        async with self._turns.taken():
            key = (since, self.version)
            if key not in self._messages:
                made = await self._alone.run(self._pool, self.feed.message, since)
                data = json.dumps({**made, **self.in_queue()}, separators=(",", ":")).encode()
                self._messages[key] = made["offset"], data
                while len(self._messages) > 8:
                    self._messages.popitem(last=False)
            return self._messages[key]

    async def sheet(self) -> Block:
        """Return all that the overview shows, as JSON."""
        async with self._turns.taken():
            return await self._alone.run(self._long, self.feed.encoded_sheet)

    @contextlib.contextmanager
    def _watching(self) -> Any:
        self.watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self.watchers -= 1

    async def messages(self, since: int) -> AsyncIterator[tuple[int, bytes] | str | None]:
        """Yield messages as they come; None when nothing came for a while. Ends when the job is gone.

        A text says what keeps the job from being read; a message follows when that is over.
        """
        with self._watching():
            seen = -1
            while not self.gone and not self._is_closing:
                changed = self._changed
                if self.trouble:
                    if self.version != seen:
                        seen = self.version
                        yield self.trouble
                # A watcher that claims to know more than this server gets nothing, so nothing is made.
                elif self.version != seen and since > self.feed.offset:
                    seen = self.version
                elif self.version != seen or since < self.feed.offset:
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
            except (Refused, UserError) as error:
                self._note(error)
            is_running = self.feed.report.state == "running"
            await asyncio.sleep(POLL_INTERVAL if is_running else REST_INTERVAL)

    def _note(self, error: Refused | UserError) -> None:
        """Tell all watchers why nothing comes."""
        if isinstance(error, UserError) and error.code == ExitCode.USAGE:
            self.gone = error.what
        # Texts of the api name files, for users at a terminal.
        elif self.trouble != (words := "the shared folder does not answer"):
            self.trouble = words
        else:
            return
        self.tell_watchers()
