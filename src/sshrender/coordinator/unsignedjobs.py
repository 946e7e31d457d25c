"""Signs a job of a version that did not sign, when its owner renders or submits it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

from sshrender.document.facts import Stamp
from sshrender.document.staging import Staged
from sshrender.errors import ExitCode, UserError
from sshrender.job import documentidentity, lease, signature
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.spec import JobSpec
from sshrender.storage.files import read_plain, sync_folder


def is_of_old_form(folder: JobFolder) -> bool:
    """Return whether ``job.json`` has no MAC at all.

    load_signed_spec reports files that cannot be read.
    """
    try:
        fields = json.loads(read_plain(folder.spec))
    # Not a file, too large, not JSON or nested too deep: load_signed_spec reports each of these with
    # its cause.
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and signature.FIELD not in fields


def sign_again(
    folder: JobFolder, spec: JobSpec, attributes: Attributes, get: Callable[[], Staged]
) -> Stamp:
    """Write the job's files again, signed; ``get`` stages the owner's own copy of the document.

    Returns the stamp of the document in the job's folder.

    Nothing is taken from the unsigned files: any machine on which this user works could have written
    them.
    ``job.json`` is written last, so that a process that ends in between leaves an unsigned job.

    Raises UserError or OSError.
    """
    # Under the lease: two processes that sign at the same time would write different ids.
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld as other:
        raise _busy(spec, lease.in_words(other.claim)) from None
    try:
        folder.create()
        stamp = documentidentity.stamp_of(folder, spec) or get().move_to(folder.source)
        held.ensure()
        attributes.changed(job=spec.id).save(folder, held.epoch)
        held.ensure()
        spec.save(folder)
        sync_folder(folder.path.parent)
        return stamp
    except lease.LeaseLost:
        raise _busy(spec, "another process") from None
    # Released in any case: the caller takes it again for the run.
    finally:
        held.release()


def _busy(spec: JobSpec, by: str) -> UserError:
    return UserError(
        ExitCode.LEASE,
        f"job {spec.name} is not signed yet, and cannot be signed while {by} holds its lease",
        f"end that process and try again; to see it: sshrender status {shlex.quote(spec.name)}",
    )
