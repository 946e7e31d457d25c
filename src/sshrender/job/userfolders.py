"""Find and make hidden folders beside the jobs, one for each user who has something to keep there.

Every user may make files in a shared folder, so that a fixed name may be taken by another user first,
and a folder that all may write may be filled by one. So each user has an own folder: under the plain
name if that is free, else with a random end that cannot be taken beforehand. The storage says which user
owns one, never its name or its content.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sshrender.storage.files import user_in
from sshrender.storage.newfiles import make_folder

MAX_FOLDERS = 256
"""Folders of one kind that are looked into: first our own, the shared folder's owner's and root's."""

MAX_OF_ONE_USER = 4
"""Two commands of one user that run at the same time may each make one."""


class UserFolder(NamedTuple):
    """``user``: the number of its owner."""

    path: Path
    user: int


def find(san: Path, name: str) -> list[UserFolder]:
    """Return the folders of this kind, a bounded number of each user. Raises OSError."""
    pattern = re.compile(re.escape(name) + r"(-[0-9a-f]{16})?")
    # Listed, not asked for by name: NFS caches that a name was not there.
    with os.scandir(san) as entries:
        names = sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))
    first = (os.geteuid(), san.stat().st_uid, 0)
    found: dict[int, list[UserFolder]] = {}
    for each in names:
        # Removed between the two calls.
        with contextlib.suppress(FileNotFoundError):
            status = (san / each).lstat()
            if stat.S_ISDIR(status.st_mode):
                found.setdefault(status.st_uid, []).append(UserFolder(san / each, status.st_uid))
    users = sorted(found, key=lambda user: (user not in first, user))
    return [each for user in users for each in found[user][:MAX_OF_ONE_USER]][:MAX_FOLDERS]


def own(san: Path, name: str) -> Path:
    """Return this user's folder of this kind, made if it is missing. Raises OSError.

    It is as open as the shared folder; if that is sticky, which keeps its users apart, others can only
    read.
    """
    user = user_in(san)
    for each in find(san, name):
        # access(2) with the real user, as the server maps it: a folder of this user may be read-only.
        if each.user == user and os.access(each.path, os.W_OK | os.X_OK):
            return each.path
    path = san / name
    try:
        path.mkdir(0o700)
    except FileExistsError:
        # 64 random bits: the name cannot be taken beforehand.
        path = san / f"{name}-{secrets.token_hex(8)}"
        path.mkdir(0o700)
    mode = stat.S_IMODE(san.stat().st_mode)
    # The set-group-ID bit is kept (0o2000); write permission for others is not.
    make_folder(path, 0o700 | (mode & 0o2055) if mode & stat.S_ISVTX else mode)
    return path


def files_in(folder: Path, most: int) -> Iterator[str]:
    """Return the names of its JSON files, at most ``most``; none if it cannot be listed."""
    # See the docstring: an unreadable folder holds nothing for us.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = (entry.name for entry in islice(entries, most))
        yield from [name for name in names if name.endswith(".json") and not name.startswith(".")]
