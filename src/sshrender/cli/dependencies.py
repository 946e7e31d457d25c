"""What a job of the queue waits for: ``--after`` and ``--not-before``, for ``submit`` and ``alter``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import completion
from sshrender.errors import ExitCode, UserError

After = Annotated[
    list[str] | None,
    typer.Option(
        "--after",
        help="Only once this job is over. May be repeated.",
        metavar="JOB",
        autocompletion=completion.jobs,
    ),
]
NotBefore = Annotated[
    str | None,
    typer.Option("--not-before", help="22:30, 2026-01-31 22:30, or 2h from now.", metavar="TIME"),
]


def moment_of(text: str | None) -> str:
    """A moment as the user writes it, as jobs have it; empty for none. Raises UserError."""
    from sshrender.config import times
    from sshrender.job.journalformat import timestamp

    if not text:
        return ""
    try:
        return timestamp(times.parse(text, datetime.now().astimezone()).timestamp())
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--not-before {text}: {error}", "as in 22:30 or 2h") from None


def names_of(san: Path, jobs: Iterable[str]) -> list[str]:
    """Of the jobs that a user names; an empty text names none. Raises UserError."""
    from sshrender.cli.jobstore import find_job, on_san

    return [on_san(san, partial(find_job, san, job))[0].name for job in jobs if job]


def refuse_circle(san: Path, name: str, after: Iterable[str]) -> None:
    """Raises UserError where a job that comes after these would come after itself."""
    from sshrender.cli.jobstore import all_jobs, if_readable, on_san
    from sshrender.core import jobqueue
    from sshrender.job import attributes

    def known() -> dict[str, tuple[str, ...]]:
        found = {}
        for folder, _ in all_jobs(san):
            wanted = if_readable(san, partial(attributes.load_or_none, folder))
            if wanted is not None and not wanted.over:
                found[folder.name] = wanted.after
        return found

    wanted = tuple(after)
    circle = jobqueue.circle(name, wanted, on_san(san, known)) if wanted else ()
    if circle:
        raise UserError(
            ExitCode.USAGE,
            f"{' would come after '.join(circle)}: none of them would ever begin",
            f"sshrender alter {circle[1]} --after '' takes that away",
        )
