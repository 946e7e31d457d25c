"""``sshrender drain``, ``undrain`` and ``move``: take hosts out of use, and move pages to a host."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import completion, hintcommands, jsonresult, options
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint
from sshrender.views.text import count

if TYPE_CHECKING:
    from sshrender.api.hostcontrol import Drain
    from sshrender.config.settings import Settings


def _host(default: str = "") -> Any:
    return typer.Argument(
        metavar="HOST",
        help=f"A host of the inventory, or a node set. {default}".strip(),
        autocompletion=completion.hosts,
    )


def drain(
    context: typer.Context,
    host: Annotated[str | None, _host("[default: list the drained hosts]")] = None,
    note: Annotated[
        str, typer.Option("--note", help="Reason, shown to other users.", metavar="TEXT")
    ] = "",
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Take a host out of use, for every job; without HOST, list the drained hosts.

    Its pages go to other hosts within two seconds. Its connection stays.
    """
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    folder = san_folder(settings)
    if host is None:
        _list(hostcontrol.drained_hosts(folder), json_)
        return
    # Filled while hosts are drained, so that an error tells how far the command came.
    hosts_: list[dict[str, Any]] = []
    jsonresult.know(hosts=hosts_)
    names = hostcontrol.host_names(host, settings)
    if unlisted := hostcontrol.unlisted_hosts(names, settings):
        more = f" and {len(unlisted) - 1} more" if unlisted[1:] else ""
        verb = "are hosts" if more else "is a host"
        safeprint.note(f"note: there is no inventory here that says whether {unlisted[0]}{more} {verb}")
    for name in names:
        hostcontrol.drain(folder, name, note)
        hosts_.append({"name": name, "drained": True, "note": note})
        back = hintcommands.complete(f"sshrender undrain {shlex.quote(name)}")
        safeprint.note(f"{name} is drained; to put it back into use: {back}")
    if json_:
        raise typer.Exit(jsonresult.put({"hosts": hosts_}))


def _list(found: list[Drain], wants_json: bool) -> None:
    """Print the drained hosts."""
    if wants_json:
        rows = [
            {"name": each.host, "drained": True, "note": each.note, "since": each.since, "by": each.by}
            for each in found
        ]
        raise typer.Exit(jsonresult.put({"hosts": rows}))
    for each in found:
        note = f": {each.note}" if each.note else ""
        safeprint.line(f"{each.host}  {each.since or '-'}  {each.by}{note}")


def undrain(
    context: typer.Context,
    host: Annotated[str, _host()],
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Put a drained host back into use, for every job; have a repaired one tried again.

    Running jobs of yours that refused, lost or quarantined the host connect to it again at once.
    """
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    folder = san_folder(settings)
    hosts_: list[dict[str, Any]] = []
    jsonresult.know(hosts=hosts_)
    for name in hostcontrol.host_names(host, settings):
        done = hostcontrol.undrain(folder, name)
        informed, failed = done.informed_jobs, done.not_informed
        hosts_.append(
            {"name": name, "drained": False, "informed_jobs": informed, "not_informed": dict(failed)}
        )
        for job, why in done.not_informed.items():
            safeprint.note(f"{job} was not informed: {why}")
        told = f"{count(informed, 'running job')} informed" if informed else ""
        if done.was_drained:
            safeprint.note(f"{name} may be used again" + (f", and {told}" if told else ""))
        else:  # a job may have drained it for itself, in the dashboard, or refused or lost it
            remark = f"; {told}: a host that is lost or refused there is tried again" if told else ""
            safeprint.note(f"{name} was not drained{remark}")
    if json_:
        raise typer.Exit(jsonresult.put({"hosts": hosts_}))


def move(
    context: typer.Context,
    job: options.Job,
    pages: Annotated[str, typer.Argument(metavar="PAGES", help="Pages to move: 7 or 3-5,9.")],
    host: Annotated[
        str,
        typer.Argument(metavar="HOST", help="Host to render them on.", autocompletion=completion.hosts),
    ],
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Render pages of a running job on this host only, wherever they are now."""
    from sshrender.api import hostcontrol
    from sshrender.api.jobs import san_folder

    settings = _settings(context, config)
    # Unknown to the inventory: the host may have been added to the run, as a pilot is.
    names = hostcontrol.host_names(host, settings, may_be_unknown=True)
    if len(names) != 1:
        raise UserError(
            ExitCode.USAGE,
            f"{host} is not one host",
            f"sshrender move {shlex.quote(job)} {shlex.quote(pages)} {shlex.quote(names[0])}",
        )
    name = hostcontrol.move(san_folder(settings), job, pages, names[0])
    safeprint.note(f"{name}: requested to render pages {pages} on {names[0]}")
    if json_:
        raise typer.Exit(jsonresult.put({"job": name, "requested": pages, "host": names[0]}))


def _settings(context: typer.Context, config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(options.typed(context), config).settings
