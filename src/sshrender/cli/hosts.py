"""``sshrender hosts``: shows every host's state, the reason, and the command that fixes it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from sshrender.cli import hosttables, jsonresult, options, reportersetup
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

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

    The checks, in their order: name, tcp, key, login, limits, python, ghostscript, sandbox, san, space,
    clock, load, encoder, mutool, picture. -v shows each of them, -vv the ssh commands as well. The exit
    code is 0 if at least one host is usable.
    """
    if watch and json_:
        what = "--watch repeats the table, and --json prints exactly one object"
        raise UserError(ExitCode.USAGE, what, "sshrender hosts --json")
    from sshrender.api.hosts import command_lines
    from sshrender.api.runcontext import COMMAND_LINES

    run_context, _ = reportersetup.start(options.typed(context), config)
    if verbose >= COMMAND_LINES:
        for line in command_lines(run_context):
            safeprint.note(line)
    # The context is kept: the inventory is read once.
    while True:
        code = hosttables.show(run_context, is_json=json_, verbose=verbose, is_watched=watch)
        if not watch:
            break
        time.sleep(WATCH_INTERVAL)
    if code and not json_:  # else it is printed already
        jsonresult.narrate(hosttables.unusable(code, verbose))
    raise typer.Exit(code)
