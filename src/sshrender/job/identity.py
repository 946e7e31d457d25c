"""Whether a job's folder still holds the document that the job was made for.

Checked by every machine that is to render a job, before it takes the lease: pages of another document
must not be published under a digest that is not its own.
"""

from __future__ import annotations

import errno
import shlex

from sshrender.document.staging import digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec


def require(folder: JobFolder, spec: JobSpec) -> None:
    """Raise UserError where the document is not the one of ``job.json``, or OSError.

    The document is read once for that: 0.8 seconds of processor time for each GB (measured).
    """
    document = spec.document
    try:
        found = digest_plain(folder.source)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL):
            raise
        raise _error(folder, f"{folder.source} is not a regular file") from None
    if found != (document.bytes, document.sha256):
        raise _error(folder, f"{folder.source} is not the document that the job was made for")


def _error(folder: JobFolder, what: str) -> UserError:
    here, aside = folder.path, folder.path.with_name(f".altered-{folder.name}")
    return UserError(
        ExitCode.DOCUMENT,
        f"{folder.name}: {what}",
        f"mv {shlex.quote(str(here))} {shlex.quote(str(aside))} # then submit the document again",
    )
