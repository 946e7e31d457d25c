"""A file system that shows a folder and fails by name: a program of its own, over FUSE.

Arguments: the pid of a process in whose mount name space it is mounted, the folder that it shows
and the mount point (both as seen there), and a file that says, as JSON, what goes wrong now:

- ``{"write": "ENOSPC"}``: this operation fails with this error; create, fsync, fsyncdir, mkdir, unlink,
  link, chmod and rename can too.
- ``{"names": {"*/page-0001.png": "EBUSY"}}``: such a name cannot be given to a file.
- ``{"renamed": "EIO"}``: a rename reports this error, though it was done.
- ``{"late": {"match": "*/work/p0*", "seconds": 5}}``: such files are not there until so long after
  they last changed, as with attributes that NFS has cached.

Stopped by a signal, it lets every access hang, as a server does that is gone.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import json
import os
import sys
import time
from typing import Any

import mfusepy

CLONE_NEWNS = 0x00020000
_STAT = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid")
_TIMES = ("st_atime", "st_ctime", "st_mtime")
_STATFS = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize")


def _attributes(status: os.stat_result) -> dict[str, Any]:
    fields = {name: getattr(status, name) for name in _STAT}
    return fields | {name: getattr(status, f"{name}_ns") for name in _TIMES}


class BadFileSystem(mfusepy.Operations):  # type: ignore[misc]  # mfusepy's stubs are incomplete
    """What is asked of it is done to ``folder``, unless the faults say otherwise."""

    use_ns = True  # times in nanoseconds

    def __init__(self, folder: str, faults: int) -> None:
        self._folder = folder
        self._faults_file = faults

    def _real(self, path: str) -> str:
        return self._folder + path

    def _faults(self) -> dict[str, Any]:
        faults: dict[str, Any] = json.loads(os.pread(self._faults_file, 4096, 0) or b"{}")
        return faults

    def _fail(self, operation: str) -> None:
        name = self._faults().get(operation)
        if name is not None:
            raise mfusepy.FuseOSError(getattr(errno, name))

    def _refuse(self, path: str) -> None:
        """Fail if no file may get this name."""
        for pattern, name in self._faults().get("names", {}).items():
            if fnmatch.fnmatch(path, pattern):
                raise mfusepy.FuseOSError(getattr(errno, name))

    def _is_late(self, path: str, status: os.stat_result) -> bool:
        late = self._faults().get("late")
        if late is None or not fnmatch.fnmatch(path, late["match"]):
            return False
        return bool(time.time() - status.st_ctime < late["seconds"])

    def _give(self, path: str) -> None:
        user, group, _ = mfusepy.fuse_get_context()
        os.chown(self._real(path), user, group, follow_symlinks=False)

    # Names

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._real(path))
        if self._is_late(path, status):
            raise mfusepy.FuseOSError(errno.ENOENT)
        return _attributes(status)

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, Any], int]]:
        with os.scandir(self._real(path)) as entries:
            found = [(e.name, _attributes(e.stat(follow_symlinks=False)), 0) for e in entries]
        return [(".", {"st_ino": 1}, 0), ("..", {"st_ino": 1}, 0), *found]

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path))

    def mkdir(self, path: str, mode: int) -> int:
        self._fail("mkdir")
        os.mkdir(self._real(path), mode)
        self._give(path)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._real(path))
        return 0

    def unlink(self, path: str) -> int:
        self._fail("unlink")
        os.unlink(self._real(path))
        return 0

    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._real(target))
        self._give(target)
        return 0

    def link(self, target: str, source: str) -> int:
        self._fail("link")
        self._refuse(target)
        os.link(self._real(source), self._real(target))
        return 0

    def rename(self, old: str, new: str) -> int:
        self._fail("rename")
        self._refuse(new)
        os.rename(self._real(old), self._real(new))
        self._fail("renamed")
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._fail("chmod")
        os.chmod(self._real(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        self._fail("chmod")
        os.chown(self._real(path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._real(path), ns=times or (time.time_ns(), time.time_ns()))
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self._real(path))
        return {name: getattr(status, name) for name in _STATFS}

    # Contents

    def open(self, path: str, flags: int) -> int:
        return os.open(self._real(path), flags & ~os.O_EXCL & ~os.O_CREAT)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._fail("create")
        descriptor = os.open(self._real(path), os.O_RDWR | os.O_CREAT, mode)
        self._give(path)
        return descriptor

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._fail("write")
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._real(path) if fh is None else fh, length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._fail("fsync")
        os.fsync(fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._fail("fsyncdir")
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    if libc.setns(there, CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.fchdir(root)  # the name space's own root is another where tests run in a chroot
    os.chroot(".")


def main(pid: str, folder: str, mount_point: str, faults: str) -> None:
    """Serve until killed."""
    descriptor = os.open(faults, os.O_RDONLY)
    _enter(int(pid))
    mfusepy.FUSE(
        BadFileSystem(folder, descriptor),
        mount_point,
        foreground=True,
        allow_other=True,
        default_permissions=True,
        use_ino=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        fsname="badfs",
        max_threads=10,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
