"""Checks what the file system of the shared folder can do, before a job needs it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from sshrender.api.jobs import on_san
from sshrender.errors import ExitCode, UserError
from sshrender.storage import filesystemcheck
from sshrender.storage.filesystemcheck import Condition

__all__ = ["Condition", "check_storage", "check_storage_if_there", "in_words"]


def check_storage(san: Path) -> list[Condition]:
    """Return what the folder's file system can do. Raises UserError if no job could run there."""
    found = filesystemcheck.check(san)
    lacking = filesystemcheck.missing(found)
    if lacking is not None:
        raise UserError(
            ExitCode.STORAGE,
            f"the shared folder {san}: {lacking.says}",
            f"see which file system it is: findmnt -T {shlex.quote(str(san))}",
        )
    return found


def check_storage_if_there(san: Path) -> list[Condition] | None:
    """Do the same without blocking; None if this machine has no such folder. Raises UserError."""
    # Another machine may have no such folder; that is not an error of the storage.
    return on_san(san, lambda: check_storage(san) if san.is_dir() else None)


def in_words(san: Path, found: list[Condition]) -> Iterator[str]:
    """Yield a line for each condition that is not met."""
    yield from (f"shared folder {san}: {each.says}" for each in found if not each.ok)
