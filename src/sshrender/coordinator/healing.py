"""A job of a version that did not sign is signed when its owner renders or submits it again."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

from sshrender.document.staging import Staged, digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.files import read_plain, sync_folder
from sshrender.job import lease, signature
from sshrender.job.attributes import Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.spec import JobSpec

_NO_DOCUMENT = frozenset((errno.ENOENT, errno.ELOOP, errno.EINVAL))
"""What opening the document says where there is none, or no regular file (files.py, open_plain)."""


def is_of_old_form(folder: JobFolder) -> bool:
    """Whether ``job.json`` has no MAC at all. What cannot be read is for load_signed_spec to tell."""
    try:
        fields = json.loads(read_plain(folder.spec))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and signature.FIELD not in fields


def heal(folder: JobFolder, spec: JobSpec, attributes: Attributes, get: Callable[[], Staged]) -> None:
    """Write the job anew, as its owner wants it; ``get`` stages the owner's own copy of the document.

    Nothing is taken from the unsigned files: any machine that has this user could have written them.
    ``job.json`` comes last, so that a process that ends in between leaves an unsigned job. Raises
    UserError or OSError.
    """
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld as other:
        raise _busy(spec, lease.in_words(other.claim)) from None
    try:
        folder.create()
        if not _has_document(folder, spec):
            get().settle(folder.source)
        held.ensure()
        attributes.save(folder, held.epoch)
        held.ensure()
        spec.save(folder)
        sync_folder(folder.path.parent)
    except lease.LeaseLost:
        raise _busy(spec, "another process") from None
    finally:
        held.release()


def _has_document(folder: JobFolder, spec: JobSpec) -> bool:
    """Raises OSError where that cannot be told."""
    try:
        return digest_plain(folder.source) == (spec.document.bytes, spec.document.sha256)
    except OSError as error:
        if error.errno not in _NO_DOCUMENT:
            raise
        return False


def _busy(spec: JobSpec, by: str) -> UserError:
    return UserError(
        ExitCode.LEASE,
        f"job {spec.name} is not signed, and {by} holds its lease",
        f"sshrender status {spec.name}; end that process and try again",
    )
