"""``sshrender overview``: writes the HTML overview of a job."""

from __future__ import annotations

import typer

from sshrender.cli import jsonresult, options
from sshrender.views import output


def overview(
    context: typer.Context,
    job: options.Job,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Write the HTML overview of a job's pages, and print its path."""
    from sshrender.api.jobreports import write_overview
    from sshrender.api.jobs import san_folder
    from sshrender.config.settings import resolve

    settings = resolve(options.typed(context), config).settings
    written = write_overview(san_folder(settings), job)
    if json_:
        raise typer.Exit(jsonresult.put({"overview": str(written)}))
    output.line(written)
