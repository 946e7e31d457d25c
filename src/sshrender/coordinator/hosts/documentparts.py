"""Provides the document, or parts of it that are cut on demand, for upload to hosts without a SAN.

Shared by the file transfers of all hosts, which wait here in their own threads.
"""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from sshrender.coordinator.jobplan import JobPlan
from sshrender.document import workeranswers
from sshrender.document.readerprocess import ReaderProcess, WorkerFailed
from sshrender.document.splitting import PartsFolder, fed_place
from sshrender.job import iccprofiles

WHOLE_BYTES = 16 << 20
PART_BYTES = 4 << 20
"""Larger documents than the first are copied in parts of about the second: one second at 32 Mbit/s."""

CUT_TIMEOUT = 120.0
"""Seconds to cut one part; after that the whole document is copied."""


class DocumentPartsFailed(Exception):
    """A part cannot be cut; the whole document is copied instead."""


def per_part(plan: JobPlan) -> int:
    """Return the number of pages of a part; 0 if the whole document is copied.

    A document that had to be repaired is copied as a whole.
    """
    size, pages = plan.spec.document.bytes, plan.spec.document.pages
    if plan.spec.settings.split:
        return plan.spec.settings.split
    if size <= WHOLE_BYTES or not plan.reading.is_sound():
        return 0
    # A part has at least one page.
    return max(1, pages * PART_BYTES // size)


class DocumentParts:
    """The parts of one job's document. ``per_part``: pages of each part; 0: the document is one part."""

    def __init__(self, plan: JobPlan) -> None:
        self.per_part = per_part(plan)
        self._plan = plan
        self._lock = threading.Lock()
        # Only for the threads that transfer. ``per_part`` is read without it.
        self._parts: set[int] = set()
        """Parts that this run has cut: a file from before may have been replaced by any machine."""
        self._worker: ReaderProcess | None = None

    def further_files(self) -> list[Path]:
        """Return the files that a renderer needs beside the document: ICC profiles."""
        return [
            self._plan.folder.path / name for name in iccprofiles.names(self._plan.spec.settings.options)
        ]

    def place(self, page: int) -> PartsFolder:
        """Return the file and index of a page, below the host's own folder."""
        return fed_place(page, self.per_part)

    def pages_of(self, file: str) -> int:
        """Return how many pages of the job are in a file."""
        if not self.per_part:
            return len(self._plan.pages)
        return sum(self.place(page).file == file for page in self._plan.pages)

    def fetch(self, page: int) -> tuple[Path, PartsFolder]:
        """Return the file that holds a page, split off first if needed, and the page's place in it.

        Raises DocumentPartsFailed or OSError.
        """
        # Under the lock: two hosts that need the same part wait for one cut.
        with self._lock:
            # Read once, after the wait: another host may have given up the parts meanwhile.
            per_part = self.per_part
            place = fed_place(page, per_part)
            path = self._plan.folder.path / place.file
            part = (page - 1) // per_part if per_part else None
            # The file may have been removed by a user since it was cut.
            if part is not None and not (part in self._parts and _is_file(path)):
                self._cut(part, per_part)
                self._parts.add(part)
        return path, place

    def give_up_parts(self) -> None:
        """Copy the whole document from now on."""
        self.per_part = 0

    def close(self) -> None:
        """Stop the process that cuts."""
        worker = self._worker
        if worker is not None:
            worker.stop()

    def _cut(self, part: int, per_part: int) -> None:
        """Cut one part in the reader process. Needs the lock. Raises DocumentPartsFailed."""
        if self._worker is None:
            self._worker = ReaderProcess()
            self._worker.ask(
                "cut",
                path=str(self._plan.folder.source),
                password=self._plan.request.password,
                folder=str(self._plan.folder.path),
                per_part=per_part,
                total=self._plan.spec.document.pages,
            )
        self._worker.add(part=part)
        try:
            answer = self._worker.answer(CUT_TIMEOUT)
            reason = "it ended early" if answer is None else ""
            if answer is not None and "error" in answer:
                reason = workeranswers.error(answer)[0]
        # A worker that failed once is not asked again.
        except WorkerFailed as failed:
            reason = str(failed)
        if reason:
            self._worker.stop()
            raise DocumentPartsFailed(reason)


def _is_file(path: Path) -> bool:
    """Return whether it is a regular file; a symbolic link may lead to any file of the owner."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
