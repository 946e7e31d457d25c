"""Work on a shared folder that must not take the program along when the folder hangs.

Who asks a dead NFS server waits in the kernel, where no signal but SIGKILL ends him. So the main
thread, which takes signals and must be able to end the run, never touches the SAN itself.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from sshrender.runner.storage import Watch

T = TypeVar("T")
POLL_INTERVAL = 0.25


class DeadlinePassed(Exception):
    """The work was not done in time, and is left behind."""


def guarded_call(folder: Path, work: Callable[[], T], until: float | None = None) -> T:
    """Do ``work`` in a thread, however long it takes, while ``folder`` answers.

    Raises what it raises, or TimeoutError. A thread that hangs is left behind. BlockingIOError: this
    machine has no room for a thread. ``until``: on the monotonic clock; DeadlinePassed is raised then.
    """
    return HangGuard(folder).pay(work, until)


class HangGuard:
    """Work on the same folder again and again, from one thread, never two at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: threading.Thread | None = None

    def pay(self, work: Callable[[], T], until: float | None = None) -> T:
        """As ``guarded_call``. While one that was left behind hangs none is begun: TimeoutError at once.

        What that one finds in the end is forgotten. What it used must not be used by another.
        """
        if self._left is not None and self._left.is_alive():
            raise _silence(self._folder)
        _require_time(until)
        ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        thread = threading.Thread(target=_run, args=(work, ended), daemon=True, name="on the SAN")
        watch = Watch(str(self._folder))
        _start(watch)
        try:
            _start(thread)
            while (future := _next(ended)) is None:
                if watch.is_hanging():
                    self._left = thread
                    raise _silence(self._folder)
                _require_time(until)
            return future.result()
        finally:
            watch.stop()
            future = None  # its error's traceback has this frame: a circle would keep both


def _require_time(until: float | None) -> None:
    if until is not None and time.monotonic() >= until:
        raise DeadlinePassed


def _run(work: Callable[[], T], ended: queue.SimpleQueue[Future[T]]) -> None:
    future: Future[T] = Future()
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised again where it belongs
        future.set_exception(error)
    ended.put(future)
    del future  # as above


def _next(ended: queue.SimpleQueue[Future[T]]) -> Future[T] | None:
    try:
        return ended.get(timeout=POLL_INTERVAL)
    except queue.Empty:
        return None


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def _silence(folder: Path) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "it does not answer", str(folder))
