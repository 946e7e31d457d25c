"""Jobs as a person names them: where they lie, and which one is meant."""

from __future__ import annotations

import contextlib
import getpass
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from sshrender import clock
from sshrender.config import inventory as inv
from sshrender.config.paths import find_inventory, state_folder
from sshrender.config.settings import Settings
from sshrender.errors import ExitCode, UserError
from sshrender.files import require_listing, visible
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec, load_spec
from sshrender.utf8 import writable

T = TypeVar("T")


def whoami() -> str:
    """Who asks, in words for others: always text that is UTF-8, which a variable need not be."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return writable(f"{user}@{socket.gethostname()}")


def on_san(san: Path, work: Callable[[], T], until: float | None = None) -> T:
    """Do ``work`` on the shared folder without hanging with it. Raises UserError where that fails.

    ``until``: the deadline, on the monotonic clock.
    """
    from sshrender.coordinator.hangguard import DeadlinePassed, guarded_call
    from sshrender.coordinator.jobopening import deadline_passed, storage_error

    try:
        return guarded_call(san, work, until)
    except DeadlinePassed:
        raise deadline_passed() from None
    except OSError as error:
        raise storage_error(error, san) from None


def deadline_of(settings: Settings) -> float | None:
    """When this command is to end, on the monotonic clock: ``--deadline`` after it began."""
    return None if settings.deadline is None else clock.began() + settings.deadline


def san_folder(settings: Settings) -> Path:
    """Where jobs lie: ``--san``, the inventory's folder, or this user's own. Raises UserError."""
    if settings.san is not None:
        return settings.san.absolute()
    file = find_inventory(settings.hosts)
    return state_folder() if file is None else san_of(inv.load(file), file).absolute()


def san_of(inventory: inv.Inventory, file: Path) -> Path:
    """The shared folder of an inventory; this user's own where no host has any. Raises UserError."""
    if inventory.san is None and all(host.san is False for host in inv.expand(inventory)):
        return own_san()
    if inventory.san is None:
        raise UserError(
            ExitCode.USAGE,
            f"{file}: san.path is missing: the hosts and this machine share no folder",
            'add to it: [san] and path = "/san/sshrender"; without a SAN: [defaults] and san = false',
        )
    return inventory.san.path


def own_san() -> Path:
    """This user's own folder, where jobs live that nobody shares; made if need be. Raises UserError."""
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            ExitCode.STORAGE, f"{folder}: {error.strerror}", "name another folder with --san DIR"
        ) from None
    return folder


def mark(output: Path) -> str:
    """Lay the word by which other machines know an output folder (delivery.py). Raises UserError."""
    from sshrender.coordinator.hangguard import guarded_call
    from sshrender.coordinator.jobopening import output_error
    from sshrender.job import delivery

    try:
        return guarded_call(output.parent, partial(delivery.create_marker, output))
    except OSError as error:
        raise output_error(error, output) from None


def unmark(output: Path, word: str) -> None:
    """Take that word away, if there is any. Never raises OSError."""
    from sshrender.coordinator.hangguard import guarded_call
    from sshrender.job import delivery

    if word:
        with contextlib.suppress(OSError):
            guarded_call(output.parent, partial(delivery.remove_marker, output, word))


def if_readable(san: Path, read: Callable[[], T]) -> T | None:
    """What ``read`` finds of one job among many; None where that job's files cannot be read.

    Raises OSError where it is the shared folder itself that fails.
    """
    return apart(san, "", read, {})


def apart(san: Path, name: str, read: Callable[[], T], damaged: dict[str, str]) -> T | None:
    """The same; why it cannot be read goes into ``damaged`` under the job's name.

    Another user may have put anything there, and whatever that sets off must not hide other jobs.
    """
    try:
        return read()
    except UserError as error:
        why = error.what
    except OSError as error:
        why = f"{error.filename or name}: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - see above
        why = f"its files cannot be understood ({type(error).__name__})"
    require_listing(san)
    damaged[name] = why
    return None


def job_names(san: Path) -> list[str]:
    """The folders that look like jobs, sorted. Raises OSError where the shared folder cannot be read.

    Hidden ones are none: ``clean`` puts aside what it removes under such names.
    """
    try:
        names = visible(san)
    except FileNotFoundError:
        return []  # this user's own is made with the first job
    return [name for name in names if _looks_like_job(JobFolder(san / name))]


def _looks_like_job(folder: JobFolder) -> bool:
    """Also what fails to tell: whoever asks for it by name hears why."""
    try:
        return stat.S_ISREG(folder.spec.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    except OSError:
        return True


def all_jobs(san: Path, damaged: dict[str, str] | None = None) -> list[tuple[JobFolder, JobSpec]]:
    """Every job in the folder, by name. Raises OSError where the folder itself cannot be read.

    What is damaged is left out, and goes into ``damaged`` with the reason.
    """
    found = []
    told: dict[str, str] = {} if damaged is None else damaged
    for name in job_names(san):
        folder = JobFolder(san / name)
        spec = apart(san, name, partial(load_spec, folder), told)
        if spec is not None:
            found.append((folder, spec))
    return found


def find_job(san: Path, named: str) -> tuple[JobFolder, JobSpec]:
    """The job of this name, of a unique beginning of one, or in this folder.

    Raises UserError, or OSError where the shared folder cannot be read.
    """
    if "/" in named:
        return _at(Path(named))
    names = job_names(san)
    fitting = [name for name in names if name == named] or [
        name for name in names if name.startswith(named)
    ]
    if len(fitting) == 1:
        return _at(san / fitting[0])
    if not fitting:
        what = f"there is no job {named} in {san}"
        raise UserError(ExitCode.USAGE, what, "sshrender status lists them")
    listed = ", ".join(fitting[:5]) + (", …" if len(fitting) > 5 else "")
    raise UserError(ExitCode.USAGE, f"{named} may be any of {listed}", "give more of the name")


def _at(path: Path) -> tuple[JobFolder, JobSpec]:
    folder = JobFolder(path.absolute())
    spec = load_spec(folder)
    if spec is None:
        raise UserError(ExitCode.USAGE, f"{path} is no job's folder", "sshrender status lists the jobs")
    return folder, spec
