"""``hold``, ``release``, ``cancel``, ``resubmit`` and ``alter``: change jobs of the queue."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import completion, jsonresult, options
from sshrender.cli.queueoptions import NewAfter, NewNotBefore
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint as printed

if TYPE_CHECKING:
    from sshrender.api.jobchanges import Changed
    from sshrender.config.settings import Settings

Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB",
        help="Names, unique prefixes or folders of jobs.",
        autocompletion=completion.jobs,
    ),
]


def hold(
    context: typer.Context,
    job: Jobs,
    note: Annotated[
        str, typer.Option("--note", help="Reason, shown to other users.", metavar="TEXT")
    ] = "",
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Pause a job. Pages that are being rendered are finished."""
    from sshrender.api import jobchanges
    from sshrender.api.jobs import san_folder

    done = _Changes("held", json_)
    settings = _resolved(options.typed(context), config)
    jobchanges.hold(san_folder(settings), job, note, done.add, settings)
    done.end()


def release(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Let a held job continue."""
    from sshrender.api import jobchanges

    done = _Changes("released", json_)
    jobchanges.release(_san(context, config), job, on_changed=done.add)
    done.end()


def cancel(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Stop a job. Finished pages stay; resubmit, resume and render continue it."""
    from sshrender.api import jobchanges
    from sshrender.api.jobs import san_folder

    done = _Changes("cancelled", json_)
    settings = _resolved(options.typed(context), config)
    jobchanges.cancel(san_folder(settings), job, done.add, settings)
    done.end()


def resubmit(
    context: typer.Context,
    job: Jobs,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Put a finished job back into the queue. Failed pages are tried again."""
    from sshrender.api import jobchanges

    done = _Changes("queued again", json_)
    jobchanges.resubmit(_san(context, config), job, on_changed=done.add)
    done.end()


def alter(
    context: typer.Context,
    job: Jobs,
    priority: options.Priority = None,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit",
            help="At most N pages at a time; none removes the limit. [default: unchanged]",
            metavar="N",
        ),
    ] = None,
    after: NewAfter = None,
    not_before: NewNotBefore = None,
    output: options.Output = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Change priority, limit, start conditions or output folder of a job, running or not.

    --after '' and --not-before '' remove the condition. With several jobs, each gets its own folder
    inside that of --output.
    """
    from sshrender.api import jobchanges
    from sshrender.api.dependencies import job_names_of, start_time
    from sshrender.api.jobs import san_folder

    # A variable (SSHRENDER_PRIORITY) is meant for new jobs: only typed options count here.
    typed = options.typed(context)
    # "none" is no value of the setting, so the option is handled apart.
    limit_ = typed.pop("limit", None)
    settings = _resolved(typed, config)
    place = san_folder(settings)
    changes: dict[str, Any] = {}
    if "priority" in typed:
        changes["priority"] = settings.priority
    if limit_ is not None:
        # Checked by the setting's own declaration, so that its error is the same.
        changes["limit"] = None if limit_ == "none" else _resolved({"limit": limit_}, config).limit
    if not_before is not None:
        changes["not_before"] = start_time(not_before)
    if after is not None:
        changes["after"] = job_names_of(place, after)
    goes_to: Path | None = typed.get("output")
    if not changes and goes_to is None:
        raise UserError(ExitCode.USAGE, "no change is given", "sshrender alter --help")
    done = _Changes("altered", json_)
    jobchanges.alter(place, job, changes, goes_to, on_changed=done.add)
    done.end()


def _san(context: typer.Context, config: Path | None) -> Path:
    from sshrender.api.jobs import san_folder

    return san_folder(_resolved(options.typed(context), config))


def _resolved(typed: dict[str, Any], config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(typed, config).settings


@dataclass(slots=True)
class _Changes:
    """Reports each job as soon as it has changed: an error at a later one does not undo it."""

    done: str
    wants_json: bool
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The list itself is noted: it grows with each job, and an error shows it as it is then.
        jsonresult.know(jobs=self.jobs)

    def add(self, changed: Changed) -> None:
        """Say what has happened to a job."""
        result = changed.no_need or self.done
        entry = {"job": changed.job, "changed": not changed.no_need, "result": result}
        if changed.left:
            entry["pilots"] = [asdict(each) for each in changed.left]
        self.jobs.append(entry)
        # Each job is reported at once, because the next one may fail.
        printed.note(f"{changed.job} {result}")
        for left in changed.left:
            printed.note(left.in_words())

    def end(self) -> None:
        """End the command, after the last job."""
        if self.wants_json:
            raise typer.Exit(jsonresult.put({"jobs": self.jobs}))
