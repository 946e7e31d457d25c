"""Runs calls on a shared folder in a thread, so that a hanging folder does not hang the program.

A call to a dead NFS server blocks in the kernel, where only SIGKILL ends it. So the main thread, which
takes signals and must be able to end the run, never touches the SAN itself.
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
"""Seconds between two looks at the folder and the deadline while a call runs."""


class DeadlinePassed(Exception):
    """The call did not return in time; its thread was abandoned."""


def guarded_call(folder: Path, work: Callable[[], T], until: float | None = None) -> T:
    """Run ``work`` in a thread, for as long as it takes while ``folder`` answers; return its result.

    Raises what it raises, or TimeoutError if the folder hangs; the thread is abandoned then.
    BlockingIOError: no thread can be started. ``until``, on the monotonic clock: DeadlinePassed is
    raised then.
    """
    return HangGuard(folder).call(work, until)


class HangGuard:
    """Guards repeated calls on one folder, made from one thread, never two at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._abandoned: threading.Thread | None = None

    def call(self, work: Callable[[], T], until: float | None = None) -> T:
        """Run ``work`` as ``guarded_call`` does, or raise TimeoutError at once while an abandoned call
        hangs.

        The result of an abandoned call is discarded. Objects that it uses must not be used by other
        calls.
        """
        if self._abandoned is not None and self._abandoned.is_alive():
            raise _no_answer(self._folder)
        _require_time(until)
        ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        thread = threading.Thread(target=_run, args=(work, ended), daemon=True, name="on the SAN")
        watch = Watch(str(self._folder))
        _start(watch)
        try:
            _start(thread)
            while (future := _result(ended)) is None:
                if watch.is_hanging():
                    self._abandoned = thread
                    raise _no_answer(self._folder)
                _require_time(until)
            return future.result()
        finally:
            watch.stop()
            future = None  # breaks the cycle of the error, its traceback, this frame and the future


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


def _result(ended: queue.SimpleQueue[Future[T]]) -> Future[T] | None:
    try:
        return ended.get(timeout=POLL_INTERVAL)
    except queue.Empty:
        return None


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def _no_answer(folder: Path) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "it does not answer", str(folder))
