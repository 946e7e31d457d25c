"""A renderer's temporary files: in a folder of its own, because a killed Ghostscript leaves them behind.

Also the only folder besides ``work/`` that ``-dSAFER`` lets it write to: it permits everything below
TMPDIR (measured, Ghostscript 10.00), which by default is all of /tmp.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
from typing import Dict, Optional, Set

PREFIX = "sshrender-"
_open: Set[str] = set()


def base() -> str:
    """Where temporary files belong on this host."""
    return os.environ.get("TMPDIR") or "/tmp"


def make() -> Optional[str]:
    """A new folder, for us alone; None where there is no room for one."""
    path = name_in(base())
    try:
        os.mkdir(path, 0o700)
    except OSError:
        return None
    _open.add(path)
    return path


def name_in(folder: str) -> str:
    """A name that nobody has, and that tells whose it is."""
    return os.path.join(folder, "%s%d-%s" % (PREFIX, os.getpid(), os.urandom(8).hex()))


def environment(base_environment: Dict[str, str], path: Optional[str]) -> Dict[str, str]:
    """A renderer's environment with its temporary files in ``path``."""
    return dict(base_environment, TMPDIR=path) if path is not None else base_environment


def take(path: str) -> bytes:
    """What a file holds, which is then removed; nothing when there is none or it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
    except OSError:
        return b""
    return data


def write(path: str, text: str) -> None:
    """A file that only we can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def remove(path: Optional[str]) -> None:
    """Remove a folder and all that is in it. Never raises."""
    if path is None:
        return
    _open.discard(path)
    try:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(path)
    except OSError:
        return  # the next runner of this user tries again


def remove_all() -> None:
    """Remove what this runner made."""
    for path in list(_open):
        remove(path)


def clear_dead(folder: Optional[str] = None) -> None:
    """Remove what runners of this user left that were killed themselves. Never raises."""
    place = folder or base()
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        pid = name[len(PREFIX) :].partition("-")[0]
        path = os.path.join(place, name)
        if name.startswith(PREFIX) and pid.isdigit() and _is_ours(path) and not _is_runner(int(pid)):
            remove(path)


def _is_ours(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_uid == os.getuid() and status.st_mode & 0o170000 == 0o040000


def _is_runner(pid: int) -> bool:
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return b"sshrender" in file.read(4096)
    except OSError:
        return False
