"""``sshrender serve``: the web front end."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import hintcommands, jsonresult, options, streams
from sshrender.errors import ExitCode, UserError
from sshrender.process import gctuning
from sshrender.views import safeprint

if TYPE_CHECKING:
    from sshrender.web.settings import ServeSettings

_lock = threading.Lock()
"""Serializes the output of several threads, one for each job."""


def _option(name: str, about: str, metavar: str) -> object:
    # Variables as for settings, which these are not: they belong to the server alone.
    variable = f"SSHRENDER_{name.strip('-').replace('-', '_').upper()}"
    return typer.Option(name, envvar=variable, show_envvar=False, help=about, metavar=metavar)


def serve(
    context: typer.Context,
    bind: Annotated[
        str, _option("--bind", "Listen on this address; port 0 is any free one.", "ADDRESS:PORT")
    ] = "127.0.0.1:8470",
    base_path: Annotated[
        str, _option("--base-path", "Path of the address under which a proxy offers the pages.", "PATH")
    ] = "/",
    host: Annotated[
        list[str] | None,
        _option("--host", "Also answer to this name. May be repeated. [default: localhost]", "NAME"),
    ] = None,
    auth: Annotated[
        str, _option("--auth", "How users log in: link, htpasswd:FILE or proxy.", "WAY")
    ] = "link",
    trusted_proxy: Annotated[
        list[str] | None,
        _option(
            "--trusted-proxy",
            "Trust the headers of this proxy. May be repeated. [default: none]",
            "ADDRESS",
        ),
    ] = None,
    user_header: Annotated[
        str, _option("--user-header", "Header in which the proxy names the user.", "NAME")
    ] = "X-Forwarded-User",
    operator: Annotated[
        list[str] | None,
        _option(
            "--operator", "Let this user see and change all jobs and hosts. [default: none]", "NAME"
        ),
    ] = None,
    viewer: Annotated[
        list[str] | None,
        _option("--viewer", "Let this user only open jobs by their links. [default: none]", "NAME"),
    ] = None,
    max_upload: Annotated[
        str, _option("--max-upload", "Accept documents up to this size.", "SIZE")
    ] = "10G",
    coordinate: Annotated[
        bool, typer.Option("--coordinate", help="Also render the jobs in the queue.")
    ] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    sandbox: options.Sandbox = None,
    json_: options.Json = False,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Run the web front end: upload PDFs, watch their jobs, see and download the pages.

    The command prints the address to open on its first line. Any number of machines may serve the same
    shared folder. The command needs starlette and uvicorn: install the extra "web" of the package.
    """
    # Before the import that needs the packages.
    _require_extra()
    from sshrender.web.server import serve as run

    gctuning.begin()  # this may run for months
    code = run(_settings(context, config), _print_address, _note)
    jsonresult.narrate_cpu_limit(code)
    if json_:
        # The address is known when the server has bound its port.
        code = jsonresult.put({"address": jsonresult.known("address")}, code, is_run=True)
    raise typer.Exit(code)


def _settings(context: typer.Context, config: Path | None) -> ServeSettings:
    """Return the settings of the server. Raises UserError."""
    from sshrender.api.jobs import san_folder
    from sshrender.api.queue import QueueRun
    from sshrender.api.uploadpasswords import UploadPasswords
    from sshrender.config.settings import resolve
    from sshrender.web import settings as web

    given, typed = context.params, options.typed(context)
    passwords = UploadPasswords() if given["coordinate"] else None
    resolved = resolve(typed, config).settings
    host, port = web.address_of(given["bind"])
    kind, file = web.auth_of(given["auth"])

    def make_queue(note: Callable[[str], None]) -> QueueRun:
        def print_line(line: str) -> None:
            note(hintcommands.in_line_of_job(line))

        return QueueRun(resolved, config, print_line, passwords=passwords)

    return web.ServeSettings(
        san=san_folder(resolved),
        host=host,
        port=port,
        base_path=web.base_path_of(given["base_path"]),
        # Names of hosts have no case (RFC 4343).
        names=tuple(name.lower() for name in given["host"] or ()),
        auth=kind,
        htpasswd=file,
        peers=web.peers_of(given["trusted_proxy"] or ()),
        # Names of header fields have no case (RFC 9110, 5.1).
        user_header=given["user_header"].lower(),
        operators=frozenset(given["operator"] or ()),
        viewers=frozenset(given["viewer"] or ()),
        # The queue is started by the server, when its port is bound.
        make_queue=make_queue if passwords is not None else None,
        passwords=passwords,
        # Options as texts, because each job's context resolves them again.
        typed={key: str(value) for key, value in typed.items()},
        config=config,
        hosts_file=resolved.hosts,
        quota=replace(web.Quota(), document=_size(given["max_upload"])),
    )


def _size(text: str) -> int:
    from sshrender.config.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UserError(
            ExitCode.USAGE, f"--max-upload {text}: {error}", "--max-upload takes a size, as in 2G"
        ) from None


def _print_address(address: str) -> None:
    """Print the address as the first line, also into a pipe; with --json on stderr."""
    jsonresult.know(address=address)
    if jsonresult.is_wanted():
        safeprint.note(address, flush=True)
    else:
        safeprint.line(address)
        # A program that waits for the first line of a pipe gets it now.
        streams.flush()


def _note(line: str) -> None:
    """Print a line about a job. A full log, or one without a reader, does not stop the server."""
    with _lock, contextlib.suppress(OSError):
        safeprint.note(line, flush=True)


def _require_extra() -> None:
    """Raise UserError if the packages of the extra are not installed."""
    # find_spec does not import them.
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            ExitCode.USAGE,
            f"the web front end needs packages that are not installed: {', '.join(missing)}",
            # The pip of this installation: pipx has its own, and the pip of the system refuses.
            f"{shlex.quote(sys.executable)} -m pip install 'sshrender[web]'",
        )
