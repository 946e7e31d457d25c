"""Copies files to and from one host without a SAN, over the connection that it has.

Two threads, one for each direction, so that a long upload delays no page. A page is requested when its
part of the document has arrived; until then the attempt can be cancelled here.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshrender.coordinator.hosts.connection import HostConnection, LinkFailed
from sshrender.coordinator.hosts.documentparts import DocumentParts, DocumentPartsFailed
from sshrender.coordinator.workers import verificationresults as vf
from sshrender.document.splitting import SOURCE
from sshrender.transports.interface import FilesFailed, HostFiles, LinkClosed, Refusal

ANSWER_TIMEOUT = 30.0
"""Seconds for one answer of the other end; missing heartbeats show sooner that it is gone."""


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """A rendered page did not arrive: the connection was closed, or the host did not send it."""

    task: vf.VerificationTask
    reason: str


@dataclass(frozen=True, slots=True)
class TransferDone:
    """A rendered page has arrived and can be verified."""

    task: vf.VerificationTask


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for a page, without the file and index, which are known when the part has arrived."""

    page: int
    attempt: str
    output: str
    recipe: int | None


class FileTransfer:
    """Transfers files between the SAN and one host. All methods return at once.

    ``largest``: most bytes of a page.
    """

    def __init__(
        self,
        link: HostConnection,
        document_parts: DocumentParts,
        largest: int,
        post: Callable[[Any], None],
    ) -> None:
        self._link = link
        self._largest = largest
        self._document_parts = document_parts
        self._post = post
        self._folder = ""
        self._lock = threading.Lock()
        # Closed: the loop asked for the end. Ended: the thread for downloads has left, and nothing
        # takes tasks any more.
        self._is_closed = self._has_ended = False
        self._dropped: set[str] = set()
        self._waiting: dict[str, _Request] = {}
        self._staged: set[str] = set()
        self._staging_seconds: dict[str, float] = {}
        self._transfer_seconds: dict[str, float] = {}
        self._uploads: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._downloads: queue.SimpleQueue[vf.VerificationTask | None] = queue.SimpleQueue()

    def begin(self, folder: str) -> None:
        """Start the transfers with the host, which works in ``folder``."""
        self._folder = folder
        for work in (self._upload, self._download_all):
            name = f"transfer {self._link.host}"
            threading.Thread(target=self._guarded, args=(work,), daemon=True, name=name).start()

    def render(self, page: int, attempt: str, output: str, recipe: int | None) -> None:
        """Request a page as soon as its part of the document is on the host."""
        request = _Request(page, attempt, output, recipe)
        with self._lock:
            self._waiting[attempt] = request
        self._uploads.put(request)

    def cancel(self, attempt: str) -> bool:
        """Cancel an attempt that was not sent yet; return False if the host has it."""
        with self._lock:
            return self._waiting.pop(attempt, None) is not None

    def fetch(self, task: vf.VerificationTask) -> None:
        """Copy a rendered page here; answered by TransferDone, TransferFailed or StorageTrouble."""
        with self._lock:
            # Under the lock, as _abandon() sets the flag and then empties the queue: a task is either
            # put before that, or reported here.
            if not self._has_ended:
                self._downloads.put(task)
                return
        self._report_lost(task)

    def drop(self, attempt: str) -> None:
        """Do not copy the page of this attempt any more."""
        with self._lock:
            self._dropped.add(attempt)

    def transfer_seconds(self, attempt: str) -> float:
        """Return the seconds on the wire of a copied page and its share of the document."""
        return self._transfer_seconds.pop(attempt, 0.0)

    def close(self) -> None:
        """Stop the transfers: the connection is closed."""
        with self._lock:
            self._is_closed = True
        # None ends a thread that waits in get().
        self._uploads.put(None)
        self._downloads.put(None)

    def _guarded(self, work: Callable[[HostFiles], None]) -> None:
        """Run one of the threads; report whatever fails as the end of the connection."""
        files: HostFiles | None = None
        try:
            files = self._link.files(ANSWER_TIMEOUT)
            work(files)
        except (FilesFailed, DocumentPartsFailed, LinkClosed, OSError) as failed:
            self._post(LinkFailed(self._link, Refusal.FILES, str(failed)))
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            self._post(LinkFailed(self._link, Refusal.PROTOCOL, f"{type(error).__name__}: {error}"))
        finally:
            if files is not None:
                files.close()
            # Whatever ended it, the tasks that wait must be answered.
            if work == self._download_all:
                self._abandon()

    # To the host

    def _upload(self, files: HostFiles) -> None:
        # Once for each connection: the host's folder is new.
        for path in self._document_parts.further_files():
            files.put(path, f"{self._folder}/{path.name}")
        while (request := self._uploads.get()) is not None:
            place = self._document_parts.place(request.page)
            if place.file not in self._staged:
                place = self._stage(request.page, files)
            # The test and the removal are one step: after it cancel() says that the host has the
            # attempt.
            with self._lock:
                if self._is_closed:
                    return
                is_needed = self._waiting.pop(request.attempt, None) is not None
            if is_needed:
                self._link.send(
                    "render",
                    attempt=request.attempt,
                    page=request.page,
                    file=place.file,
                    index=place.index,
                    output=request.output,
                    recipe=request.recipe,
                )

    def _stage(self, page: int, files: HostFiles) -> Any:
        """Copy the part that holds this page to the host; return where the page is in it."""
        try:
            source, place = self._document_parts.fetch(page)
        except DocumentPartsFailed:
            self._document_parts.give_up_parts()
            # The second answer is the whole document, so it raises no DocumentPartsFailed.
            source, place = self._document_parts.fetch(page)
        if place.file not in self._staged:
            began = time.monotonic()
            files.put(source, f"{self._folder}/{place.file}")
            self._staged.add(place.file)
            # The whole document is copied once: its time is not a forecast for the next page.
            if place.file != SOURCE:
                seconds = time.monotonic() - began
                self._staging_seconds[place.file] = seconds / max(
                    1, self._document_parts.pages_of(place.file)
                )
        return place

    # Back

    def _download_all(self, files: HostFiles) -> None:
        while (task := self._downloads.get()) is not None:
            # Closed: the other end may be gone, so what is left is reported, not copied.
            with self._lock:
                is_needed = task.attempt not in self._dropped and not self._is_closed
            if not is_needed or self._download(task, files):
                # The host deletes the page only when its copy is on the disk here (fsync in _write).
                self._link.send("discard", outputs=[task.work.name])

    def _download(self, task: vf.VerificationTask, files: HostFiles) -> bool:
        """Copy one page; return whether the host may delete it.

        If it cannot be written here, it stays there and is copied again later.
        """
        began = time.monotonic()
        size = task.expected.bytes or 0
        if size > self._largest:
            self._post(TransferFailed(task, f"its size is reported as {size} bytes"))
            return True
        try:
            _write(
                task.work,
                lambda target: files.get(f"{self._folder}/work/{task.work.name}", size, target),
            )
        except FileNotFoundError:
            self._post(TransferFailed(task, "its file does not exist on the host"))
            return True
        except OSError as error:
            self._post(vf.StorageTrouble(task, f"{error.strerror}: {error.filename or task.work}"))
            return False
        except FilesFailed as failed:
            self._post(TransferFailed(task, str(failed)))
            # Raised again: the channel is of no use after that.
            raise
        staging = self._staging_seconds.get(self._document_parts.place(task.page).file, 0.0)
        self._transfer_seconds[task.attempt] = time.monotonic() - began + staging
        self._post(TransferDone(task))
        return True

    def _abandon(self) -> None:
        """Report all pages that were not copied when the connection ended."""
        with self._lock:
            self._has_ended = True
        while not self._downloads.empty():
            task = self._downloads.get()
            if task is not None:
                self._report_lost(task)

    def _report_lost(self, task: vf.VerificationTask) -> None:
        self._post(TransferFailed(task, "the connection to its host was closed before it arrived"))


def _write(path: Path, fill: Callable[[Any], None]) -> None:
    """Write a file that exists whole or, after an error, not at all."""
    path.unlink(missing_ok=True)  # left by an earlier attempt to copy it
    # O_EXCL and O_NOFOLLOW: a host that mounts the folder could put a link there, and have another
    # file of the user overwritten.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fill(file)
            file.flush()
            # The scheduler is told that the page is here, and the host deletes its own: a crash must
            # not lose both.
            os.fsync(file.fileno())
    # BaseException: an incomplete file must not stay in any case.
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
