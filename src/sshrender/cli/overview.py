"""``sshrender overview``: writes the HTML overview of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import jsonresult, options
from sshrender.views import safeprint


def overview(
    context: typer.Context,
    job: options.Job,
    embed: Annotated[
        bool,
        typer.Option("--embed", help="Write one file that contains its thumbnails, next to the pages."),
    ] = False,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Write that file here instead. [default: next to the pages]",
            metavar="FILE",
        ),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Write the HTML overview of a job's pages, and print its path.

    The overview is in the job's folder and uses the thumbnails there. --embed writes one file that can
    be mailed.
    """
    from sshrender.api.jobs import san_folder
    from sshrender.api.statusreports import write_overview, write_overview_to_mail
    from sshrender.config.settings import resolve

    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)
    # --output implies --embed.
    if embed or output_file is not None:
        written = write_overview_to_mail(place, job, output_file)
    else:
        written = write_overview(place, job)
    if json_:
        raise typer.Exit(jsonresult.put({"overview": str(written)}))
    safeprint.line(written)
