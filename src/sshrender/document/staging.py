"""Put the document into the shared folder, once: cloned if the file system can, else copied.

It is never a second name of the user's file: writing to that would change the pages of a job whose name
is a digest of what the document was.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from sshrender.document.facts import Stamp, changed_meanwhile, open_document
from sshrender.document.stagingowner import Owner
from sshrender.storage.files import open_plain, rename, status_of_new, sync_folder
from sshrender.storage.newfiles import file_mode, set_mode
from sshrender.storage.primitives import write_all

if TYPE_CHECKING:
    from concurrent.futures import Future

Progress = Callable[[int], None] | None
"""Is called with the number of bytes that were read so far, if it is given."""

PREFIX = ".staging-"
_BLOCK = 1 << 20
_STORED_AT_ONCE = 64 << 20
"""Bytes after which the disk or the server is asked to store what was written."""

_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""

ABANDONED = 7 * 86400.0
"""Seconds after which a staged file of another machine, whose process this one cannot see, is removed if
it is not locked either. Staging takes minutes: each operation of it has a time bound."""


def digest(path: Path, progress: Progress = None) -> str:
    """Return the SHA-256 of a file that a user names. Raises OSError."""
    with open_document(path) as file:
        return _read(file, progress=progress)


def digest_plain(path: Path, size: int) -> tuple[Stamp, str]:
    """Return stamp and SHA-256 of a file in the shared folder, as open_plain opens it. Raises OSError.

    No digest for a file of another size, or one that is written to meanwhile: a sparse file may claim
    exabytes.
    """
    with open_plain(path) as file:
        before = Stamp.of(os.fstat(file.fileno()))
        found = _read(file, most=size) if before.bytes == size else ""
        after = Stamp.of(os.fstat(file.fileno()))
    return before, found if before == after else ""


class Staged:
    """A document under a temporary name in the shared folder, until it becomes a job's document.

    The file is locked for as long as this process has it, and its name tells which process that is.
    """

    def __init__(self, source: Path, folder: Path, progress: Progress = None) -> None:
        """Stage it. Raises UserError if it changes meanwhile, or OSError."""
        self.path = folder / f"{PREFIX}{Owner.of_this_process()}-{uuid.uuid4().hex[:12]}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # Unbuffered: it is written by its descriptor as well (``_read``).
        self._file = os.fdopen(os.open(self.path, flags, 0o600), "r+b", buffering=0)
        try:
            # Another process sees by the lock that this one is alive, also on another machine.
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.sha256 = _bring(source, self._file, progress)
            set_mode(self._file.fileno(), file_mode(folder))  # a host may be asked about it
            os.fsync(self._file.fileno())
        except BaseException:
            self.clear()
            raise

    def move_to(self, target: Path) -> Stamp:
        """Give it its final name; it is read-only from then on. Raises OSError."""
        # Read-only even for the owner: hosts that log in as that user have to change the mode first.
        set_mode(self._file.fileno(), file_mode(target.parent) & 0o444)
        size = os.fstat(self._file.fileno()).st_size
        rename(self.path, target)
        sync_folder(target.parent)
        stamp = self._stamp_at(target, size)
        self._file.close()
        return stamp

    def _stamp_at(self, target: Path, size: int) -> Stamp:
        """Return the stamp under the final name. Raises OSError; ESTALE if another file has it.

        A file system in user space (FUSE) knows an open file by its path, and no longer finds it when
        the answer to the rename was lost. The file is then read again under its new name.
        """
        try:
            return Stamp.of(os.fstat(self._file.fileno()))
        except FileNotFoundError:
            stamp, sha256 = digest_plain(target, size)
            if sha256 != self.sha256:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(target)) from None
            return stamp

    def clear(self) -> None:
        """Remove it, unless it has its final name."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()


def _bring(source: Path, target: BinaryIO, progress: Progress) -> str:
    """Stage the document, and return its SHA-256. Raises UserError or OSError."""
    with open_document(source) as original:
        before = Stamp.of(os.fstat(original.fileno()))
        # A clone is read from the copy: what is digested is what is kept.
        is_clone = _clone(original, target)
        sha256 = (
            _read(target, progress=progress) if is_clone else _read(original, target, None, progress)
        )
        after = Stamp.of(os.fstat(original.fileno()))
    if after != before or os.fstat(target.fileno()).st_size != before.bytes:
        raise changed_meanwhile(source)
    return sha256


def _clone(original: BinaryIO, target: BinaryIO) -> bool:
    """Share the blocks until one of the two is changed (Btrfs, XFS, NFS 4.2)."""
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, original.fileno())
    except OSError:
        return False
    return True


def _read(
    file: BinaryIO,
    copy: BinaryIO | None = None,
    most: int | None = None,
    progress: Progress = None,
) -> str:
    """Return the SHA-256 of what is read, and written to ``copy``: the document is read once.

    At most ``most`` bytes and a block are read, even if the file grows.
    """
    hasher, read = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        write = None
        if copy is not None:
            write = stack.enter_context(_Writer(copy.fileno()))
        while block := file.read(_BLOCK):
            # Digested while it is written: hashlib and write(2) both let other threads run.
            if write is not None:
                write(block)
            hasher.update(block)
            read += len(block)
            # A file that grows while it is read would have no end.
            if most is not None and read > most:
                break
            if progress is not None:
                progress(read)
    return hasher.hexdigest()


class _Writer:
    """Writes blocks in a thread, and has the disk or the server store them in another.

    Most of what is written is stored by the time all of it is: the fsync at the end waits for the rest
    alone. A context manager, whose end waits until all is written. Errors are raised by the next call
    or by the end.
    """

    def __init__(self, descriptor: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # most processes copy no document

        self._descriptor = descriptor
        self._threads = ThreadPoolExecutor(2)
        self._writing: Future[None] | None = None
        self._storing: Future[None] | None = None
        self._written = 0

    def __call__(self, block: bytes) -> None:
        """Write a block when the one before is written. Raises OSError."""
        if self._writing is not None:
            self._writing.result()
        self._written += len(block)
        if self._written >= _STORED_AT_ONCE and (self._storing is None or self._storing.done()):
            self._written = 0
            self._wait_for_storing()
            self._storing = self._threads.submit(os.fdatasync, self._descriptor)
        self._writing = self._threads.submit(write_all, self._descriptor, block)

    def _wait_for_storing(self) -> None:
        # Its error is told here and nowhere else: the kernel reports one to the first call that asks.
        if self._storing is not None:
            self._storing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown()
        if kind is None:
            if self._writing is not None:
                self._writing.result()
            self._wait_for_storing()


def clear_stale(folder: Path) -> None:
    """Remove what ended processes left half staged; never what a live process may own.

    A file's time stamps say nothing about its process. Processes of another machine, or of this one
    before it was restarted, cannot be inspected; their files are removed after ABANDONED, by the clock
    of the file server, unless they are locked.
    """
    here = Owner.of_this_process()
    now: float | None = None
    for left in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, OverflowError):  # another user may have named it
            owner = Owner.parse(left.name.removeprefix(PREFIX).rpartition("-")[0])
            is_dead = owner.is_dead(here) if owner is not None else None
            if is_dead is None:
                # The clock of the file server: that of this machine may differ.
                now = status_of_new(folder).st_ctime if now is None else now
                is_dead = now - left.lstat().st_ctime > ABANDONED and not _is_locked(left)
            if is_dead:
                left.unlink()


def _is_locked(path: Path) -> bool:
    """Whether a process has it locked. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True  # EWOULDBLOCK, or ENOLCK: then nothing is known
    finally:
        os.close(descriptor)
    return False
