"""``sshrender hosts``: shows every host's state, the reason, and the command that fixes it."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import options, reporting
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.api.runcontext import RunContext

WATCH_INTERVAL = 5.0
"""Seconds between two checks with ``--watch``."""


def hosts(
    context: typer.Context,
    hosts: options.Hosts = None,
    on: options.On = None,
    avoid: options.Avoid = None,
    san: options.San = None,
    sandbox: options.Sandbox = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again every five seconds, until interrupted.")
    ] = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Check every host; one line each, with a command to fix what is wrong.

    The order of the checks: name, tcp, key, login, python, ghostscript, sandbox, san, space, clock,
    load, picture. -v shows each of them. The exit code is 0 if at least one host is usable.
    """
    run_context, _ = reporting.start(options.typed(context), config, wants_json=json_)
    while True:
        code = _once(run_context, is_json=json_, verbose=verbose, is_watched=watch)
        if not watch:
            raise typer.Exit(code)
        time.sleep(WATCH_INTERVAL)


def _once(context: RunContext, *, is_json: bool, verbose: int, is_watched: bool) -> int:
    from sshrender.api.hosts import check_hosts, remedies_of
    from sshrender.views import hosttable

    checks = check_hosts(context)
    rows = [asdict(report) for report in checks.reports]
    if is_json:
        output.as_json({"schema": 1, "hosts": rows})
        return checks.exit_code
    if is_watched and sys.stdout.isatty():
        output.clear_screen(sys.stdout)
    fixes = {
        report.name: [(step.lead, step.text) for step in remedies_of(context, report)]
        for report in checks.reports
    }
    for line in hosttable.lines(rows, fixes, verbose):
        output.line(line)
    sys.stdout.flush()
    return checks.exit_code
