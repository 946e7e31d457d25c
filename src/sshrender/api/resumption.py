"""Finds an existing job and prepares its next run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshrender.api.jobs import deadline_of, find_job, on_san, require_own, san_folder
from sshrender.api.runcontext import Resumption, RunContext
from sshrender.config.settings import resolve
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.output import outputlocation
from sshrender.job.signature import Unsigned
from sshrender.job.spec import JobSpec, load_signed_spec


@dataclass(frozen=True, slots=True)
class UnfinishedJob:
    """A job whose files carry its owner's signature."""

    folder: JobFolder
    spec: JobSpec
    attributes: Attributes


def find_unfinished(typed: Mapping[str, Any], config: Path | None, named: str) -> UnfinishedJob:
    """Return the job that the user names. Raises UserError.

    Its files must be signed by its owner: recipes in them are commands that will run.
    """
    # Settings decide where jobs are looked for; the job's own settings are read once it is found.
    settings = resolve(dict(typed), config).settings
    san = san_folder(settings)

    def work() -> UnfinishedJob:
        folder, _ = find_job(san, named)
        try:
            spec = load_signed_spec(folder)
        except Unsigned:
            # The key of another user must not replace this user's own.
            require_own(folder, "resume")
            raise
        # Both signatures are required: attributes hold settings that become commands.
        if spec is None or not jobattributes.is_there(folder):
            raise _incomplete(folder)
        return UnfinishedJob(folder, spec, jobattributes.load_signed(folder))

    return on_san(san, work, deadline_of(settings))


def _incomplete(folder: JobFolder) -> UserError:
    """Return the error of a job without attributes: defaults may be looser than its owner's settings."""
    missing = folder.attributes.name
    return UserError(
        ExitCode.STORAGE,
        f"{folder.path} has no {missing}: its settings are lost",
        "render or submit the document again: finished pages are kept",
    )


def resumption_of(
    context: RunContext, job: UnfinishedJob, *, is_from_queue: bool = False, known_dead: str = ""
) -> Resumption:
    """Return what ``RunContext.resume`` needs. Raises UserError.

    ``context.san`` must be the folder in which the job was found, which may differ from the configured
    one. See Resumption for the rest.
    """
    # The output folder is looked for on this machine: its marker tells whether it is the same one.
    found = job.attributes
    output = on_san(context.san, lambda: outputlocation.place(found, job.folder))
    # Not an error: a run on another machine can still complete the job in its folder.
    if output is None and found.output and context.settings.output is None:
        where = f"{found.output} is a folder of {found.output_host}"
        context.listener.print_line(
            f"{job.spec.name}: {where}; its pages stay in {job.folder.pages};"
            " to deliver them, resume the job there, or with -o DIR"
        )
    return Resumption(job.folder, job.spec, output, is_from_queue, known_dead)
