"""Takes hosts out of use and back, and moves pages of a running job to a host."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sshrender.api.hostaccess import HERE
from sshrender.api.jobs import all_jobs, current_user, find_job, on_san, read_or_record
from sshrender.config import inventory as inv
from sshrender.config.paths import find_inventory
from sshrender.config.settings import Settings
from sshrender.document import pagelist
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.lease import Observer
from sshrender.job.queue import drains
from sshrender.job.queue.drains import Drain
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request, ask
from sshrender.job.signature import Unsigned
from sshrender.job.spec import require_pages
from sshrender.storage import files

__all__ = [
    "Drain",
    "Undrained",
    "drain",
    "drained_hosts",
    "host_names",
    "move",
    "undrain",
    "unlisted_hosts",
]


def drained_hosts(san: Path) -> list[Drain]:
    """Return the hosts that are out of use, with the user, the time and the note. Raises UserError."""
    return list(on_san(san, lambda: drains.read(san)).values())


def drain(san: Path, host: str, note: str = "") -> None:
    """Take a host out of use, for every job. Raises UserError."""
    # Checked first: in a folder that is not mounted the file would be written below the mount point.
    on_san(san, partial(require_san, san))
    on_san(san, partial(drains.drain, san, host, current_user(), note))


@dataclass(frozen=True, slots=True)
class Undrained:
    """``informed_jobs``: number of running jobs. ``not_informed``: those that were not, and why.

    ``was_drained``: whether the host was out of use for every job.
    """

    informed_jobs: int
    not_informed: dict[str, str]
    was_drained: bool = True


def undrain(san: Path, host: str) -> Undrained:
    """Put a drained host back into use. Raises UserError.

    A running job that drained the host for itself (the dashboard can do that) is informed, too. Jobs of
    other users are not informed, because this user may not write into them. Their coordinators notice
    that the host is no longer drained.
    """
    on_san(san, partial(require_san, san))
    try:
        was_drained = on_san(san, partial(drains.undrain, san, host))
    except drains.StillDrained as other:
        raise UserError(
            ExitCode.STORAGE,
            f"{host} is also drained by user {other.user}",
            f"sudo -u {shlex.quote(other.user)} sshrender undrain {shlex.quote(host)}",
        ) from None
    damaged: dict[str, str] = {}
    # Only after the drain was removed, so that the informed coordinators find none.
    folders = on_san(san, partial(_own_jobs, san))
    informed = [
        on_san(
            san,
            partial(read_or_record, san, folder.name, partial(_send_undrain, folder, host), damaged),
        )
        for folder in folders
    ]
    return Undrained(sum(bool(each) for each in informed), damaged, was_drained)


def move(san: Path, job: str, pages: str, host: str) -> str:
    """Ask the coordinator of a job to render ``pages`` on one host only; return the job's name.

    Raises UserError, also if the job is not running.
    """
    found, spec = on_san(san, lambda: find_job(san, job))
    numbers: Sequence[int] = pagelist.parse(pages, spec.document.pages)
    require_pages(spec, numbers)
    if not on_san(san, lambda: _is_running(found)):
        raise UserError(
            ExitCode.USAGE,
            f"{spec.name} is not running",
            f"sshrender resume {shlex.quote(spec.name)} --pin {shlex.quote(f'{pages}={host}')}",
        )
    for number in numbers:
        # One request for each page, because a request names one page (job/queue/requests.py).
        on_san(san, partial(_send_request, found, Operation.MOVE, host=host, page=number))
    return spec.name


def host_names(node_set: str, settings: Settings, *, may_be_unknown: bool = False) -> list[str]:
    """Return the hosts of a node set. Raises UserError if there is an inventory without one of them."""
    try:
        names = inv.node_names(node_set)
    except ValueError as error:
        raise UserError(
            ExitCode.USAGE,
            f"{node_set or repr('')}: {error}",
            "a node set is written as 'node[01-04],big'",
        ) from None
    file = find_inventory(settings.hosts)
    inventory = None if file is None else inv.load(file)
    known = None if inventory is None else {host.name for host in inv.expand(inventory)}
    # Only the batch system knows the nodes of a pool.
    may_be_unknown = may_be_unknown or (inventory is not None and bool(inventory.pools))
    unknown = [name for name in names if known is not None and name not in known]
    if unknown and not may_be_unknown:
        raise UserError(
            ExitCode.USAGE,
            f"{inv.unknown_hosts(unknown, known or ())}, {file}",
            "sshrender hosts",
        )
    return names


def unlisted_hosts(names: Sequence[str], settings: Settings) -> list[str]:
    """Return the hosts that cannot be checked here, because there is no inventory.

    They may be drained, as the inventory of another machine may have them. Raises UserError.
    """
    if find_inventory(settings.hosts) is not None:
        return []
    return [name for name in names if name != HERE]


def _own_jobs(san: Path) -> list[JobFolder]:
    """Return the folders of this user's jobs. Raises OSError."""
    jobs = all_jobs(san)
    # user_in: NFS may map users, so the number of this process need not be that of its files.
    user = files.user_in(san) if jobs else 0
    return [folder for folder, _ in jobs if folder.belongs_to(user)]


def _send_undrain(folder: JobFolder, host: str) -> bool:
    """Tell the coordinator of a running job; return whether that was done. Raises OSError."""
    if not _is_running(folder):
        return False
    try:
        _send_request(folder, Operation.UNDRAIN, host=host)
    except Unsigned:  # its coordinator runs with another key, and would refuse the request
        return False
    return True


def _is_running(folder: JobFolder) -> bool:
    return Observer(folder.lease).holder() is not None


def _send_request(folder: JobFolder, op: Operation, host: str, page: int = 0) -> None:
    ask(folder, Request(op, current_user(), host=host, page=page))
