"""Classify an error of the storage: whether it belongs to one file's name, or to the folder.

A folder or an immutable file in place of one page, or a file of another user in a sticky folder, keeps
that page from being written and no other. The error number does not tell: a file system that refuses
everything reports EPERM, too. So the operations that a page needs are tried in the folder, under another
name. If they work, the name is at fault.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sshrender.storage import primitives
from sshrender.storage.newfiles import CANNOT_LINK

OUTPUT, SAN = "the output folder", "the shared folder"

_OF_ALL_FILES = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT),
        *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR),
    )
)
"""Errors that no single name causes. A full storage may have room for the trial, but not for a page."""


class OutputFailed(OSError):
    """An OSError of the output folder; others are the shared folder's. ``filename``: the page's."""

    @classmethod
    def at(cls, target: Path, error: OSError) -> OutputFailed:
        """Return the error for the page's file ``target``."""
        return cls(error.errno or errno.EIO, str(error.strerror or error), str(target))


class WriteFailure(NamedTuple):
    """``reason`` names the storage and the file. ``is_one_name``: its folder works for other files."""

    reason: str
    is_one_name: bool


def classify(error: OSError, final: Path, target: Path, name: str) -> WriteFailure:
    """Classify an error of publishing a page as ``final``, or of delivering it as ``target``.

    ``name`` becomes part of the name of what is tried.
    """
    is_output = isinstance(error, OutputFailed)
    where, file = (OUTPUT, target) if is_output else (SAN, final)
    # POSIX has link(2) and rename(2) report both; filename2 is Python's name for the second.
    # If a rename fails, its second name is the file that cannot be replaced.
    named = error.filename2 or error.filename or file
    # The temporary name means nothing to the user: the page's name does.
    if is_output or _is_temporary(named):
        named = file
    reason = f"{where}: {os.fsdecode(named)}: {error.strerror or error}"
    return WriteFailure(reason, is_of_one_name(error, file.parent, name))


def is_of_one_name(error: OSError, folder: Path, name: str) -> bool:
    """Return whether the folder takes other files, though not this one."""
    # The list comes first: a probe costs several requests to the file server.
    return error.errno not in _OF_ALL_FILES and why_unusable(folder, name) == ""


class NameTrouble:
    """Notices that one file cannot be written for a while although others in its folder can.

    Each failure is examined: if the storage failed as well, and works again only at the last failure, no
    single file is at fault.
    """

    def __init__(self, wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait = wait
        self._clock = clock
        self._since: float | None = None

    def clear(self) -> None:
        """Note that the file was written."""
        self._since = None

    def is_lasting(self, error: OSError, folder: Path, name: str) -> bool:
        """Note a failure; return whether the name alone has failed for as long as is waited."""
        if not is_of_one_name(error, folder, name):
            self._since = None
            return False
        self._since = self._clock() if self._since is None else self._since
        return self._clock() - self._since >= self._wait

    @property
    def is_of_one_name(self) -> bool:
        """Whether the last failure was of the name alone."""
        return self._since is not None


def why_unusable(folder: Path, name: str) -> str:
    """Write, link, rename and remove a file in a folder, as for a page. Return the step that failed."""
    reason = primitives.try_write(str(folder), name)
    if reason is not None:
        return reason
    first = folder / f".probe.{name}-{uuid.uuid4().hex[:12]}"
    second = first.with_name(f"{first.name}.2")
    try:
        first.touch(0o600, exist_ok=False)
        # As a page is published: by a link if the file system has links, else by renaming.
        try:
            os.link(first, second)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
        primitives.rename(str(first), str(second))
        second.unlink()
    except OSError as error:
        return str(error.strerror)
    # In any case: a probe that fails half way must not leave files in the user's folder.
    finally:
        for left in (first, second):
            # Its name may have never been made.
            with contextlib.suppress(OSError):
                left.unlink()
    return ""


def _is_temporary(named: str | bytes | Path) -> bool:
    return Path(os.fsdecode(named)).name.startswith(".")
