"""``sshrender resume``: see an unfinished job through, from any machine that has the SAN."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import options, streams
from sshrender.config.declaration import Panel
from sshrender.errors import ExitCode, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from sshrender.cli.invocation import Invocation, Resumption
    from sshrender.config.settings import Settings
    from sshrender.job.attributes import Attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.spec import JobSpec


@options.takes_settings("resume", own=Panel.OUTPUT)
def resume(
    job: options.Job,
    given: options.Given,
    from_queue: Annotated[bool, typer.Option("--from-queue", hidden=True)] = False,
    known_dead: Annotated[str, typer.Option("--known-dead", hidden=True)] = "",
) -> None:
    """Continue an unfinished job, from any machine that mounts the shared folder.

    The job keeps its options; options given here replace them.
    """
    from sshrender.cli.invocation import Invocation
    from sshrender.cli.render import has_dashboard

    typed = dict(given.typed)
    folder, spec, attributes = _find(typed, given.config, job)
    typed.setdefault("san", folder.path.parent)
    session = Invocation.start(typed, given.config, wants_json=given.wants_json, job=attributes.wishes)
    order = replace(
        _order(session, folder, spec, attributes), is_from_queue=from_queue, known_dead=known_dead
    )

    def everything() -> int:
        code, summary = session.resume(order)
        return streams.put(summary, code) if given.wants_json else code

    if from_queue or not has_dashboard(session):
        raise typer.Exit(everything())
    from sshrender.cli.foreground import run_in_foreground

    session.reporter.hide_progress()
    raise typer.Exit(run_in_foreground(session, everything, spec.name))


def _find(
    typed: dict[str, Any], config: Path | None, named: str
) -> tuple[JobFolder, JobSpec, Attributes]:
    """The job, as its owner signed it: what stands in it is run. Raises UserError."""
    from sshrender.cli.jobstore import deadline_of, find_job, on_san, san_folder
    from sshrender.config.settings import resolve
    from sshrender.job import attributes
    from sshrender.job.spec import load_signed_spec

    settings: Settings = resolve(typed, config).settings
    san = san_folder(settings)

    def work() -> tuple[JobFolder, JobSpec, Attributes]:
        folder, _ = find_job(san, named)
        spec = load_signed_spec(folder)
        if spec is None or not attributes.is_there(folder):
            raise _incomplete(folder)
        return folder, spec, attributes.load_signed(folder)

    return on_san(san, work, deadline_of(settings))


def _incomplete(folder: JobFolder) -> UserError:
    """Without its attributes a job would run with looser settings than its owner's."""
    missing = folder.attributes.name
    return UserError(
        ExitCode.STORAGE,
        f"{folder.path} has no {missing}: its settings are lost",
        "render or submit the document again: what is rendered stays",
    )


def _order(session: Invocation, folder: JobFolder, spec: JobSpec, attributes: Attributes) -> Resumption:
    """The job lies where it was found, which need not be the SAN of the configuration."""
    from sshrender.cli.invocation import Resumption
    from sshrender.cli.jobstore import on_san
    from sshrender.job import delivery

    output = on_san(session.san, lambda: delivery.place(attributes, folder))
    if output is None and attributes.output and session.settings.output is None:
        where = f"{attributes.output} is a folder of {attributes.output_host}"
        session.reporter.remark(
            f"{spec.name}: {where}; its pages stay in {folder.pages}, and resume there, or with -o DIR,"
            " delivers them"
        )
    return Resumption(folder, spec, output)
