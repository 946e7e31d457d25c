"""The errors of the storage, as users are told them: which file, in which of the two folders, and why.

An error that belongs to one file (see workers/writefailure.py) names that file and what is in its place,
and does not send the user to look at the mount.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

from sshrender.coordinator.workers.writefailure import OutputFailed
from sshrender.errors import ExitCode, UserError, limit_reached
from sshrender.job.journal import OldJournal

_IN_PLACE = frozenset(
    (
        *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EINVAL),
        *(errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.ESTALE),
    )
)
"""Errors that what has a file's name may cause."""


def storage_error(error: OSError, san: Path) -> UserError:
    """Return the error for the user of an OSError on the SAN, or of a limit that caused it."""
    limit = limit_reached(error)
    if limit is not None:
        return limit
    where, quoted = named_file(error) or san, shlex.quote(str(san))
    hints = {
        errno.ENOSPC: f"run the same command again when there is space: df -h {quoted}",
        errno.EDQUOT: f"run the same command again when your quota allows it: df -h {quoted}",
        errno.EROFS: f"findmnt -T {quoted}",
        errno.EACCES: f"this user must be able to write there: ls -ld {quoted}",
        errno.EPERM: f"this user must be able to write there: ls -ld {quoted}",
    }
    if isinstance(error, OldJournal):
        folder = shlex.quote(str(Path(where).parent))
        hints[errno.EPROTONOSUPPORT] = f"rm -r {folder}"
    hint = _in_its_place(error) or hints.get(error.errno or 0)
    hint = hint or f"see whether the shared folder is mounted: ls -ld {quoted}"
    return UserError(ExitCode.STORAGE, f"{where}: {error.strerror}", hint)


def output_error(error: OSError, output: Path) -> UserError:
    """Return the error for the user of an OSError in the output folder."""
    if (limit := limit_reached(error)) is not None:
        return limit
    named, in_place = named_file(error), _in_its_place(error)
    if named is None or named == output or not in_place:
        what, hint = f"{output}: {error.strerror}", "choose another folder with -o DIR"
    else:
        what, hint = f"{named}: {error.strerror}", in_place
    return UserError(ExitCode.STORAGE, f"cannot write to the output folder {what}", hint)


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


def _in_its_place(error: OSError) -> str:
    """Return a hint about what has the file's name, if that may be the cause; else an empty text."""
    path = named_file(error)
    if path is None or error.errno not in _IN_PLACE:
        return ""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    here, aside = (shlex.quote(str(each)) for each in (path, path.with_name(f"{path.name}.aside")))
    if not stat.S_ISREG(mode) and error.errno not in (errno.EPERM, errno.EACCES):
        return f"run the same command again after this: mv {here} {aside}"
    if stat.S_ISREG(mode):
        return f"it cannot be replaced, as where it is immutable or another user's: lsattr {here}"
    return ""
