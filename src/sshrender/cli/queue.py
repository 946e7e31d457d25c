"""``hold``, ``release``, ``cancel``, ``resubmit`` and ``alter``: a job's place in the queue."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import completion, options
from sshrender.cli.dependencies import After, NotBefore, moment_of, names_of, refuse_circle
from sshrender.errors import ExitCode, UserError
from sshrender.job.operations import Operation
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.job.attributes import Attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.spec import JobSpec

Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Jobs' names, unique beginnings of them, or their folders.",
        autocompletion=completion.jobs,
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
    _change(_settings(context, config), job, Operation.HOLD, "held", note=note)


def release(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Let a job go on that is held."""
    _change(_settings(context, config), job, Operation.RELEASE, "released")


def cancel(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Call a job off, running or not. Its pages stay; resubmit, resume and render take it up again."""
    _change(_settings(context, config), job, Operation.CANCEL, "cancelled")


def resubmit(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Put a job that is over back into the queue: what has failed is tried again."""
    _change(_settings(context, config), job, Operation.RESUBMIT, "queued again")


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

    An empty text takes what --after or --not-before said away. Of several jobs, each gets a folder of
    its own in the one that --output names.
    """
    from sshrender.cli.invocation import output_of
    from sshrender.cli.jobstore import san_folder

    typed = options.typed(context)  # what a variable says is for new jobs
    limit_ = typed.pop("limit", None)
    settings = _resolved(typed, config)
    place = san_folder(settings)
    changes: dict[str, Any] = {}
    if "priority" in typed:
        changes["priority"] = settings.priority
    if limit_ is not None:
        changes["limit"] = None if limit_ == "none" else _resolved({"limit": limit_}, config).limit
    if not_before is not None:
        changes["not_before"] = moment_of(not_before)
    if after is not None:
        changes["after"] = names_of(place, after)
    goes_to: Path | None = typed.get("output")
    if not changes and goes_to is None:
        raise UserError(ExitCode.USAGE, "nothing is to be changed", "sshrender alter --help")

    def for_each(folder: JobFolder, spec: JobSpec) -> dict[str, Any]:
        refuse_circle(place, folder.name, changes.get("after", ()))
        if goes_to is None:
            return changes
        return changes | _marked(output_of(goes_to, Path(spec.document.name), len(job) == 1), place)

    _change(settings, job, Operation.ALTER, "altered", changes=for_each)


def _marked(output: Path, san: Path) -> dict[str, Any]:
    """Where to deliver from now on, so that other machines know the folder. Raises UserError."""
    from sshrender.cli.jobstore import mark
    from sshrender.job import delivery

    return delivery.recorded(output, san, "" if output.is_relative_to(san) else mark(output))


def _settings(context: typer.Context, config: Path | None) -> Settings:
    return _resolved(options.typed(context), config)


def _resolved(typed: dict[str, Any], config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(typed, config).settings


def _change(
    settings: Settings,
    jobs: list[str],
    op: Operation,
    done: str,
    note: str = "",
    changes: Callable[[JobFolder, JobSpec], dict[str, Any]] = lambda folder, spec: {},
) -> None:
    """All of them are found, and what changes is known, before any is changed. Raises UserError."""
    from sshrender.cli.jobstore import on_san, san_folder, whoami
    from sshrender.job import attributes, queueoperations
    from sshrender.job.requests import Request

    san = san_folder(settings)
    found = [on_san(san, partial(_find, san, job, op)) for job in jobs]
    requests = [Request(op, whoami(), note=note, changes=changes(*each)) for each in found]
    for (folder, _), request in zip(found, requests, strict=True):
        before = on_san(san, partial(attributes.load_or_none, folder))
        try:
            on_san(san, partial(queueoperations.change, folder, request))
        except queueoperations.NotHeard:
            raise UserError(
                ExitCode.LEASE,
                f"whoever coordinates {folder.name} takes no requests",
                f"sshrender status {shlex.quote(folder.name)} tells who it is; is the SAN well there?",
            ) from None
        output.note(f"{folder.name} {_no_need(op, before) or done}")


def _find(san: Path, named: str, op: Operation) -> tuple[JobFolder, JobSpec]:
    """A job of this user's: what others write into its folder, its coordinator could not read.

    Raises UserError or OSError.
    """
    from sshrender.cli.jobstore import find_job
    from sshrender.job.spec import require_signed_spec

    folder, spec = find_job(san, named)
    owner = folder.path.stat().st_uid
    if owner != _user_in(folder.path):
        name = _name_of(owner)
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.name} is a job of {name}'s",
            f"sudo -u {shlex.quote(name)} sshrender {op} {shlex.quote(folder.name)}",
        )
    require_signed_spec(folder)
    return folder, spec


def _user_in(folder: Path) -> int:
    """Whose files would be that we made there; who we are, where we may make none. Raises OSError."""
    from sshrender.files import user_in

    try:
        return user_in(folder)
    except PermissionError:
        return os.geteuid()


def _name_of(user: int) -> str:
    """As sudo(8) knows him."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


def _no_need(op: Operation, found: Attributes | None) -> str:
    """Why nothing has changed; empty where something has."""
    if found is not None and op is Operation.CANCEL and found.over:
        return f"is over already: {found.over}"
    if found is not None and op is Operation.RELEASE and not found.held:
        return "was not held"
    return ""
