"""``sshrender overview``: one HTML sheet of all pages of a job."""

from __future__ import annotations

from pathlib import Path

import typer

from sshrender.cli import options
from sshrender.views import output


def overview(
    context: typer.Context,
    job: options.Job,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Write or refresh the HTML sheet of a job's pages; prints where it is."""
    from sshrender.cli.jobstore import find_job, on_san, san_folder
    from sshrender.config.settings import resolve
    from sshrender.coordinator.overview import write
    from sshrender.job import lease

    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)

    def work() -> Path:
        folder, spec = find_job(place, job)
        write(folder, spec, lease.holders([folder.lease])[folder.lease])
        return folder.overview

    written = on_san(place, work)
    if json_:
        output.as_json({"schema": 1, "overview": str(written)})
    else:
        output.line(written)
