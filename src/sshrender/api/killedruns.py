"""Records the end of runs whose process was killed by the user, and could not record it.

Otherwise such a run would look like one whose machine has died, and the queue would continue the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from sshrender.api.jobs import current_user, on_san
from sshrender.errors import UserError
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import RunEnded
from sshrender.job.queue import queueoperations
from sshrender.job.spec import load_spec
from sshrender.job.status import jobstatus


def record_end_by_hand(folders: Iterable[Path]) -> list[str]:
    """Record the end of each job whose process ended without releasing it; return what failed.

    The lease is released. After that the queue does not continue a job that ``render`` made, and a
    submitted job waits in the queue again.
    """
    problems = []
    for path in folders:
        folder = JobFolder(path)
        try:
            on_san(path.parent, partial(_record_end, folder))
        except UserError as error:
            problems.append(f"{folder.name}: the end of its run could not be recorded: {error.what}")
    return problems


def _record_end(folder: JobFolder) -> None:
    """Record the end of one job, if its process is gone. Raises UserError or OSError."""
    observer = lease.Observer(folder.lease)
    # was_given_back: the process itself has released the lease, and so has recorded its end.
    if observer.holder() is not None or observer.was_given_back():
        return  # another process runs it, or its own did record the end
    spec = load_spec(folder)
    if spec is None:
        return
    try:
        # The lease is taken before the journal is read, so no other process writes in between.
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return
    try:
        found = jobattributes.load_or_none(folder)
        report = jobstatus.of(folder, spec, read_journal(folder.journal), None, found)
        # Without an open run the process had not begun, or has recorded its end.
        if report.has_open_run:
            # As a run that ends by itself: partial with some pages, failed without any.
            state = "partial" if report.pages["done"] + report.pages["suspect"] else "failed"
            reason = f"stopped at once by {current_user()}"
            queueoperations.record(folder, RunEnded(state=state, reason=reason))
    finally:
        held.release()
