"""The shared folder and the jobs in it: find the folder, list its jobs, resolve the name of a job.

Every access to the shared folder goes through ``on_san``, which never blocks the main thread.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import stat
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TypeVar

from sshrender.config import inventory as inv
from sshrender.config.paths import find_inventory, state_folder
from sshrender.config.settings import Settings
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec, load_spec
from sshrender.process import commandstarttime
from sshrender.storage import files
from sshrender.storage.files import require_listing, visible
from sshrender.utf8 import writable

T = TypeVar("T")


# A context variable and not a global: requests of several web users run at the same time in one process.
_acting: ContextVar[str] = ContextVar("_acting", default="")


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Make this user the author of the requests within: one process serves many web users.

    It applies to this thread, or this task of asyncio. The journal and the attributes name the user.
    """
    # A user's name comes from a request and goes into files that must be UTF-8.
    token = _acting.set(writable(user))
    try:
        yield
    finally:
        _acting.reset(token)


def current_user() -> str:
    """Return USER@HOST as others see it. It is always valid UTF-8, which $LOGNAME need not be."""
    if _acting.get():
        return _acting.get()
    try:
        user = getpass.getuser()
    # The user's number may have no entry in passwd, and no variable may name the user.
    except (KeyError, OSError):
        user = "unknown"
    return writable(f"{user}@{socket.gethostname()}")


def on_san(san: Path, work: Callable[[], T], until: float | None = None) -> T:
    """Run ``work`` on the shared folder in another thread, and return its result. Raises UserError.

    A folder that hangs raises, too; it does not block the caller. ``until``: the deadline, on the
    monotonic clock.
    """
    from sshrender.storage.hangguard import DeadlinePassed, guarded_call

    try:
        return guarded_call(san, work, until)
    except DeadlinePassed:
        # Here and below: the module that puts an error into words is loaded only when there is one.
        from sshrender.coordinator.jobopening import deadline_passed

        raise deadline_passed() from None
    except OSError as error:
        from sshrender.coordinator.storageerrors import storage_error

        raise storage_error(error, san) from None


def require_readable(san: Path) -> None:
    """Raise UserError if the shared folder cannot be listed."""
    on_san(san, partial(require_listing, san))


def deadline_of(settings: Settings) -> float | None:
    """Return when this command must end, on the monotonic clock: ``--deadline`` after its start."""
    # From the start of the process, not from here: reading the settings is part of what the user waits
    # for.
    return None if settings.deadline is None else commandstarttime.began() + settings.deadline


def san_folder(settings: Settings) -> Path:
    """Return the jobs' folder: ``--san``, the inventory's, or the user's own. Raises UserError."""
    if settings.san is not None:
        # The user's word first, then the inventory; without one, jobs stay in the user's own folder.
        return settings.san.absolute()
    file = find_inventory(settings.hosts)
    return state_folder() if file is None else san_of(inv.load(file), file).absolute()


def san_of(inventory: inv.Inventory, file: Path) -> Path:
    """Return an inventory's shared folder; this user's own if no host has one. Raises UserError."""
    require_san_path(inventory, file)
    return own_san() if inventory.san is None else inventory.san.path


def require_san_path(inventory: inv.Inventory, file: Path) -> None:
    """Raise UserError if hosts need a shared folder, and the inventory names none for this machine."""
    # A host without a shared folder has ``san = false``; pilots of a pool always need one.
    needs_folder = any(host.san is not False for host in inv.expand(inventory)) or inventory.pools
    if inventory.san is None and needs_folder:
        raise UserError(
            ExitCode.USAGE,
            f"{file}: san.path is missing: the hosts and this machine share no folder",
            f'put san.path = "/san/sshrender" at the top of {file};'
            " or, if they share no folder, san = false into [defaults]",
        )


def own_san() -> Path:
    """Return this user's own folder, for jobs without a shared folder; create it. Raises UserError."""
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            ExitCode.STORAGE, f"{folder}: {error.strerror}", "name another folder with --san DIR"
        ) from None
    return folder


def create_marker(output: Path) -> str:
    """Create the marker by which other machines recognise an output folder (outputlocation.py).

    Return its content. Raises UserError.
    """
    from sshrender.coordinator.storageerrors import output_error
    from sshrender.job.output import outputlocation
    from sshrender.storage.hangguard import guarded_call

    try:
        return guarded_call(output.parent, partial(outputlocation.create_marker, output))
    except OSError as error:
        raise output_error(error, output) from None


def remove_marker(output: Path, marker: str) -> None:
    """Remove that marker, if there is one. Never raises OSError."""
    from sshrender.job.output import outputlocation
    from sshrender.storage.hangguard import guarded_call

    if marker:
        # A marker that stays in the user's folder does no harm.
        with contextlib.suppress(OSError):
            guarded_call(output.parent, partial(outputlocation.remove_marker, output, marker))


def if_readable(san: Path, read: Callable[[], T]) -> T | None:
    """Return the result of ``read`` for one job of many; None if that job's files cannot be read.

    Raises OSError if the shared folder itself fails.
    """
    return read_or_record(san, "", read, {})


def read_or_record(san: Path, name: str, read: Callable[[], T], damaged: dict[str, str]) -> T | None:
    """Do the same, and record in ``damaged`` under the job's name why it cannot be read.

    Another user may have written anything there. Whatever error that causes must not hide other jobs.
    """
    try:
        return read()
    except UserError as error:
        why = error.what
    except OSError as error:
        why = f"{error.filename or name}: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - see the docstring
        why = f"its files cannot be parsed ({type(error).__name__})"
    # The shared folder itself is tested: if it fails, this job is not to blame, and that error is
    # raised.
    require_listing(san)
    damaged[name] = why
    return None


def require_own(folder: JobFolder, op: str) -> None:
    """Raise UserError if a job is another user's. ``op``: the command that was typed. Raises OSError."""
    owner = folder.path.stat().st_uid
    if owner != _user_in(folder.path):
        name = files.name_of(owner)
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.name} is a job of user {name}",
            f"sudo -u {shlex.quote(name)} sshrender {op} {shlex.quote(folder.name)}",
        )


def _user_in(folder: Path) -> int:
    """Return the user who owns files that we create there; our own if we may create none.

    NFS may map users (root_squash, all_squash), so that is not always our own. Raises OSError.
    """
    try:
        return files.user_in(folder)
    except PermissionError:
        return os.geteuid()


def job_names(san: Path) -> list[str]:
    """Return the folders that look like jobs, sorted. Raises OSError if the folder cannot be read.

    Hidden folders are left out: ``clean`` gives such a name to a job that it is removing.
    """
    try:
        names = visible(san)
    except FileNotFoundError:
        return []  # the user's own folder is created with the first job
    return [name for name in names if _looks_like_job(JobFolder(san / name))]


def _looks_like_job(folder: JobFolder) -> bool:
    """Return whether a folder is a job. One that cannot be read is: naming it shows the error."""
    try:
        # A regular file only: another user may have put a FIFO there, which would block a reader.
        return stat.S_ISREG(folder.spec.stat().st_mode)
    # A folder that this user may not enter belongs to another user.
    except PermissionError:
        # The shared folder itself cannot be entered: no job in it can be named.
        if not os.access(folder.path.parent, os.X_OK):
            raise
        return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # For example ESTALE or EIO: the job is listed as damaged, and not silently left out.
        return True


def all_jobs(san: Path, damaged: dict[str, str] | None = None) -> list[tuple[JobFolder, JobSpec]]:
    """Return every job in the folder, by name. Raises OSError if the folder itself cannot be read.

    Damaged jobs are left out; ``damaged`` gets the reason for each.
    """
    found = []
    reasons: dict[str, str] = {} if damaged is None else damaged
    for name in job_names(san):
        folder = JobFolder(san / name)
        spec = read_or_record(san, name, partial(load_spec, folder), reasons)
        if spec is not None:
            found.append((folder, spec))
    return found


def find_job(san: Path, named: str) -> tuple[JobFolder, JobSpec]:
    """Return the job with this name, unique prefix or folder.

    Raises UserError, or OSError if the shared folder cannot be read.
    """
    # Every name begins with an empty text: ``cancel "$JOB"`` with an empty variable would cancel the
    # only job.
    if not named:
        raise UserError(ExitCode.USAGE, "the name of a job is empty", "sshrender status")
    # A name never contains a slash, so this is the path of a job's folder.
    if "/" in named or named in (os.curdir, os.pardir):
        return _at(Path(named))
    names = job_names(san)
    # A full name wins over longer names that begin with it.
    matching = [name for name in names if name == named] or [
        name for name in names if name.startswith(named)
    ]
    if len(matching) == 1:
        return _at(san / matching[0])
    if not matching:
        what = f"there is no job {named} in {san}"
        raise UserError(ExitCode.USAGE, what, "sshrender status")
    listed = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
    raise UserError(
        ExitCode.USAGE,
        f"{named} is ambiguous: {listed}",
        "type more of the name; to list the jobs: sshrender status",
    )


def _at(path: Path) -> tuple[JobFolder, JobSpec]:
    folder = JobFolder(path.absolute())
    spec = load_spec(folder)
    if spec is None:
        raise UserError(ExitCode.USAGE, f"{path} is not the folder of a job", "sshrender status")
    return folder, spec
