"""Threads that work on the shared folder, so that a dead file server never blocks the server.

A call to a dead NFS server blocks in the kernel. The threads are daemons and bounded: while they hang,
further work is refused at once, and the end of the process does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

from sshrender.errors import ExitCode, UserError
from sshrender.web.refusals import Refused, busy

T = TypeVar("T")

ANSWER_TIMEOUT = 5.0
"""Seconds after which a request gets 503: balancers try another server then."""

_Task = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class SanThreads:
    """``threads`` daemons. ``timeout``: seconds a call may take; None: as long as it needs."""

    def __init__(self, threads: int, timeout: float | None = ANSWER_TIMEOUT, waiting: int = 256) -> None:
        self._threads = threads
        self._timeout = timeout
        self._tasks: queue.Queue[_Task] = queue.Queue(waiting)
        self._started = 0
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call ``work`` in a thread. Raises what it raises; Refused (503) when the folder hangs."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()  # the user who asks (api/jobs.py, acting_as)
        try:
            self._tasks.put_nowait((partial(context.run, work, *arguments, **named), loop, future))
        except queue.Full:
            raise busy() from None
        self._start_if_needed()
        try:
            found: T = await asyncio.wait_for(future, self._timeout)
        except TimeoutError:
            if future.done() and not future.cancelled():
                raise  # of the work itself
            raise busy() from None
        return found

    def _start_if_needed(self) -> None:
        with self._lock:
            if self._started < self._threads and self._tasks.qsize() > self._idle:
                self._started += 1
                threading.Thread(target=self._serve, daemon=True, name="web on the SAN").start()

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work, loop, future = self._tasks.get()
            with self._lock:
                self._idle -= 1
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
                _give(loop, future, error=error)
            else:
                _give(loop, future, result=result)
            del work, future


class OneThread:
    """Work on an object that only one thread may use at a time.

    A thread may still hang in it whose request has given up: no second one joins it then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def run(self, pool: SanThreads, work: Callable[..., T], *arguments: Any) -> T:
        """Call ``work`` in a thread of ``pool``. Raises Refused while another one is at work."""
        if self._lock.locked():
            raise busy()
        return await pool.run(self._in_thread, work, *arguments)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._lock:
            return work(*arguments)


class Turns:
    """A lock for work on the shared folder; its result serves all requests that wait.

    While the folder hangs, those who waited for one turn are refused with it: one after the other they
    would wait for 5, 10, 15 seconds.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._failures = 0

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Have the turn. Raises Refused (503) if the one before failed because of the folder."""
        failures = self._failures
        async with self._lock:
            if failures != self._failures:
                raise busy()
            try:
                yield
            except (Refused, UserError) as error:
                if isinstance(error, Refused) or error.code == ExitCode.STORAGE:
                    self._failures += 1
                raise


def _give(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    *,
    result: Any = None,
    error: BaseException | None = None,
) -> None:
    def give() -> None:
        if future.cancelled():
            return  # the caller has given up
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(give)
    except RuntimeError:
        return  # the loop is closed: the server has ended
