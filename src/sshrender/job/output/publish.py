"""Move a verified page from ``work/`` to ``pages/`` and to the user's folder: whole or not at all.

A host may replace its own file by another one at any moment. So a page is one open file from its
verification on: it is linked, or copied, from its descriptor, and no name in ``work/`` is used again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import uuid
from pathlib import Path

from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import open_page
from sshrender.storage.files import open_folder, remove_tree, rename
from sshrender.storage.newfiles import CANNOT_LINK, create, file_mode, give_name

_BLOCK = 1 << 20

REMOVED = ".removed-"
"""Start of the name of a file that is about to be removed."""

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of modification: what a file is, whatever its name. The inode alone does
not tell it: its number is given to the next new file once this one is removed."""


def page_name(page: int, total: int, extension: str) -> str:
    """Return ``page-0001.png``: at least four digits, and as many as the document's last page has."""
    return f"page-{page:0{max(4, len(str(total)))}d}.{extension}"


class PageTaken(Exception):
    """The page is published already, by another attempt."""


def publish(verified: int, attempt: Path, final: Path, sha256: str) -> tuple[int, bool]:
    """Give a verified, open file its final name, and remove the attempt's. Never replaces a page.

    Returns a descriptor of the published file, and whether it is a copy, which ``secure`` makes durable:
    a file of another user, who could write to it later, is copied. Raises PageTaken; VerificationFailed
    if it has changed; OSError if it has not got the name, or if the folder is a symbolic link.
    """
    # Refuses a symbolic link in place of ``pages/``: what is published below it would be
    # elsewhere.
    place = open_folder(final.parent)
    try:
        page, is_copy = _publish(verified, attempt, final, sha256, place)
    finally:
        os.close(place)
    with contextlib.suppress(OSError):  # a host may have put a folder there; clear_work comes later
        attempt.unlink()
    return page, is_copy


def _publish(verified: int, attempt: Path, final: Path, sha256: str, place: int) -> tuple[int, bool]:
    """As ``publish``. ``place``: the folder of ``final``, open."""
    # A second name of another user's file would leave that user the right to write to it.
    if os.fstat(verified).st_uid == os.fstat(place).st_uid:
        try:
            _link_into(place, verified, final, attempt)
            return os.dup(verified), False
        except FileExistsError:
            # The name may be this very file's: a try that failed after the link is repeated.
            if not is_same_file(verified, final):
                raise PageTaken from None
            return os.dup(verified), False
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
    return _publish_copy(verified, final, sha256), True


def is_ours(descriptor: int, folder: Path) -> bool:
    """Whether a file and its folder belong to the same user, as the storage knows them."""
    return os.fstat(descriptor).st_uid == folder.stat().st_uid


def is_same_file(descriptor: int, path: Path) -> bool:
    """Whether this is a name of this very file. Raises OSError."""
    first, second = os.fstat(descriptor), path.lstat()
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def other_in_place(page: int, final: Path, sha256: str) -> int | None:
    """Return a descriptor of the other content that has a page's name by now; None if there is none.

    To be called after the delivery: a coordinator that was stopped between publishing and delivering
    may have delivered over the page of the one that has the job now. Raises OSError.
    """
    try:
        if is_same_file(page, final):
            return None
        other = open_page(final)
    except (FileNotFoundError, VerificationFailed):
        return None
    try:
        size = os.fstat(other).st_size
        # The same content under another inode is the page as well: it need not be delivered again.
        if size != os.fstat(page).st_size or digest(other, size) != sha256:
            # A second descriptor, as ``finally`` closes the first in either case.
            return os.dup(other)
        return None
    finally:
        os.close(other)


def _link(descriptor: int, new: Path, name: Path | None = None) -> None:
    """Give an open file a further name: by its descriptor, if there is a /proc (open(2), O_TMPFILE).

    Without /proc by its ``name``, if that is still this file's. Raises FileExistsError;
    VerificationFailed if the file has no name any more, or another file has it; OSError.
    """
    folder = os.open(new.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _link_into(folder, descriptor, new, name)
    finally:
        os.close(folder)


def _link_into(folder: int, descriptor: int, new: Path, name: Path | None) -> None:
    """As ``_link``. ``folder``: that of ``new``, open."""
    try:
        # With a folder's descriptor os.link calls linkat(2), which follows the symbolic link that
        # /proc/self/fd/N is; link(2) does not.
        os.link(f"/proc/self/fd/{descriptor}", new, src_dir_fd=folder)
        return
    except OSError as error:
        # ENOENT: there is no /proc, or the file has no name any more. ESTALE: NFS says the latter.
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        if _is_gone(descriptor):
            raise VerificationFailed("another file took its place after it was verified") from None
        if error.errno == errno.ESTALE:
            raise
        # With a /proc the error is of the storage: the new folder is gone, or it is a FUSE file system
        # that knows files by path (libfuse, high-level API), and the one of this descriptor was removed.
        if Path("/proc/self/fd").is_dir():
            if not new.parent.is_dir():
                raise
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(new)) from None
    if name is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(new))
    os.link(name, new, follow_symlinks=False)
    # Between the check of the name and link(2) another file may have taken it.
    if not is_same_file(descriptor, new):
        remove(new, identity(new))
        raise VerificationFailed("another file took its place after it was verified")


def _is_gone(descriptor: int) -> bool:
    """Whether an open file has no name any more; NFS no longer knows such a file."""
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
        return True


def _publish_copy(verified: int, final: Path, sha256: str) -> int:
    """Publish a copy that belongs to this user under the final name, and return its descriptor."""
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    copy = _copy(verified, temporary, sha256)
    try:
        if not give_name(temporary, final):
            raise PageTaken
        return copy
    except BaseException:
        os.close(copy)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def own(descriptor: int, final: Path, sha256: str) -> int:
    """Return a descriptor of a published file that is this user's; another user's is replaced by a copy.

    Raises VerificationFailed if its content is another one, or OSError.
    """
    if is_ours(descriptor, final.parent):
        return os.dup(descriptor)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    copy = _copy(descriptor, temporary, sha256)
    try:
        # Before the rename: a name must not appear before its content is on the disk.
        os.fsync(copy)
        rename(temporary, final)
    except BaseException:
        os.close(copy)
        temporary.unlink(missing_ok=True)
        raise
    return copy


def identity(path: Path) -> Identity | None:
    """Return which file has this name now, links not followed; None: none. Raises OSError."""
    try:
        place = open_folder(path.parent)
    except FileNotFoundError:
        return None
    try:
        # By the folder's descriptor, so that a link in its place is not followed.
        return identity_of(os.stat(path.name, dir_fd=place, follow_symlinks=False))
    except FileNotFoundError:
        return None
    finally:
        os.close(place)


def identity_of(status: os.stat_result) -> Identity:
    """Return which file has this status."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def remove(path: Path, seen: Identity | None) -> None:
    """Remove anything but the page that has its name: a link, a FIFO, a folder, another content.

    Only the file that was ``seen`` there is removed: a coordinator that was stopped after it had looked,
    and continues when another one has the job, must not remove that one's page. So the file is moved
    aside before it is compared, and gets its name back if it is another one. What cannot be removed
    stays aside: the name is free. A link in place of the folder is not followed. Raises OSError.
    """
    if seen is None:
        return
    # A random name: of two processes that remove the same file each moves aside its own.
    aside = f"{REMOVED}{uuid.uuid4().hex}"
    place = open_folder(path.parent)
    try:
        try:
            found = _move_aside(path.name, aside, place)
        except OSError as error:  # its names are relative to the folder, and one was made up
            raise OSError(error.errno or errno.EIO, str(error.strerror), str(path)) from None
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):  # never a page
            with contextlib.suppress(OSError):
                remove_tree(aside, place)
            return
        # Another file has taken the name since: it is moved back before the name is free for long.
        if identity_of(found) != seen:
            _give_back(aside, path.name, place)
        # See the docstring: what cannot be removed stays aside.
        with contextlib.suppress(OSError):
            os.unlink(aside, dir_fd=place)
    finally:
        os.close(place)


def _give_back(aside: str, name: str, place: int) -> None:
    """Give a file in the open folder ``place`` its name back, unless another has it. Raises OSError."""
    try:
        os.link(aside, name, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        # Without links: first a look, then a rename. In between another process could take the name;
        # the lease keeps coordinators away.
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=place, follow_symlinks=False)
            return
        os.rename(aside, name, src_dir_fd=place, dst_dir_fd=place)


def digest(descriptor: int, size: int) -> str:
    """Return the SHA-256 of the first ``size`` bytes of an open file. Raises OSError."""
    hasher, at = hashlib.sha256(), 0
    # pread: the offset of the shared descriptor stays where it is.
    while at < size and (block := os.pread(descriptor, min(_BLOCK, size - at), at)):
        hasher.update(block)
        at += len(block)
    return hasher.hexdigest()


def deliver(page: int, target: Path, sha256: str) -> bool:
    """Make ``target`` the page with this descriptor: a second name for it, or a copy.

    A target that is this page already is left alone, so that delivering twice costs little. Return True
    when it was copied, and ``secure`` is still to be called. Raises VerificationFailed if the page has
    changed, or OSError.
    """
    # A link first: it is the usual case, costs no copy, and cannot replace anything.
    with contextlib.suppress(FileExistsError):
        if _can_link(page, target):
            return False
    if is_delivered(page, target):
        return False
    return _replace(page, target, sha256)


def secure(target: Path) -> None:
    """Flush a copy to its storage. Raises OSError; there is no target then.

    Apart from ``deliver`` because several flushed in a row cost little more than one: the first
    commits the file system's journal for all of them (ext4, measured: a quarter of the time).
    """
    # O_NONBLOCK: a FIFO may have the name by now.
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        # Without its content on the disk the copy must not stay: a later run would take it for
        # delivered (``is_delivered``).
        target.unlink(missing_ok=True)
        raise


def _can_link(page: int, target: Path) -> bool:
    """Link the target if that is possible. Raises FileExistsError, or OSError: the storage."""
    try:
        _link(page, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        return False
    return True


def is_delivered(page: int, target: Path) -> bool:
    """Whether the target is the same file, or a copy by ``_copy``: of equal size and time."""
    try:
        if is_same_file(page, target):
            return True
        there, here = target.lstat(), os.fstat(page)
    except FileNotFoundError:
        return False
    # Size and time of modification: _copy() sets the latter for that.
    return stat.S_ISREG(there.st_mode) and (there.st_size, there.st_mtime_ns) == (
        here.st_size,
        here.st_mtime_ns,
    )


def _replace(page: int, target: Path, sha256: str) -> bool:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    is_copy = False
    try:
        if not _can_link(page, temporary):
            is_copy = True
            os.close(_copy(page, temporary, sha256))
        # A rename replaces what has the name, in one step; a reader sees the old file or the new one.
        rename(temporary, target)
        return is_copy
    finally:
        # After a rename of two names of one file the source is still there (rename(2)).
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _copy(source: int, temporary: Path, sha256: str) -> int:
    """Copy an open file and its times; return the copy's descriptor, open for reading and writing."""
    copy = create(temporary, file_mode(temporary.parent))
    hasher, at, size = hashlib.sha256(), 0, os.fstat(source).st_size
    try:
        while at < size and (block := os.pread(source, min(_BLOCK, size - at), at)):
            hasher.update(block)
            at += len(block)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(copy, rest) :]
        # The host may write to its file while it is copied: the digest of what was read decides.
        if hasher.hexdigest() != sha256:
            raise VerificationFailed("changed after it was verified")
        status = os.fstat(source)
        # After the content: writing sets the time of modification.
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    except BaseException:
        os.close(copy)
        temporary.unlink(missing_ok=True)
        raise
    return copy


def _move_aside(name: str, aside: str, place: int) -> os.stat_result | None:
    """Rename a file in the open folder ``place``; None if there is none. Raises OSError.

    On NFS an error may be reported for a rename that worked (storage/primitives.py), so the file is
    looked for again.
    """
    failure: OSError | None = None
    try:
        os.rename(name, aside, src_dir_fd=place, dst_dir_fd=place)
    except OSError as error:
        # Kept: what is seen below decides whether it was an error.
        failure = error
    try:
        return os.stat(aside, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        if failure is None or isinstance(failure, FileNotFoundError):
            return None
        raise failure from None
