"""The start conditions of a job in the queue: other jobs, and a time of day.

``submit`` and ``alter`` turn the user's text into these values. The dispatcher reads them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path

from sshrender.api.jobs import all_jobs, find_job, if_readable, on_san
from sshrender.config import times
from sshrender.core import queueorder
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.journal.journalformat import timestamp


def start_time(text: str | None) -> str:
    """Return the user's time in the form that jobs store; empty for none. Raises UserError."""
    if not text:
        return ""
    try:
        # The moment of the command counts, in the time zone of the user: 22:30 is the next one on this
        # clock. A zone of today's offset would be wrong after a change of summer time.
        now = datetime.now()  # noqa: DTZ005 - local time, whose rules the system knows
        return timestamp(times.parse(text, now).timestamp())
    except ValueError as error:
        raise UserError(
            ExitCode.USAGE,
            f"--not-before {text}: {error}",
            "--not-before 22:30, --not-before '2026-01-31 22:30' or --not-before 2h",
        ) from None


def job_names_of(san: Path, jobs: Iterable[str]) -> list[str]:
    """Return the full names of the jobs that the user names; skip empty texts. Raises UserError."""
    # ``alter --after ''`` gives one empty text, which removes the condition.
    return [on_san(san, partial(find_job, san, job))[0].name for job in jobs if job]


def refuse_circle(san: Path, name: str, after: Iterable[str]) -> None:
    """Raise UserError if job ``name`` would wait for itself when it waits for the jobs ``after``."""

    def known() -> dict[str, tuple[str, ...]]:
        found = {}
        for folder, _ in all_jobs(san):
            # A job that cannot be read cannot wait for anything, and must not hide a circle of others.
            job = if_readable(san, partial(jobattributes.load_or_none, folder))
            # A finished job starts nothing: its own conditions are fulfilled or void.
            if job is not None and not job.over:
                found[folder.name] = job.after
        return found

    after = tuple(after)
    if name in after:
        raise UserError(
            ExitCode.USAGE, f"{name} cannot wait for itself", "name another job with --after"
        )
    # Only the new edges can close a circle, so nothing is read if there are none.
    circle = queueorder.circle(name, after, on_san(san, known)) if after else ()
    if circle:
        raise UserError(
            ExitCode.USAGE,
            f"{' waits for '.join(circle)}: none of them would ever start",
            f"sshrender alter {shlex.quote(circle[1])} --after ''",
        )
