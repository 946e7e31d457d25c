"""Threads that prove, publish and deliver pages: the only ones that touch the SAN for a page.

The loop never does, so that a storage that hangs cannot hang the loop with it.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sshrender.coordinator.keeper import LeaseGone
from sshrender.job import publish
from sshrender.job.durable import Folders
from sshrender.job.lease import LeaseLost
from sshrender.job.proof.errors import ProofFailed
from sshrender.job.proof.prove import Expected, Picture, prove
from sshrender.runner.storage import VISIBLE_WITHIN

THREADS = 2
BATCH = 16
"""Pages proved before the first of them is reported: their copies are flushed together."""

RETRY = 0.05
SLOWEST_RETRY = 2.0


@dataclass(frozen=True, slots=True)
class Proving:
    """One page's way from ``work/`` to the user. ``expected.box`` is what Ghostscript says of it."""

    host: str
    page: int
    attempt: str
    work: Path
    final: Path
    target: Path
    expected: Expected
    since: float = field(default_factory=time.monotonic)
    pause: float = RETRY


@dataclass(frozen=True, slots=True)
class Proved:
    """It is delivered. ``doubt`` is set when only Ghostscript's own page size fits.

    ``was_taken``: another attempt had published the page before.
    """

    task: Proving
    picture: Picture
    doubt: str = ""
    is_copy: bool = False
    was_taken: bool = False


@dataclass(frozen=True, slots=True)
class Disproved:
    """It is not a picture of the page, or it never came."""

    task: Proving
    reason: str
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class StorageTrouble:
    """The SAN or the output failed; the page waits."""

    task: Proving
    reason: str


@dataclass(frozen=True, slots=True)
class SyncRefused:
    """The file system of a folder cannot make names durable."""

    folder: Path
    reason: str


Result = Proved | Disproved | StorageTrouble | LeaseGone


class Sizes(Protocol):
    """What the document says of its pages (document/reading.py)."""

    def box(self, page: int) -> tuple[float, float] | None:
        """Width and height in points; None when it does not say."""

    def is_sound(self) -> bool:
        """Whether the document could be read without repairing it."""


class Prover:
    """A small pool. ``fence`` raises LeaseLost when pages are another coordinator's to publish."""

    def __init__(
        self, reading: Sizes, fence: Callable[[], None], post: Callable[[Result | SyncRefused], None]
    ) -> None:
        self._reading = reading
        self._fence = fence
        self._post = post
        self._queue: queue.SimpleQueue[Proving | None] = queue.SimpleQueue()
        self._folders = Folders(lambda folder, why: post(SyncRefused(folder, why)))
        self._open = 0
        self._lock = threading.Condition()
        for number in range(THREADS):
            threading.Thread(target=self._work, daemon=True, name=f"prover {number}").start()

    def submit(self, task: Proving) -> None:
        """Answered by a Result."""
        with self._lock:
            self._open += 1
        self._queue.put(task)

    def drain(self, timeout: float) -> bool:
        """Wait until everything submitted was answered; False when it was not in time."""
        with self._lock:
            return self._lock.wait_for(lambda: self._open == 0, timeout)

    def stop(self) -> None:
        """Let the threads end."""
        for _ in range(THREADS):
            self._queue.put(None)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            results = [self._attempt(task)]
            while len(results) < BATCH and not self._queue.empty():
                if (task := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                results.append(self._attempt(task))
            self._answer(self._durable([result for result in results if result is not None]))

    def _durable(self, results: list[Result]) -> list[Result]:
        """Both names of each page, and what was copied, are flushed before it is called delivered."""
        secured = [_secured(result) for result in results]
        tasks = [result.task for result in secured if isinstance(result, Proved)]
        try:
            self._folders.sync(path.parent for task in tasks for path in (task.final, task.target))
        except OSError as error:
            return [
                _trouble(result.task, error) if isinstance(result, Proved) else result
                for result in secured
            ]
        return secured

    def _answer(self, results: list[Result]) -> None:
        for result in results:
            self._post(result)
        with self._lock:
            self._open -= len(results)
            self._lock.notify_all()

    def _attempt(self, task: Proving) -> Result | None:
        """None: not visible yet, and queued again."""
        try:
            return prove_and_deliver(task, self._reading, self._fence)
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            return self._explain(task, error)

    def _explain(self, task: Proving, error: Exception) -> Result | None:
        if isinstance(error, LeaseLost):
            return LeaseGone()
        if isinstance(error, FileNotFoundError):
            return self._look_again(task)
        if isinstance(error, ProofFailed):
            return Disproved(task, str(error))
        if isinstance(error, OSError):
            return _trouble(task, error)
        return Disproved(task, f"{type(error).__name__}: {error}")

    def _look_again(self, task: Proving) -> Result | None:
        if time.monotonic() - task.since > VISIBLE_WITHIN:
            return Disproved(task, "its file never appeared on the SAN", is_absent=True)
        again = replace(task, pause=min(2 * task.pause, SLOWEST_RETRY))
        timer = threading.Timer(task.pause, self._queue.put, (again,))
        timer.daemon = True
        timer.start()
        return None


def _secured(result: Result) -> Result:
    """What was copied is flushed before anybody hears that it is delivered."""
    if isinstance(result, Proved) and result.is_copy:
        try:
            publish.secure(result.task.target)
        except OSError as error:
            return _trouble(result.task, error)
    return result


def _trouble(task: Proving, error: OSError) -> StorageTrouble:
    return StorageTrouble(task, f"{error.strerror}: {error.filename or task.final}")


def prove_and_deliver(task: Proving, reading: Sizes, fence: Callable[[], None]) -> Proved:
    """May be called again after whatever it raises.

    Raises FileNotFoundError, ProofFailed, OSError, or LeaseLost.
    """
    was_taken = False
    try:
        picture, doubt = _prove(task.work, task, reading)
        fence()
        publish.publish(task.work, task.final)
    except FileNotFoundError:
        # A retry after a storage failure may find the page published already.
        picture, doubt = _prove(task.final, task, reading)
    except publish.PageTaken:
        # A coordinator that was taken for dead, or another host's attempt, has published the page
        # before: it counts if it is one.
        was_taken = True
        task.work.unlink(missing_ok=True)
        theirs = replace(task, expected=replace(task.expected, bytes=None, sha256=None))
        picture, doubt = _prove(task.final, theirs, reading)
    try:
        is_copy = publish.deliver(task.final, task.target)
    except FileNotFoundError:
        raise OSError(errno.ENOTDIR, "the output folder is gone", str(task.target)) from None
    return Proved(task, picture, doubt, is_copy, was_taken)


def _prove(path: Path, task: Proving, reading: Sizes) -> tuple[Picture, str]:
    """What the document says of the page's size counts, unless it is damaged and may mislead us."""
    box = reading.box(task.page) if task.expected.is_sized else None
    if box is None:
        return prove(path, task.expected), ""
    try:
        return prove(path, replace(task.expected, box=box)), ""
    except ProofFailed as failed:
        if reading.is_sound() or task.expected.box is None:
            raise
        return prove(path, task.expected), str(failed)
