"""What hosts without a SAN are fed: the document, or the parts that hold their pages, cut on demand.

Shared by all feeders of a job; each waits here in a thread of its own.
"""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from sshrender.coordinator.plan import JobPlan
from sshrender.document import workeranswers
from sshrender.document.readerprocess import ReaderProcess, WorkerFailed
from sshrender.document.splitting import PartsFolder, fed_place

WHOLE_BYTES = 16 << 20
PART_BYTES = 4 << 20
"""Documents above the first are fed in parts of about the second: a second on a line of 32 Mbit/s."""

CUT_TIMEOUT = 120.0
"""Seconds for one part; after that the whole document is fed."""


class DocumentPartsFailed(Exception):
    """A part cannot be cut; the whole document is fed instead."""


def per_part(plan: JobPlan) -> int:
    """Pages of a part; 0 where the whole document is fed. What pypdf had to repair is not cut."""
    size, pages = plan.spec.document.bytes, plan.spec.document.pages
    if plan.spec.settings.split:
        return plan.spec.settings.split
    if size <= WHOLE_BYTES or not plan.reading.is_sound():
        return 0
    return max(1, pages * PART_BYTES // size)


class DocumentParts:
    """``per_part``: pages of each part, 0 for the document itself."""

    def __init__(self, plan: JobPlan) -> None:
        self.per_part = per_part(plan)
        self._plan = plan
        self._lock = threading.Lock()
        self._parts: set[int] = set()
        """What this run cut: any host of the owner's may have laid another file there before."""
        self._worker: ReaderProcess | None = None

    def place(self, page: int) -> PartsFolder:
        """Where a host that is fed finds a page, below its own folder."""
        return fed_place(page, self.per_part)

    def pages_of(self, file: str) -> int:
        """How many pages of the job are in a file that is fed."""
        if not self.per_part:
            return len(self._plan.pages)
        return sum(self.place(page).file == file for page in self._plan.pages)

    def fetch(self, page: int) -> Path:
        """The file that holds a page, once it is there. Raises LarderFailed or OSError."""
        path = self._plan.folder.path / self.place(page).file
        with self._lock:
            part = (page - 1) // self.per_part if self.per_part else None
            if part is not None and not (part in self._parts and _is_file(path)):
                self._cut(part)
                self._parts.add(part)
        return path

    def give_up_parts(self) -> None:
        """From now on the whole document is fed."""
        self.per_part = 0

    def close(self) -> None:
        """End the process that cuts."""
        worker = self._worker
        if worker is not None:
            worker.stop()

    def _cut(self, part: int) -> None:
        """Needs the lock."""
        if self._worker is None:
            self._worker = ReaderProcess()
            self._worker.ask(
                "cut",
                path=str(self._plan.folder.source),
                password=self._plan.password,
                folder=str(self._plan.folder.path),
                per_part=self.per_part,
            )
        self._worker.add(part=part)
        try:
            answer = self._worker.answer(CUT_TIMEOUT)
            reason = "it ended early" if answer is None else ""
            if answer is not None and "error" in answer:
                reason = workeranswers.error(answer)[0]
        except WorkerFailed as failed:
            reason = str(failed)
        if reason:
            self._worker.stop()
            raise DocumentPartsFailed(reason)


def _is_file(path: Path) -> bool:
    """A symbolic link is none: it may lead to any file of the owner's."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
