"""Replace files that every coordinator of a job writes, so that the highest epoch's file counts.

A coordinator may be stopped at any moment, even right after it has checked its lease, and continue when
another one has the job. So each epoch writes a file of its own, ``.epochs/NAME.EPOCH``, and gives it
the plain name as well, by rename(2), so that other programs find it at every moment. One that was
stopped just before that gives the plain name back to the highest epoch's. A reader takes the file of
the highest epoch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from pathlib import Path

from sshrender.job.lease import LeaseLost
from sshrender.job.leasefiles import EPOCHS, LeaseFiles, newest_of
from sshrender.storage.files import (
    MAX_RECORD_BYTES,
    open_plain,
    read_plain,
    sync_folder,
    write_whole,
)
from sshrender.storage.newfiles import CANNOT_LINK, replace

_FIELD = re.compile(rb'"epoch": (\d{1,18})\b')
_TRIES = 2
"""More than one: a listed file may be replaced by that of a higher epoch before it is opened."""

_MAX_LOOKED_AT = 8
"""Most copies that a read opens. Usually there is one, for a moment two; a host can create more."""

_MAX_COPIED = 1 << 30
"""Bytes of a file that is copied: a manifest of 250,000 pages has 200 MB."""

_HEAD = 4096
"""Bytes of a file in which its epoch stands: it is the second field."""


def newest_epoch(folder: Path) -> int:
    """Return the highest epoch that was claimed of this job, 0 before the first. Raises OSError."""
    return LeaseFiles(folder / "lease").newest_epoch()


def read(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return the version of the highest epoch. Raises OSError."""
    # One try more than _TRIES: the last one raises.
    for _ in range(_TRIES):
        # It is being replaced: the next try sees the new one.
        with contextlib.suppress(FileNotFoundError):
            return _read(path, max_bytes)
    return _read(path, max_bytes)


def _read(path: Path, max_bytes: int) -> bytes:
    plain: bytes | None = None
    # Its writer may have been stopped before it gave the plain name: a copy may be there.
    with contextlib.suppress(FileNotFoundError):
        plain = read_plain(path, max_bytes)
    epoch = -1 if plain is None else _epoch_of(plain)
    # Highest first: of several copies the first sound one counts.
    for number, copy in sorted(_copies(path), reverse=True)[:_MAX_LOOKED_AT]:
        if number <= epoch:
            break
        data = read_plain(copy, max_bytes)
        if _epoch_of(data) == number:  # any host can put an old file under a high number
            return data
    if plain is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return plain


def write(path: Path, data: bytes, epoch: int) -> None:
    """Replace the file. ``data`` is JSON that begins with ``epoch``. Needs the lease of that epoch.

    Raises LeaseLost if a higher epoch was claimed, or OSError.
    """
    if epoch == 0:  # the job was never coordinated
        write_whole(path, data)
        return
    # Before and after the write: in between, a successor may have claimed the job. The second check
    # makes the caller notice.
    _require_newest(path, epoch)
    copy = path.parent / EPOCHS / f"{path.name}.{epoch:08d}"
    write_whole(copy, data)
    _install(path, copy, epoch)
    # The rename has to be on the disk before the copies of lower epochs are removed.
    sync_folder(path.parent)
    for earlier, left in _copies(path):
        if earlier < epoch:
            left.unlink(missing_ok=True)
    _require_newest(path, epoch)


def _install(path: Path, copy: Path, epoch: int) -> None:
    """Give ``copy`` the name ``path`` too, which exists at every moment. Raises LeaseLost or OSError.

    A successor may come between the check and the rename: its file gets its name back.
    """
    _require_higher(path, epoch, path.parent)
    try:
        _rename_over(path, copy)
    except FileNotFoundError:
        _require_newest(path, epoch)  # a higher epoch removes what lower ones have kept
        raise
    # Bounded: in each turn a successor must have come and written.
    for _ in range(_TRIES):
        # The copy, not the plain name, tells what the highest epoch wrote.
        newest, its_copy = max(_copies(path), default=(epoch, copy))
        if (
            not epoch < newest <= newest_epoch(path.parent)
        ):  # an epoch that was never claimed does not count
            break
        with contextlib.suppress(FileNotFoundError):  # an even higher epoch has come
            _rename_over(path, its_copy)
            epoch = newest


def _rename_over(path: Path, copy: Path) -> None:
    """Replace a file by another name of the copy: rename(2) does that in one step. Raises OSError.

    Without links, a copy of the copy replaces it.
    """
    second = copy.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        try:
            os.link(copy, second)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            # Without links a second file with the same content: os.replace needs a name that it may
            # use up.
            write_whole(second, read_plain(copy, _MAX_COPIED))
        replace(second, path)
    finally:
        second.unlink(missing_ok=True)  # if both are names of one file already, rename(2) leaves it


def _require_newest(path: Path, epoch: int) -> None:
    if newest_epoch(path.parent) > epoch:
        raise LeaseLost


def _require_higher(path: Path, epoch: int, folder: Path) -> None:
    """Raise LeaseLost if the file has a higher epoch that was claimed of the job in ``folder``."""
    try:
        with open_plain(path) as file:
            written = _epoch_of(file.read(_HEAD))
    except FileNotFoundError:
        return
    if epoch < written <= newest_epoch(folder):
        raise LeaseLost


def _copies(path: Path) -> list[tuple[int, Path]]:
    """Return the version of each claimed epoch, if it is kept."""
    folder, prefix = path.parent / EPOCHS, f"{path.name}."
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone are wanted
    except FileNotFoundError:
        return []
    found = [name for name in names if name.startswith(prefix)]
    numbers = [(name.removeprefix(prefix), folder / name) for name in found]
    # Only epochs that were claimed count: a host can create any name.
    newest = newest_of(names)
    written = [(int(number), copy) for number, copy in numbers if re.fullmatch("[0-9]{8,18}", number)]
    return [(number, copy) for number, copy in written if number <= newest]


def _epoch_of(data: bytes) -> int:
    """Return the epoch of a file. One of another form has none, and stays for the reader to judge."""
    found = _FIELD.search(data[:_HEAD])
    return int(found.group(1)) if found is not None else 0
