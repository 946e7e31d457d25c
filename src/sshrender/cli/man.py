"""``sshrender man``: shows the manual that comes with the package."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import sshrender
from sshrender.cli import completion, jsonresult, options
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

PAGES = {
    "sshrender": "sshrender.1",
    "render": "sshrender-render.1",
    "watch": "sshrender-watch.1",
    "hosts": "sshrender-hosts.5",
    "job": "sshrender-job.5",
    "queue": "sshrender-queue.7",
    "7": "sshrender.7",
}


def man(
    page: Annotated[
        str,
        typer.Argument(
            metavar="PAGE",
            help=f"One of {', '.join(PAGES)}.",
            autocompletion=completion.one_of(*PAGES),
        ),
    ] = "sshrender",
    json_: options.Json = False,
) -> None:
    """Show a page of the manual."""
    if page not in PAGES:
        listed = ", ".join(PAGES)
        raise UserError(
            ExitCode.USAGE,
            f"there is no manual page {page}; there are {listed}",
            "sshrender man sshrender",
        )
    file = _file(PAGES[page])
    if json_:
        raise typer.Exit(jsonresult.put({"page": page, "path": str(file)}))
    # Checked here, because the error of subprocess names no remedy.
    if shutil.which("man") is None:
        raise UserError(
            ExitCode.USAGE,
            "the program man is not installed",
            f"install man-db, or read the source of the page: cat {shlex.quote(str(file))}",
        )
    # At a terminal man uses the user's pager.
    if sys.stdout.isatty():
        raise typer.Exit(subprocess.run(["man", str(file)], check=False).returncode)
    # Not man itself: it ends with 0 even if its output cannot be written.
    environment = {**os.environ, "MANPAGER": "cat"}
    shown = subprocess.run(["man", str(file)], env=environment, stdout=subprocess.PIPE, check=False)
    safeprint.text(shown.stdout.decode("utf-8", "replace"))
    raise typer.Exit(shown.returncode)


def _file(name: str) -> Path:
    """Return the page's file, as installed or in a checkout. Raises UserError."""
    section = f"man{name[-1]}"
    checkout = Path(sshrender.__file__).parents[2] / "man" / name
    # Installed by the wheel as data files, or in the checkout.
    for place in (Path(sys.prefix) / "share" / "man" / section / name, checkout):
        if place.is_file():
            return place
    raise UserError(ExitCode.USAGE, f"the manual page {name} is not installed", "man sshrender")
