"""Runs work on a folder that may hang, so that a dead file server never blocks the program.

A call to a dead NFS server blocks in the kernel; only SIGKILL ends it. The main thread must react to
signals and be able to end the run, so it never touches the shared folder itself: the work runs in a
thread, and a thread that hangs is abandoned.
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

from sshrender.storage.primitives import HangDetector

T = TypeVar("T")
POLL_INTERVAL = 0.25
"""Seconds between two checks of the folder while the work runs."""


class DeadlinePassed(Exception):
    """The work was not done in time; its thread is abandoned."""


def guarded_call(folder: Path, work: Callable[[], T], until: float | None = None) -> T:
    """Call ``work`` in a thread and return its result, however long it takes, while ``folder`` answers.

    Raises what ``work`` raises; TimeoutError when the folder hangs; DeadlinePassed at ``until`` (on the
    monotonic clock); BlockingIOError when this machine has no room for another thread.
    """
    return HangGuard(folder).call(work, until)


class HangGuard:
    """Repeated work on the same folder, from one thread, never two calls at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._abandoned: threading.Thread | None = None

    def call(self, work: Callable[[], T], until: float | None = None) -> T:
        """Do as ``guarded_call``. While an abandoned call still hangs, raise TimeoutError at once.

        The result of an abandoned call is dropped, and no other call may use the objects that it uses.
        """
        if self._abandoned is not None and self._abandoned.is_alive():
            raise _no_answer(self._folder)
        _require_time(until)
        ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        thread = threading.Thread(target=_run, args=(work, ended), daemon=True, name="on the SAN")
        detector = HangDetector(str(self._folder))
        _start(detector)
        try:
            _start(thread)
            # The work has no time limit of its own: it may take hours while the folder answers.
            while (future := _next(ended)) is None:
                if detector.is_hanging():
                    self._abandoned = thread
                    raise _no_answer(self._folder)
                _require_time(until)
            return future.result()
        finally:
            detector.stop()
            # The traceback of the future's error refers to this frame; a reference cycle would keep
            # both.
            future = None


def _require_time(until: float | None) -> None:
    if until is not None and time.monotonic() >= until:
        raise DeadlinePassed


def _run(work: Callable[[], T], ended: queue.SimpleQueue[Future[T]]) -> None:
    future: Future[T] = Future()
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
        future.set_exception(error)
    ended.put(future)
    del future  # no reference cycle, as in HangGuard.call


def _next(ended: queue.SimpleQueue[Future[T]]) -> Future[T] | None:
    try:
        return ended.get(timeout=POLL_INTERVAL)
    except queue.Empty:
        return None


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        # "can't start new thread" is EAGAIN of pthread_create(3), which Python reports without its
        # number.
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def _no_answer(folder: Path) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "it does not answer", str(folder))
