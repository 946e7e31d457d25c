"""Turns errors of the storage into errors for users: which file, in which of the two folders, and why.

An error that belongs to one file (workers/writeerrorscope.py) names that file and what is in its place,
and does not send the user to look at the mount.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

from sshrender.coordinator.workers.writeerrorscope import OutputFailed
from sshrender.errors import ExitCode, UserError, limit_reached
from sshrender.job.journal.journal import NewerJournal, OldJournal
from sshrender.storage import files, filesystemcheck
from sshrender.storage.files import dangling_link

_OF_A_FILE = frozenset((errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY))
"""Errors of a name whose file cannot be replaced."""

_OF_ANOTHER_KIND = frozenset(
    (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EINVAL)
)
"""Errors of a name that a folder, a link or a FIFO has. Others may be the storage's, as of a folder."""


_NOT_SUPPORTED = frozenset((errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP))
"""Errors with which a file system refuses operations that it does not support."""


def storage_error(error: OSError, san: Path) -> UserError:
    """Return the error for the user of an OSError on the SAN, or of a limit that caused it."""
    limit = limit_reached(error)
    if limit is not None:
        return limit
    where, quoted = named_file(error) or san, shlex.quote(str(san))
    if error.filename2 and error.errno in _NOT_SUPPORTED and not _is_in_the_way(error, san):
        # Only renames have a second name: if a file system has no links, other operations replace them.
        return UserError(
            ExitCode.STORAGE,
            f"the shared folder {san}: {filesystemcheck.REPLACE.format(why=error.strerror)}",
            f"see which file system it is: findmnt -T {shlex.quote(str(san))}",
        )
    hints = {
        errno.ENOSPC: f"run the same command again when there is space: df -h {quoted}",
        errno.EDQUOT: f"run the same command again when your quota allows it: df -h {quoted}",
        errno.EROFS: f"findmnt -T {quoted}",
        # Without a name: any call on a folder that hangs would hang, too.
        errno.ETIMEDOUT: "see whether its file server answers; what is mounted here: findmnt",
    }
    if isinstance(error, OldJournal):
        folder = shlex.quote(str(Path(where).parent))
        hints[errno.EPROTONOSUPPORT] = f"rm -r {folder}"
    if isinstance(error, NewerJournal):
        hints[errno.EPROTONOSUPPORT] = "update the program on this machine"
    hint = hints.get(error.errno or 0, f"see whether the shared folder is mounted: ls -ld {quoted}")
    # Only after these errors: a folder that hangs must not be asked for anything.
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = _permission(error, san)
    file = _file_above(san) if error.errno == errno.ENOTDIR else None
    if file is not None:
        hint = _not_a_folder(file)
    elif _is_in_the_way(error, san):
        hint = _way_out(where, error)
    return UserError(ExitCode.STORAGE, f"{where}: {error.strerror}", hint)


def _file_above(folder: Path) -> Path | None:
    """Return the part of a path that is a file, so that nothing can be below it."""
    return next((each for each in (folder, *folder.parents) if each.is_file()), None)


def _not_a_folder(file: Path) -> str:
    return f"this is a file, and has to be a folder: ls -ld {shlex.quote(str(file))}"


def _permission(error: OSError, san: Path) -> str:
    """Return a hint for a file that may not be written; for another user's job it names that user."""
    path, folder = named_file(error), san
    if path is not None and path != san and path.is_relative_to(san):
        folder = san / path.relative_to(san).parts[0]
    try:
        owner = folder.stat().st_uid
    except OSError:
        owner = os.geteuid()
    if folder != san and owner != os.geteuid():
        name = files.name_of(owner)
        return f"only its owner, user {name}, may do that: ls -ld {shlex.quote(str(folder))}"
    return f"this user must be able to write there: ls -ld {shlex.quote(str(san))}"


def output_error(error: OSError, output: Path) -> UserError:
    """Return the error for the user of an OSError in the output folder."""
    if (limit := limit_reached(error)) is not None:
        return limit
    named = named_file(error) or output
    if not _is_in_the_way(error, output):
        why = error.strerror
        hint = "choose another folder with -o DIR"
        if error.errno == errno.ENOTDIR and (file := _file_above(output)) is not None:
            hint = _not_a_folder(file)
        elif error.errno == errno.EEXIST and (link := dangling_link(output)) is not None:
            why = str(link)
            hint = f"mkdir -p {shlex.quote(link.target)}"
        return UserError(ExitCode.STORAGE, f"cannot write to the output folder {output}: {why}", hint)
    return UserError(
        ExitCode.STORAGE,
        f"cannot write to the output folder {named}: {error.strerror}",
        _way_out(named, error),
    )


def run_error(error: OSError, san: Path, output: Path) -> UserError:
    """Return the error for the user of an OSError on the SAN or in the output folder."""
    named = named_file(error)
    is_in_output = named is not None and output != san and named.is_relative_to(output)
    if isinstance(error, OutputFailed) or is_in_output:
        return output_error(error, output)
    return storage_error(error, san)


def named_file(error: OSError) -> Path | None:
    """Return the file that an error is about: of a rename the one that is replaced; None: not known."""
    named = error.filename2 or error.filename
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else None


def _is_in_the_way(error: OSError, folder: Path) -> bool:
    """Return whether something that has the name of a file below ``folder`` may be the cause."""
    path = named_file(error)
    if path is None or path == folder or not path.is_relative_to(folder):
        return False
    # Not after other errors: what hangs must not be asked for anything.
    if error.errno not in _OF_A_FILE | _OF_ANOTHER_KIND | {errno.ENOTDIR}:
        return False
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
    return error.errno in (_OF_A_FILE | {errno.ENOTDIR} if is_file else _OF_ANOTHER_KIND)


def _way_out(path: Path, error: OSError) -> str:
    """Return a hint for something that has a file's name and cannot be replaced."""
    here, aside = (shlex.quote(str(each)) for each in (path, path.with_name(f"{path.name}.aside")))
    if error.errno != errno.ENOTDIR and path.is_file() and not path.is_symlink():
        return f"it cannot be replaced; perhaps it is immutable or another user's: lsattr {here}"
    return f"run the same command again after this: mv {here} {aside}"
