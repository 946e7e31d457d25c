"""The tree of commands. A command's module is imported when the command is called, or all are listed."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

import typer

import sshrender
from sshrender.cli import helptext, jsonresult
from sshrender.views import safeprint

_MODULES = {
    # The order is that of the list in ``--help``: what is used every day comes first.
    "render": "render",
    "resume": "resume",
    "submit": "submit",
    "coordinate": "coordinate",
    "hold": "jobchanges",
    "release": "jobchanges",
    "cancel": "jobchanges",
    "resubmit": "jobchanges",
    "alter": "jobchanges",
    "clean": "clean",
    "report": "usagereport",
    "init": "init",
    "hosts": "hosts",
    "status": "status",
    "why": "status",
    "overview": "overview",
    "watch": "watch",
    "serve": "serve",
    "drain": "drain",
    "undrain": "drain",
    "move": "drain",
    "man": "man",
}
"""The module of each command, in which a function has the command's name."""

_GROUPS = ("config", "key")
"""Modules whose ``app`` is a group of commands of the same name."""


def tree(word: str = "") -> typer.Typer:
    """Return the tree with this command alone: typer builds each command before it calls one.

    For any other word it is the whole tree, which names all commands.
    """
    made = typer.Typer(
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
    made.callback()(_main)
    names = [*_MODULES, *_GROUPS]
    if word == "--version":  # it ends the program before a command is looked for
        names = []
    for name in [word] if word in names else names:
        if name in _GROUPS:
            made.add_typer(_module(name).app, name=name, cls=helptext.Group)
        else:
            made.command(name, cls=helptext.Command)(getattr(_module(_MODULES[name]), name))
    return made


def _module(name: str) -> Any:
    return importlib.import_module(f"sshrender.cli.{name}")


def __getattr__(name: str) -> Any:
    """Return ``app``, the whole tree, made when it is first used (PEP 562)."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = tree()
    return made


def _version(value: bool) -> None:
    # An eager option: it ends the command before others are parsed.
    if value and jsonresult.is_wanted():
        raise typer.Exit(jsonresult.put({"version": sshrender.__version__}))
    if value:
        safeprint.line(f"sshrender {sshrender.__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", show_default=False, help="The same as --json after the command.")
    ] = False,
) -> None:
    if json_:  # what the command itself reads; its own parser comes later
        os.environ["SSHRENDER_JSON"] = "1"
