"""``sshrender drain``, ``undrain`` and ``move``: take hosts out of use, and move pages to a host."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import completion, options, repeatedoptions
from sshrender.errors import ExitCode, UserError
from sshrender.views import output
from sshrender.views.text import count

if TYPE_CHECKING:
    from sshrender.config.settings import Settings

Named = typer.Argument(
    metavar="HOST",
    help="A host of the inventory, or a node set.",
    autocompletion=completion.hosts,
)


def drain(
    context: typer.Context,
    host: Annotated[str | None, Named] = None,
    note: Annotated[
        str, typer.Option("--note", help="Reason, shown to other users.", metavar="TEXT")
    ] = "",
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Take a host out of use, for every job; without HOST, list the drained hosts.

    Its pages go to other hosts within two seconds. Its connection stays.
    """
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    folder = san_folder(settings)
    if host is None:
        for drained in hostcontrol.drained_hosts(folder):
            note = f": {drained.note}" if drained.note else ""
            output.line(f"{drained.host}  {drained.since or '-'}  {drained.by}{note}")
        return
    for name in hostcontrol.host_names(host, settings):
        hostcontrol.drain(folder, name, note)
        back = repeatedoptions.complete(f"sshrender undrain {shlex.quote(name)}")
        output.note(f"{name} is drained; to put it back into use: {back}")


def undrain(
    context: typer.Context,
    host: Annotated[str, Named],
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Put a drained host back into use, for every job."""
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    folder = san_folder(settings)
    for name in hostcontrol.host_names(host, settings):
        done = hostcontrol.undrain(folder, name)
        for job, why in done.not_informed.items():
            output.note(f"{job} was not informed: {why}")
        where = (
            f", and {count(done.informed_jobs, 'running job')} informed" if done.informed_jobs else ""
        )
        output.note(f"{name} may be used again{where}")


def move(
    context: typer.Context,
    job: options.Job,
    pages: Annotated[str, typer.Argument(metavar="PAGES", help="Pages to move: 7 or 3-5,9.")],
    host: Annotated[
        str,
        typer.Argument(metavar="HOST", help="Host to render them on.", autocompletion=completion.hosts),
    ],
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Render pages of a running job on this host only, wherever they are now."""
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    names = hostcontrol.host_names(host, settings, may_be_unknown=True)
    if len(names) != 1:
        raise UserError(
            ExitCode.USAGE,
            f"{host} is not one host",
            f"sshrender move {shlex.quote(job)} {shlex.quote(pages)} {shlex.quote(names[0])}",
        )
    name = hostcontrol.move(san_folder(settings), job, pages, names[0])
    output.note(f"{name}: requested to render pages {pages} on {names[0]}")


def _settings(context: typer.Context, config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(options.typed(context), config).settings
