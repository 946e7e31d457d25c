"""The tree of commands."""

from __future__ import annotations

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
    key,
    man,
    overview,
    render,
    resume,
    status,
    submit,
    usagereport,
    watch,
)
from sshrender.views import output

app = typer.Typer(
    name="sshrender",
    cls=helptext.Group,
    help="Render large PDFs on the idle machines of a network, with nothing but ssh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        output.line(f"sshrender {sshrender.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _add(name: str, command: Callable[..., None], *, needs_argument: bool = False) -> None:
    app.command(name, cls=helptext.Command, no_args_is_help=needs_argument)(command)


_add("render", render.render, needs_argument=True)
_add("resume", resume.resume, needs_argument=True)
_add("submit", submit.submit, needs_argument=True)
_add("coordinate", coordinate.coordinate)
_add("hold", jobchanges.hold, needs_argument=True)
_add("release", jobchanges.release, needs_argument=True)
_add("cancel", jobchanges.cancel, needs_argument=True)
_add("resubmit", jobchanges.resubmit, needs_argument=True)
_add("alter", jobchanges.alter, needs_argument=True)
_add("clean", clean.clean)
_add("report", usagereport.report)
_add("init", init.init)
_add("hosts", hosts.hosts)
_add("status", status.status)
_add("why", status.why, needs_argument=True)
_add("overview", overview.overview, needs_argument=True)
_add("watch", watch.watch)
_add("drain", drain.drain)
_add("undrain", drain.undrain, needs_argument=True)
_add("move", drain.move, needs_argument=True)
_add("man", man.man)
app.add_typer(config.app, name="config", cls=helptext.Group)
app.add_typer(key.app, name="key", cls=helptext.Group)
