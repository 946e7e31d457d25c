"""``sshrender drain``, ``undrain`` and ``move``: hosts out of use, pages to a host, by hand."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import completion, options
from sshrender.errors import ExitCode, UserError
from sshrender.job.operations import Operation
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.job.folder import JobFolder

Named = typer.Argument(
    metavar="HOST",
    help="A host of the inventory, or a node set.",
    autocompletion=completion.hosts,
)


def drain(
    context: typer.Context,
    host: Annotated[str | None, Named] = None,
    note: Annotated[str, typer.Option("--note", help="Why, for others.", metavar="TEXT")] = "",
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Take a host out of use, for every job; without HOST, list those that are.

    What it draws goes elsewhere within two seconds, and its connection stays.
    """
    from sshrender.cli.jobstore import on_san, san_folder, whoami
    from sshrender.job import drains

    settings = _settings(context, config)
    folder = san_folder(settings)
    if host is None:
        for drained in on_san(folder, lambda: drains.read(folder)).values():
            note = f": {drained.note}" if drained.note else ""
            output.line(f"{drained.host}  {drained.since or '-'}  {drained.by}{note}")
        return
    names = _names(host, settings)
    _require(folder)
    for name in names:
        on_san(folder, partial(drains.drain, folder, name, whoami(), note))
        output.note(f"{name} is drained; sshrender undrain {name} gives it back")


def undrain(
    context: typer.Context,
    host: Annotated[str, Named],
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Give a host back that was taken out of use, in any job."""
    from sshrender.cli.jobstore import san_folder

    settings = _settings(context, config)
    folder = san_folder(settings)
    _require(folder)
    for name in _names(host, settings):
        count = _give_back(folder, name)
        where = f", and {count} running jobs are told" if count else ""
        output.note(f"{name} may be used again{where}")


def move(
    context: typer.Context,
    job: options.Job,
    pages: Annotated[str, typer.Argument(metavar="PAGES", help="Which pages: 7 or 3-5,9.")],
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="Where to draw them.", autocompletion=completion.hosts)
    ],
    hosts: options.Hosts = None,
    san: options.San = None,
    config: options.Config = None,
) -> None:
    """Have pages of a running job drawn on one host and no other, wherever they are now."""
    from sshrender.cli.jobstore import find_job, on_san, san_folder
    from sshrender.document import pagelist

    settings = _settings(context, config)
    folder = san_folder(settings)
    found, spec = on_san(folder, lambda: find_job(folder, job))
    numbers = pagelist.parse(pages, spec.document.pages)
    names = _names(host, settings, may_be_unknown=True)
    if len(names) != 1:
        raise UserError(ExitCode.USAGE, f"{host} is not one host", "sshrender move JOB 7 node3")
    if not on_san(folder, lambda: _is_running(found)):
        raise UserError(
            ExitCode.USAGE,
            f"nobody coordinates {spec.name}, so nobody hears this",
            f"render it with --pin {pages}={host}",
        )
    for number in numbers:
        on_san(folder, partial(_ask, found, Operation.MOVE, host=names[0], page=number))
    output.note(f"{spec.name} is asked to draw {pages} on {names[0]}")


def _settings(context: typer.Context, config: Path | None) -> Settings:
    from sshrender.config.settings import resolve

    return resolve(options.typed(context), config).settings


def _names(node_set: str, settings: Settings, *, may_be_unknown: bool = False) -> list[str]:
    """The hosts meant, which the inventory must know if there is one. Raises UserError."""
    from sshrender.config import inventory as inv
    from sshrender.config.paths import find_inventory

    try:
        names = inv.node_names(node_set)
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"{node_set}: {error}", "as in node[01-04],big") from None
    file = find_inventory(settings.hosts)
    known = None if file is None else {host.name for host in inv.expand(inv.load(file))}
    strange = [name for name in names if known is not None and name not in known]
    if strange and not may_be_unknown:
        raise UserError(
            ExitCode.USAGE,
            f"{', '.join(strange)}: not in the inventory {file}",
            "sshrender hosts lists what is",
        )
    return names


def _require(san: Path) -> None:
    from sshrender.cli.jobstore import on_san
    from sshrender.coordinator.jobopening import require_san

    on_san(san, lambda: require_san(san))


def _give_back(san: Path, name: str) -> int:
    """Also where a single job was asked for it (the dashboard does): how many running ones are told.

    Those of other users are not: their requests are theirs to make, and their coordinators see for
    themselves that the host is no longer drained.
    """
    from sshrender.cli.jobstore import apart, on_san
    from sshrender.job import drains

    try:
        on_san(san, partial(drains.undrain, san, name))
    except drains.StillDrained as other:
        raise UserError(
            ExitCode.STORAGE,
            f"{name} is drained by {other.user}, too",
            f"sudo -u {shlex.quote(other.user)} sshrender undrain {shlex.quote(name)}",
        ) from None
    damaged: dict[str, str] = {}
    folders = on_san(san, partial(_own_jobs, san))
    told = [
        on_san(san, partial(apart, san, folder.name, partial(_tell, folder, name), damaged))
        for folder in folders
    ]
    for job, why in damaged.items():
        output.note(f"{job} was not told: {why}")
    return sum(bool(each) for each in told)


def _own_jobs(san: Path) -> list[JobFolder]:
    from sshrender.cli.jobstore import all_jobs
    from sshrender.storage.files import user_in

    jobs = all_jobs(san)
    user = user_in(san) if jobs else 0
    return [folder for folder, _ in jobs if folder.belongs_to(user)]


def _tell(folder: JobFolder, host: str) -> bool:
    """Whether the job runs, and was told. Raises OSError."""
    from sshrender.job.signature import Unsigned

    if not _is_running(folder):
        return False
    try:
        _ask(folder, Operation.UNDRAIN, host=host)
    except Unsigned:  # its coordinator, on a machine with another key, would not obey
        return False
    return True


def _is_running(folder: JobFolder) -> bool:
    from sshrender.job.lease import Observer

    return Observer(folder.lease).holder() is not None


def _ask(folder: JobFolder, op: Operation, host: str, page: int = 0) -> None:
    from sshrender.cli.jobstore import whoami
    from sshrender.job.requests import Request, ask

    ask(folder, Request(op, whoami(), host=host, page=page))
