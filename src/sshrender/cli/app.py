"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

import sshrender
from sshrender.cli import (
    clean,
    config,
    coordinate,
    drain,
    hosts,
    init,
    key,
    man,
    overview,
    queue,
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
    help="Render one large PDF on all your idle machines, over nothing but ssh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        output.line(f"sshrender {sshrender.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("render", no_args_is_help=True)(render.render)
app.command("resume", no_args_is_help=True)(resume.resume)
app.command("submit", no_args_is_help=True)(submit.submit)
app.command("coordinate")(coordinate.coordinate)
app.command("hold", no_args_is_help=True)(queue.hold)
app.command("release", no_args_is_help=True)(queue.release)
app.command("cancel", no_args_is_help=True)(queue.cancel)
app.command("resubmit", no_args_is_help=True)(queue.resubmit)
app.command("alter", no_args_is_help=True)(queue.alter)
app.command("clean")(clean.clean)
app.command("report")(usagereport.report)
app.command("init")(init.init)
app.command("hosts")(hosts.hosts)
app.command("status")(status.status)
app.command("why", no_args_is_help=True)(status.why)
app.command("overview", no_args_is_help=True)(overview.overview)
app.command("watch", no_args_is_help=True)(watch.watch)
app.command("drain")(drain.drain)
app.command("undrain", no_args_is_help=True)(drain.undrain)
app.command("move", no_args_is_help=True)(drain.move)
app.command("man")(man.man)
app.add_typer(config.app, name="config")
app.add_typer(key.app, name="key")
