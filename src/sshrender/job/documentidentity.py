"""Check whether a job's folder still holds the document that the job was made for.

Every machine that is to render a job checks that before it takes the lease: pages of another document
must not be published under a digest that is not its own. A host that has the owner's user can put
another file there at any moment after that. So the file's stamp is compared once more before each page
is published, after its host has rendered it.
"""

from __future__ import annotations

import errno
import os
import shlex

from sshrender.document.facts import Stamp
from sshrender.document.staging import digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec
from sshrender.storage.files import open_and_stat


class DocumentReplaced(Exception):
    """The document was written to, moved or replaced since its digest was compared."""


def require(folder: JobFolder, spec: JobSpec) -> Stamp:
    """Return the stamp of the document. Raises UserError if it is not job.json's, or OSError.

    The document is read once for that: 0.8 seconds of processor time for each GB (measured).
    """
    document = spec.document
    try:
        stamp, found = digest_plain(folder.source, document.bytes)
    except OSError as error:
        # open_plain's errors for a link and for what is not a regular file.
        if error.errno not in (errno.ELOOP, errno.EINVAL):
            raise
        raise _error(folder, f"{folder.source} is not a regular file") from None
    if found != document.sha256:
        raise _error(folder, f"{folder.source} is not the document that the job was made for")
    return stamp


def stamp_of(folder: JobFolder, spec: JobSpec) -> Stamp | None:
    """Return the stamp of the job's document; None if it still has to be staged.

    Another process may have staged it a moment ago, and may render it. Raises OSError.
    """
    try:
        return require(folder, spec)
    except (UserError, FileNotFoundError):
        # Either it is not there yet or it is not this document: in both cases the caller stages it.
        return None


def require_same(folder: JobFolder, spec: JobSpec, before: Stamp) -> Stamp:
    """Return the stamp of the document.

    Raises DocumentReplaced if it is not the file of the stamp ``before``, or OSError. It is opened
    for that: NFS asks the server on open(2), and stat(2) may return what was true a minute ago (nfs(5),
    close-to-open). A file system that is mounted again may have another device number.
    """
    try:
        # Before each page, so without the further system calls of a file object.
        descriptor, status = open_and_stat(folder.source)
        os.close(descriptor)
        now = Stamp.of(status)
    except FileNotFoundError:
        # A missing document in a job's folder was removed or renamed; without job.json the whole
        # folder is gone, as when the share was unmounted.
        if folder.spec.exists():
            raise DocumentReplaced from None
        raise OSError(errno.ENOTDIR, "the job's folder is gone", str(folder.path)) from None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL):
            raise
        raise DocumentReplaced from None
    # The device number is left out of both comparisons: a mount may give the same file system another
    # one.
    if now._replace(device=before.device) == before:
        return before
    # Size or times differ: no digest is needed to know that it was written to.
    if now._replace(device=before.device, inode=before.inode) != before:
        raise DocumentReplaced
    # Only the inode differs, as on sshfs, whose inode numbers do not last. A host cannot set all times
    # of a file; the digest decides.
    try:
        return require(folder, spec)
    except UserError:
        raise DocumentReplaced from None


def _error(folder: JobFolder, what: str) -> UserError:
    here, aside = folder.path, folder.path.with_name(f".altered-{folder.name}")
    return UserError(
        ExitCode.DOCUMENT,
        f"{folder.name}: {what}; set the job aside, then submit the document again",
        f"mv {shlex.quote(str(here))} {shlex.quote(str(aside))}",
    )
