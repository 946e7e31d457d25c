"""Options that ``submit`` and ``alter`` share: what a job of the queue waits for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sshrender.cli import completion


def _after(default: str) -> Any:
    return typer.Option(
        "--after",
        help=f"Start only after this job has ended. May be repeated. [default: {default}]",
        metavar="JOB",
        autocompletion=completion.jobs,
    )


def _not_before(default: str) -> Any:
    help_ = "Start only after this time: 22:30, 2026-01-31 22:30, or 2h from now."
    return typer.Option(
        "--not-before",
        help=f"{help_} [default: {default}]",
        metavar="TIME",
    )


After = Annotated[list[str] | None, _after("no job")]
NotBefore = Annotated[str | None, _not_before("now")]

# The same options of a command that changes a job.
NewAfter = Annotated[list[str] | None, _after("unchanged")]
NewNotBefore = Annotated[str | None, _not_before("unchanged")]
