"""``sshrender key show | import | path``: the key that signs this user's jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import helptext, jsonresult, options
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

app = typer.Typer(
    help="The key that signs your jobs: show it, or copy it to another machine.",
    no_args_is_help=True,
)

MAX_BYTES = 4096
"""Bytes that are read of a file that should hold a key."""


@app.command(cls=helptext.Command)
def show(json_: options.Json = False) -> None:
    """Print the key, to be imported on another machine; create it if there is none."""
    from sshrender.config import keyfile

    key = keyfile.load_or_make()
    # On standard error, so that the key alone can be redirected.
    safeprint.note(
        f"key {keyfile.fingerprint(key)}: machines that have it can sign jobs of this user;"
        " never copy it to a rendering host or to the shared folder"
    )
    if json_:
        fields = {"key": keyfile.as_text(key), "fingerprint": keyfile.fingerprint(key)}
        raise typer.Exit(jsonresult.put(fields))
    safeprint.line(keyfile.as_text(key))


@app.command("import", cls=helptext.Command)
def import_(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="File with the output of 'sshrender key show'. [default: stdin]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing key.")] = False,
    json_: options.Json = False,
) -> None:
    """Import a key from another machine, so that this machine can run its jobs."""
    from sshrender.config import keyfile

    origin = "standard input" if file is None or str(file) == "-" else str(file)
    key = keyfile.parse(_read(file, origin), origin)
    is_new = keyfile.install(key, is_forced=force)
    was = (
        "imported; it is now this user's key on this machine"
        if is_new
        else "was already this user's key here; nothing changed"
    )
    safeprint.note(f"key {keyfile.fingerprint(key)} {was}")
    if json_:
        fields = {"fingerprint": keyfile.fingerprint(key), "changed": is_new}
        raise typer.Exit(jsonresult.put(fields))


@app.command(cls=helptext.Command)
def path(json_: options.Json = False) -> None:
    """Print the path of the key, and on standard error its fingerprint."""
    from sshrender.config import keyfile

    key = keyfile.load()
    if json_:
        fields = {
            "path": str(keyfile.path()),
            "fingerprint": None if key is None else keyfile.fingerprint(key),
        }
        raise typer.Exit(jsonresult.put(fields))
    safeprint.line(keyfile.path())
    state = "there is no key yet" if key is None else f"key {keyfile.fingerprint(key)}"
    safeprint.note(state)


def _read(file: Path | None, origin: str) -> str:
    """Return the text of a file or of standard input. Raises UserError."""
    try:
        if file is None or str(file) == "-":
            # Bytes, and not many: what is not a key is refused with a sentence.
            data = sys.stdin.buffer.read(MAX_BYTES)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_BYTES)
    except OSError as error:
        what = f"{origin}: {error.strerror}"
        raise UserError(
            ExitCode.USAGE,
            what,
            "name a file that has the key, or nothing to read it from standard input",
        ) from None
    return data.decode("ascii", "replace")
