"""The threads that verify, publish and deliver pages: the only ones that access the SAN for a page.

The loop never does, so that a hanging storage cannot block it. Files of hosts are read by child
processes (job/verification/process.py), one for each thread: a file that makes one of them loop or crash
is a failed page of its host.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.coordinator.workers.pagedelivery import PageDelivery, PageSizes
from sshrender.coordinator.workers.verificationqueue import VerificationQueue
from sshrender.coordinator.workers.verificationresults import (
    RETRY_INTERVAL,
    DocumentGone,
    OutputGone,
    Rejected,
    Result,
    StorageTrouble,
    SyncRefused,
    Unwritable,
    VerificationTask,
    Verified,
    Waits,
)
from sshrender.coordinator.workers.writeerrorscope import SAN, OutputFailed, classify
from sshrender.core.policy import NAME_WAIT
from sshrender.job.documentidentity import DocumentReplaced
from sshrender.job.foldersync import Folders
from sshrender.job.lease import LeaseLost
from sshrender.job.output import publish
from sshrender.job.output.outputclaim import OutputLost
from sshrender.job.verification.errors import Unreadable, VerificationFailed
from sshrender.job.verification.process import Verifications
from sshrender.storage.primitives import VISIBLE_TIMEOUT

THREADS = 2
"""Threads at the start."""

MAX_THREADS = 8
"""Most threads. They are added up to this number while slow pages of some hosts delay others, and up to
the number of processors while pages arrive faster than they are verified."""

BATCH = 16
"""Most pages that are published before they are reported: they are flushed together."""

MAX_RETRY_INTERVAL = 2.0
"""Seconds before a file that is not visible yet is tried again: doubled each time, from RETRY_INTERVAL
to this."""

ANNOUNCE_AFTER = 5.0
"""Seconds after which it is announced that a file is not visible yet: NFS often needs three."""

MAX_TRIES_PER_SECOND = 50
"""Tries for invisible files of one host: each is a request to the file server."""


class Verifier:
    """A small pool of threads.

    ``fence`` raises LeaseLost once another coordinator has the job, and DocumentReplaced if pages may be
    of another document. ``limit``: most bytes of a page.
    """

    def __init__(
        self,
        reading: PageSizes,
        fence: Callable[[], None],
        post: Callable[[Result | SyncRefused | Waits], None],
        limit: int | None = None,
        name_wait: float = NAME_WAIT,
    ) -> None:
        """Start the threads. Raises BlockingIOError if no thread can be started."""
        self._reading = reading
        self._fence = fence
        self._post = post
        self._limit = limit
        self._name_wait = name_wait
        self._folders = Folders(lambda folder, why: post(SyncRefused(folder, why)))
        self._queue: VerificationQueue[VerificationTask] = VerificationQueue()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        for _ in range(THREADS):
            self._add_thread()
        if not self._workers:
            raise BlockingIOError(errno.EAGAIN, "cannot start a thread to verify pages")

    def submit(self, task: VerificationTask) -> None:
        """Queue a page; a Result is posted for it."""
        self._queue.put(task)
        if self._queue.has_backlog():
            # The affinity, not the number of processors: in a container or a batch job these differ.
            self._add_thread(min(MAX_THREADS, len(os.sched_getaffinity(0))))

    @staticmethod
    def trouble() -> str:
        """Return why this machine cannot verify pages now; empty if it can. Callable from any thread."""
        trial = Verifications()
        try:
            trial.start()
        except OSError as error:
            return str(error.strerror)
        finally:
            trial.stop()
        return ""

    def drain(self, timeout: float) -> bool:
        """Wait until a result was posted for every page; return False if that took too long."""
        return self._queue.drain(timeout)

    def stop(self) -> None:
        """End the threads, and the processes that still read files for them."""
        self._queue.close()
        for worker in self._workers:
            worker.cancel()

    def _add_thread(self, most: int = MAX_THREADS) -> None:
        """Add a thread, if one can be started; the others continue in any case."""
        with self._lock:
            if len(self._workers) >= most:
                return
            delivery_of = partial(PageDelivery, self._reading, self._fence, self._limit)
            worker = _Worker(self._queue, self._post, self._folders, self._name_wait, delivery_of)
            name = f"verifier {len(self._workers)}"
            thread = threading.Thread(target=worker.run, args=(self._relieve,), daemon=True, name=name)
            # RuntimeError: the limit of threads. The threads that run continue.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._workers.append(worker)

    def _relieve(self) -> None:
        """Add a thread while a page takes long, if another host's pages wait for it."""
        if self._queue.keeps_a_host_waiting():
            self._add_thread()


class _Worker:
    """The work of one thread. ``delivery_of``: makes what handles its pages; it is given ``on_slow``."""

    def __init__(
        self,
        queue: VerificationQueue[VerificationTask],
        post: Callable[[Result | SyncRefused | Waits], None],
        folders: Folders,
        name_wait: float,
        delivery_of: Callable[[Callable[[], None]], PageDelivery],
    ) -> None:
        self._queue = queue
        self._post = post
        self._folders = folders
        self._name_wait = name_wait
        self._delivery = delivery_of(self._on_slow)
        self._unflushed: list[Verified] = []
        self._relieve: Callable[[], None] = lambda: None

    def run(self, relieve: Callable[[], None]) -> None:
        """Handle tasks until the queue is closed. ``relieve`` is called while a page takes long."""
        self._relieve = relieve
        # None only after close(). Each task that was taken is answered, or queued again.
        while (task := self._queue.take()) is not None:
            result = self._attempt(task)
            # Before the answer: the host's next page may go to another thread now.
            self._queue.done(task)
            if isinstance(result, Verified):
                self._unflushed.append(result)
            elif result is not None:
                self._answer(result)
            # One flush for many pages while they arrive fast, and at once for a single one.
            if len(self._unflushed) >= BATCH or self._queue.is_empty():
                self._flush()
        # Pages that were published and not flushed yet are reported even at the end.
        self._flush()
        self._delivery.stop()

    def cancel(self) -> None:
        """End the process that reads a file for this thread; called by another thread."""
        self._delivery.cancel()

    def _attempt(self, task: VerificationTask) -> Result | None:
        """Return the result of a page; None if its file is not visible yet and it was queued again."""
        try:
            return self._delivery.handle(task)
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            return self._explain(task, error)

    def _explain(self, task: VerificationTask, error: Exception) -> Result | None:
        if isinstance(error, LeaseLost):
            return LeaseGone()
        if isinstance(error, DocumentReplaced):
            return DocumentGone()
        if isinstance(error, OutputLost):
            return OutputGone()
        # Before OSError, because it is a subclass.
        if isinstance(error, FileNotFoundError):
            gone = _missing_folder(task)
            return StorageTrouble(task, gone) if gone else self._try_later(task)
        if isinstance(error, VerificationFailed):
            return Rejected(task, str(error), is_unreadable=isinstance(error, Unreadable))
        if isinstance(error, OSError):
            return self._not_written(task, error)
        # Not the storage's error and not the lease's: a defect here must not be tried for ever.
        return Rejected(task, f"{type(error).__name__}: {error}")

    def _try_later(self, task: VerificationTask) -> Result | None:
        """Queue the page again: the more files of this host are invisible, the later."""
        now = time.monotonic()
        last = task.since + VISIBLE_TIMEOUT
        if now > last:
            return Rejected(task, "its file never appeared in the shared folder", is_absent=True)
        if now - task.since >= ANNOUNCE_AFTER:
            task = self._announce(
                task, f"{SAN}: {task.work}: not visible on this machine yet", last - now
            )
        # The more files wait, the longer: at most MAX_TRIES_PER_SECOND for one host.
        pause = max(task.pause, self._queue.waiting_later(task.host) / MAX_TRIES_PER_SECOND)
        again = replace(task, pause=min(2 * task.pause, MAX_RETRY_INTERVAL))
        # A last try just after the time has passed: a file that came in the last pause is found.
        self._queue.put_later(again, min(now + pause, last + RETRY_INTERVAL))
        return None

    def _not_written(self, task: VerificationTask, error: OSError) -> Result | None:
        """Queue a page again for a while if its name alone cannot be written. None: it was queued."""
        failure = classify(error, task.final, task.target, "page")
        if not failure.is_one_name:
            return StorageTrouble(task, failure.reason)
        now = time.monotonic()
        since = now if task.blocked_since is None else task.blocked_since
        if now - since >= self._name_wait:
            return Unwritable(task, failure.reason)
        task = self._announce(task, failure.reason, self._name_wait)
        again = replace(task, blocked_since=since, pause=min(2 * task.pause, MAX_RETRY_INTERVAL))
        # The last try is at the end of the wait.
        self._queue.put_later(again, min(now + task.pause, since + self._name_wait))
        return None

    def _announce(self, task: VerificationTask, reason: str, seconds: float) -> VerificationTask:
        """Post once that a page waits; return the task that says so."""
        if not task.is_announced:
            self._post(Waits(task, reason, seconds))
        return replace(task, is_announced=True)

    def _answer(self, result: Result) -> None:
        self._post(result)
        self._queue.answered(1)

    def _flush(self) -> None:
        """Flush copies, and both names of each page, before the pages count as delivered."""
        waiting, self._unflushed = self._unflushed, []
        if waiting:
            for result in self._durable(waiting):
                self._answer(result)

    def _durable(self, waiting: list[Verified]) -> list[Result]:
        secured = [found for result in waiting if (found := self._secured(result)) is not None]
        tasks = [result.task for result in secured if isinstance(result, Verified)]
        try:
            # One sync for each folder, however many pages are in it (Folders).
            self._folders.sync(path.parent for task in tasks for path in (task.final, task.target))
        except OSError as error:
            return [
                StorageTrouble(result.task, f"{error.filename}: {error.strerror}")
                # A page that failed before the flush keeps its own result.
                if isinstance(result, Verified)
                else result
                for result in secured
            ]
        return secured

    def _secured(self, result: Verified) -> Result | None:
        task = result.task
        for path in result.copies:
            try:
                publish.secure(path)
            except OSError as error:
                # If pages stay in the job's folder, target and final are the same file.
                is_output = path == task.target != task.final
                return self._not_written(task, OutputFailed.at(path, error) if is_output else error)
        return result

    def _on_slow(self) -> None:
        self._flush()
        self._relieve()


def _missing_folder(task: VerificationTask) -> str:
    """Return which folder of the job a user removed; empty while both are there.

    The job made them before its first page, so no host is to blame, and none can bring them back.
    """
    for folder in (task.final.parent, task.work.parent):
        # Any other error shows when the file is tried again.
        with contextlib.suppress(OSError):
            if not folder.exists():
                return f"{SAN}: {folder}: the folder is gone"
    return ""
