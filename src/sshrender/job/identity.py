"""Whether a job's folder still holds the job and the document that its name stands for.

Checked by every machine that is to render a job, before it takes the lease: pages of another document
must not be published under a digest that is not its own.
"""

from __future__ import annotations

import errno
import shlex
from pathlib import PurePath

from sshrender.document.staging import digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec, job_name


def require(folder: JobFolder, spec: JobSpec) -> None:
    """Raise UserError where name, ``job.json`` and document do not fit each other; OSError.

    The document is read once for that: 0.8 seconds of processor time for each GB (measured).
    """
    document = spec.document
    # A name that is not UTF-8 stands in the document's as question marks, which no name of a job has.
    expected = job_name(PurePath(document.name).stem, document.sha256, spec.settings)
    if not folder.name == spec.name == expected:
        raise _error(folder, f"{folder.spec} describes another job than the folder's name")
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
