"""The thread that has the document split, while pages of finished parts are rendered already."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sshrender.coordinator.jobplan import JobPlan
from sshrender.core import events as ev
from sshrender.document import workeranswers
from sshrender.document.readerprocess import ReaderProcess, WorkerFailed

PART_TIMEOUT, SPLIT_TIMEOUT = 300.0, 3600.0
"""Seconds for one part and for all; pages without a part are rendered from the whole document."""


@dataclass(frozen=True, slots=True)
class PartsFailed:
    """The document cannot be split."""

    reason: str


class PartSplitter(threading.Thread):
    """Posts PagesReady for each part, or PartsFailed."""

    def __init__(self, plan: JobPlan, post: Callable[[ev.PagesReady | PartsFailed], None]) -> None:
        super().__init__(daemon=True, name="splitter")
        self._plan = plan
        self._post = post

    def run(self) -> None:
        """Split the document in a reader process, and post its progress."""
        plan = self._plan
        # Pages that earlier runs delivered need no part.
        missing = [page for page in plan.pages if page not in plan.history.pages]
        worker = ReaderProcess()
        try:
            worker.ask(
                "split",
                within=SPLIT_TIMEOUT,
                path=str(plan.folder.source),
                password=plan.request.password,
                folder=str(plan.folder.path),
                per_part=plan.spec.settings.split,
                pages=missing,
                total=plan.spec.document.pages,
            )
            # The worker is a process of ours, but it reads a hostile document: pages that it was not
            # asked for are ignored.
            requested = frozenset(missing)
            while (answer := worker.answer(PART_TIMEOUT)) is not None:
                if "error" in answer:
                    self._post(PartsFailed(workeranswers.error(answer)[0]))
                    return
                self._post(ev.PagesReady(workeranswers.ready(answer, requested)))
        except WorkerFailed as failed:
            self._post(PartsFailed(str(failed)))
        finally:
            worker.stop()
