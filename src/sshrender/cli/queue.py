"""``hold``, ``release``, ``cancel``, ``resubmit`` and ``alter``: a job's place in the queue."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import complete, options
from sshrender.cli.submit import After, NotBefore, moment_of
from sshrender.errors import ExitCode, UserError

if TYPE_CHECKING:
    from sshrender.config.settings import Settings

Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Jobs' names, unique beginnings of them, or their folders.",
        autocompletion=complete.jobs,
    ),
]


def hold(
    context: typer.Context,
    job: Jobs,
    note: Annotated[str, typer.Option("--note", help="Why, for others.", metavar="TEXT")] = "",
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Hand out no more pages of a job, running or not, until it is released."""
    _change(_settings(context, config), job, "hold", "held", note=note)


def release(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Let a job go on that is held."""
    _change(_settings(context, config), job, "release", "released")


def cancel(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Call a job off, running or not. Its pages stay; resubmit, resume and render take it up again."""
    _change(_settings(context, config), job, "cancel", "cancelled")


def resubmit(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Put a job that is over back into the queue: what has failed is tried again."""
    _change(_settings(context, config), job, "resubmit", "queued again")


def alter(
    context: typer.Context,
    job: Jobs,
    priority: options.Priority = None,
    limit: Annotated[
        str | None, typer.Option("--limit", help="Slots at once; none: any number.", metavar="N")
    ] = None,
    after: After = None,
    not_before: NotBefore = None,
    output: options.Output = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Change a job's place in the queue, running or not.

    An empty text takes what --after or --not-before said away.
    """
    from sshrender.cli.jobs import san_folder

    typed = {key: value for key, value in options.typed(context).items() if key != "limit"}
    settings = _resolved(typed, config)
    changes: dict[str, Any] = {}
    if priority is not None:
        changes["priority"] = settings.priority
    if limit is not None:
        changes["limit"] = None if limit == "none" else _resolved({"limit": limit}, config).limit
    if not_before is not None:
        changes["not_before"] = moment_of(not_before)
    if after is not None:
        changes["after"] = [_name(settings, each) for each in after if each]
    if output is not None:
        changes |= _marked(output.absolute(), san_folder(settings))
    if not changes:
        raise UserError(ExitCode.USAGE, "nothing is to be changed", "sshrender alter --help")
    _change(settings, job, "alter", "altered", changes=changes)


def _marked(output: Path, san: Path) -> dict[str, Any]:
    """Where to deliver from now on, so that other machines know the folder. Raises UserError."""
    from sshrender.coordinator.opening import output_error
    from sshrender.job import delivery

    try:
        return delivery.told(output, san, "" if output.is_relative_to(san) else delivery.mark(output))
    except OSError as error:
        raise output_error(error, output) from None


def _settings(context: typer.Context, config: Path | None) -> Settings:
    return _resolved(options.typed(context), config)


def _resolved(typed: dict[str, Any], config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(typed, config).settings


def _name(settings: Settings, named: str) -> str:
    from sshrender.cli.jobs import find_job, on_san, san_folder

    san = san_folder(settings)
    return on_san(san, lambda: find_job(san, named))[0].name


def _change(settings: Settings, jobs: list[str], op: str, done: str, **fields: Any) -> None:
    """All of them are found before any is changed. Raises UserError."""
    from sshrender.cli.jobs import find_job, on_san, san_folder, whoami
    from sshrender.job import standing
    from sshrender.job.requests import Request

    san = san_folder(settings)
    folders = [on_san(san, partial(find_job, san, job))[0] for job in jobs]
    request = Request(op, whoami(), **fields)
    for folder in folders:
        try:
            on_san(san, partial(standing.change, folder, request))
        except standing.NotHeard:
            raise UserError(
                ExitCode.LEASE,
                f"whoever coordinates {folder.name} takes no requests",
                f"sshrender status {folder.name} tells who it is; is the SAN well there?",
            ) from None
        print(f"{folder.name} {done}", file=sys.stderr)
