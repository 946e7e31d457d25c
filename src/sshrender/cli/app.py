"""The tree of commands."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Annotated

import typer

import sshrender
from sshrender.cli import (
    clean,
    config,
    coordinate,
    drain,
    helptext,
    hosts,
    init,
    jobchanges,
    jsonresult,
    key,
    man,
    overview,
    render,
    resume,
    serve,
    status,
    submit,
    usagereport,
    watch,
)
from sshrender.views import output

app = typer.Typer(
    name="sshrender",
    # Our own group lays out the help (helptext.py).
    cls=helptext.Group,
    help="Render large PDFs on the idle machines of a network, with nothing but ssh.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A traceback goes to the log of defects (api/errorlog.py), not to the terminal.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    # An eager option: it ends the command before others are parsed.
    if value and jsonresult.is_wanted():
        raise typer.Exit(jsonresult.put({"version": sshrender.__version__}))
    if value:
        output.line(f"sshrender {sshrender.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", show_default=False, help="As --json after the command.")
    ] = False,
) -> None:
    if json_:  # what the command itself reads; its own parser comes later
        os.environ["SSHRENDER_JSON"] = "1"


def _add(name: str, command: Callable[..., None]) -> None:
    app.command(name, cls=helptext.Command)(command)


def with_only(word: str = "") -> typer.Typer:
    """Return the tree with this command alone: typer builds each command before it calls one.

    Of any other word the whole tree, which says what commands there are.
    """
    kept = [command for command in app.registered_commands if command.name == word]
    if not kept:
        return app
    narrowed = copy.copy(app)
    narrowed.registered_commands, narrowed.registered_groups = kept, []
    return narrowed


# The order is that of the list in ``--help``: what is used every day comes first.
_add("render", render.render)
_add("resume", resume.resume)
_add("submit", submit.submit)
_add("coordinate", coordinate.coordinate)
_add("hold", jobchanges.hold)
_add("release", jobchanges.release)
_add("cancel", jobchanges.cancel)
_add("resubmit", jobchanges.resubmit)
_add("alter", jobchanges.alter)
_add("clean", clean.clean)
_add("report", usagereport.report)
_add("init", init.init)
_add("hosts", hosts.hosts)
_add("status", status.status)
_add("why", status.why)
_add("overview", overview.overview)
_add("watch", watch.watch)
_add("serve", serve.serve)
_add("drain", drain.drain)
_add("undrain", drain.undrain)
_add("move", drain.move)
_add("man", man.man)
app.add_typer(config.app, name="config", cls=helptext.Group)
app.add_typer(key.app, name="key", cls=helptext.Group)
