"""``sshrender report``: shows usage by job, user, host and month."""

from __future__ import annotations

from typing import Annotated

import typer

from sshrender.cli import completion, jsonresult, options
from sshrender.views import safeprint


def report(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="Group by any of job, user, host and month, separated by commas.",
            metavar="KEYS",
            autocompletion=completion.one_of("job", "user", "host", "month"),
        ),
    ] = "month,user",
    month: Annotated[
        str | None,
        typer.Option("--month", help="Only this month, as in 2026-01. [default: all]", metavar="MONTH"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Count only the jobs of this user. [default: all]", metavar="NAME"),
    ] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show usage by user, host, job or month: pages, CPU time and failures, removed jobs included."""
    from sshrender.api.jobs import san_folder
    from sshrender.api.usagetotals import usage
    from sshrender.config.settings import resolve
    from sshrender.views import usage as view

    # An empty key of a trailing comma is left out.
    keys = [key.strip() for key in by.split(",") if key.strip()]
    settings = resolve(options.typed(context), config).settings
    used = usage(san_folder(settings), keys, month, user)
    # On standard error: the table holds only what was counted.
    for name, why in used.damaged.items():
        safeprint.note(f"{name} cannot be read and is not counted: {why}")
    rows = [account.as_json() for account in used.accounts]
    if json_:
        raise typer.Exit(jsonresult.put({"by": keys, "accounts": rows}))
    for line in view.table(rows, keys):
        safeprint.line(line)
