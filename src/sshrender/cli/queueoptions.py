"""Options that ``submit`` and ``alter`` share: what a job of the queue waits for."""

from __future__ import annotations

from typing import Annotated

import typer

from sshrender.cli import completion

After = Annotated[
    list[str] | None,
    typer.Option(
        "--after",
        help="Start only after this job has ended. May be repeated.",
        metavar="JOB",
        autocompletion=completion.jobs,
    ),
]
NotBefore = Annotated[
    str | None,
    typer.Option(
        "--not-before",
        help="Start only after this time: 22:30, 2026-01-31 22:30, or 2h from now.",
        metavar="TIME",
    ),
]
