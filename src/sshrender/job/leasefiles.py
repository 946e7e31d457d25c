"""Read and write the files of a lease: one for heartbeats, and one for each epoch that was ever claimed.

``lease`` is replaced by its holder with every heartbeat. ``.epochs/00000007`` belongs to the process
that linked it there: link(2) lets one of several have it, on every NFS if the link count is checked
afterwards (open(2), O_EXCL). If there are no links, it belongs to the process that created it, with
O_EXCL, which is as exclusive everywhere but on NFS version 2; for a moment it is empty then. As none is
ever removed, no epoch is given twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from sshrender.storage.files import names_in, read_plain, rename
from sshrender.storage.newfiles import (
    CANNOT_LINK,
    file_mode,
    folder_mode,
    link_new,
    make_folder,
    set_mode,
)

EPOCHS = ".epochs"
"""The folder in a job's folder for the files of each epoch."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_EPOCH = re.compile(r"\d{8,19}")
_TOKEN = re.compile(r"[0-9a-f]{32}")

MAX_EPOCHS = 20_000
"""Names that are looked through for the newest: one is made each time that a job is taken over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim to coordinate: the content of ``lease`` and of an epoch's file. ``pid`` 0: released."""

    counter: int
    epoch: int
    host: str
    pid: int
    boot: str
    started: str
    token: str


class LeaseStore(Protocol):
    """The storage operations of a lease. Each is done whole or not at all. Raises OSError."""

    def read(self) -> Claim | None:
        """Return the content of ``lease``; None: there is none, or it is damaged."""

    def write(self, claim: Claim) -> None:
        """Replace it."""

    def newest_epoch(self) -> int:
        """Return the highest epoch that was claimed, 0 before the first."""

    def claimant(self, epoch: int) -> Claim | None:
        """Return the claim to an epoch; None if it cannot be read."""

    def claim(self, claim: Claim) -> bool:
        """Claim the epoch that a claim names; return whether this process got it."""


class LeaseFiles:
    """See LeaseStore. ``path``: of ``lease``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._epochs = path.parent / EPOCHS

    def read(self) -> Claim | None:
        """See LeaseStore.read."""
        return _understood(self._path)

    def write(self, claim: Claim) -> None:
        """See LeaseStore.write."""
        own = self._own(self._path.parent, claim)
        try:
            # rename(2) replaces it whole: a reader sees the old claim or the new one.
            rename(own, self._path)
        except OSError:
            own.unlink(missing_ok=True)
            raise

    def newest_epoch(self) -> int:
        """See LeaseStore.newest_epoch."""
        try:
            names = names_in(self._epochs, MAX_EPOCHS)
        except FileNotFoundError:
            return 0
        return newest_of(names)

    def claimant(self, epoch: int) -> Claim | None:
        """See LeaseStore.claimant."""
        return _understood(self._file_of(epoch))

    def claim(self, claim: Claim) -> bool:
        """See LeaseStore.claim."""
        with contextlib.suppress(FileExistsError):
            mode = folder_mode(self._path.parent)
            self._epochs.mkdir(mode=mode & 0o777)
            # mkdir obeys the umask; make_folder() sets the mode in any case.
            make_folder(self._epochs, mode)
        own = self._own(self._epochs, claim)
        try:
            return link_new(own, self._file_of(claim.epoch))
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
        finally:
            # Also after the link was made: the epoch's file has its own name by then.
            own.unlink(missing_ok=True)
        return self._create(self._file_of(claim.epoch), claim)

    def _create(self, path: Path, claim: Claim) -> bool:
        """Claim an epoch by creating its file; return whether this process got it.

        It counts from its creation on. While it is empty, or for ever if this process ends now, it
        cannot be read, and others wait as for a holder that is silent.
        """
        try:
            descriptor = os.open(path, _NEW, file_mode(self._path.parent))
        except FileExistsError:
            return False
        self._fill(descriptor, claim)
        # A file system in user space may let two create it, and keep what was written last.
        return _understood(path) == claim

    def _file_of(self, epoch: int) -> Path:
        return self._epochs / f"{epoch:08d}"

    def _own(self, folder: Path, claim: Claim) -> Path:
        """Write the claim into a file with a name of its own, and return it. Leaves none on failure."""
        own = folder / f".{self._path.name}-{uuid.uuid4().hex}"
        descriptor = os.open(own, _NEW, file_mode(self._path.parent))
        try:
            self._fill(descriptor, claim)
        except OSError:
            own.unlink(missing_ok=True)
            raise
        return own

    def _fill(self, descriptor: int, claim: Claim) -> None:
        """Write the claim into a new file, and close that. Raises OSError."""
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            set_mode(descriptor, file_mode(self._path.parent))
            # ASCII: json.dumps escapes all else, as the encoding above demands.
            file.write(json.dumps(asdict(claim)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def newest_of(names: Iterable[str]) -> int:
    """Return the highest epoch among the names in ``.epochs``, 0 for none."""
    return max((int(name) for name in names if _EPOCH.fullmatch(name)), default=0)


def _understood(path: Path) -> Claim | None:
    try:
        # TypeError: other fields than a claim has.
        claim = Claim(**json.loads(read_plain(path)))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return None
    return claim if _is_sound(claim) else None


def _is_sound(claim: Claim) -> bool:
    """Whether sshrender could have written it: every process of the folder's owner can write there."""
    numbers = (claim.counter, claim.epoch, claim.pid)
    texts = (claim.host, claim.boot, claim.started, claim.token)
    # 1 << 62: far above any real number, and within 64 bits.
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        return False
    return all(type(text) is str for text in texts) and _TOKEN.fullmatch(claim.token) is not None
