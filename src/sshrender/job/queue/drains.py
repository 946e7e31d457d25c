"""Take hosts out of use for every job, and put them back: a file for each, in a user's hidden folder.

Every user who can make jobs in the shared folder can drain every host for all of them, and each drain
says whose it is. Reading takes a bounded time, whatever another user puts there: at most MAX_DRAINS
names are read in each user's folder, and only the files of hosts that the caller has are opened.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from sshrender.job import userfolders
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.userfolders import UserFolder
from sshrender.storage.files import read_plain, write_whole
from sshrender.utf8 import writable

MAX_DRAINS = 1000
"""Hosts that one user may drain."""

_FOLDER = ".drained"
_MAX_BYTES = 4096
_MAX_TEXT = 300

SHARE = 20
"""The shared folder is listed for a twentieth of the time at most, however many names it holds."""

_NOT_UNDERSTOOD = frozenset(
    (errno.ENOENT, errno.EACCES, errno.EINVAL, errno.ELOOP, errno.EFBIG, errno.ENXIO, errno.ENOTDIR)
)
"""Errors of opening a name that is not a readable file: any user may create one here."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A host out of use: the user, the reason, and the time (as in the journal)."""

    host: str
    by: str
    note: str = ""
    since: str = ""


class StillDrained(Exception):
    """Another user drains the host, too. ``user``: by name."""

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.user = user


def drain(san: Path, host: str, by: str, note: str) -> None:
    """Take a host out of use. Raises OSError."""
    folder = userfolders.own(san, _FOLDER)
    fields = asdict(Drain(host, by, note, timestamp(time.time())))
    write_whole(folder / _file_of(host), json.dumps({"schema": 1, **fields}).encode())


def undrain(san: Path, host: str) -> bool:
    """Put a host back into use; return whether it was drained. Raises StillDrained or OSError."""
    was_drained = False
    for folder in userfolders.find(san, _FOLDER):
        try:
            (folder.path / _file_of(host)).unlink()
        # The file of another user is left; NotADirectoryError: that folder's name is a file's.
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            # Only if it is listed: a folder that this user cannot look into raises PermissionError as
            # well.
            if _file_of(host) in userfolders.files_in(folder.path, MAX_DRAINS):
                raise StillDrained(_name_of(folder.user)) from None
        else:
            was_drained = True
    return was_drained


def read(san: Path, hosts: Collection[str] | None = None) -> dict[str, Drain]:
    """Return which of these hosts are drained, by name; of all hosts if none are named.

    Raises OSError. A file that cannot be parsed still drains its host: its user wanted that.
    """
    try:
        return _read(userfolders.find(san, _FOLDER), hosts)
    except FileNotFoundError:
        return {}


class DrainReader:
    """Reads the drains again and again, for the hosts of one run; None: any. One thread at a time."""

    def __init__(
        self, san: Path, hosts: Collection[str] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._san = san
        self._hosts = None if hosts is None else frozenset(hosts)
        self._clock = clock
        self._folders: list[UserFolder] = []
        self._list_at = 0.0

    def read(self) -> dict[str, Drain]:
        """Return the result of ``read``.

        A user's first drain may be seen a little later. Raises OSError.
        """
        began = self._clock()
        # Between two listings of the shared folder only the known folders are read.
        if began >= self._list_at:
            self._folders = userfolders.find(self._san, _FOLDER)
            now = self._clock()
            # In proportion to the time that the listing took: a slow server is asked less often.
            self._list_at = now + SHARE * (now - began)
        return _read(self._folders, self._hosts)


def _read(folders: list[UserFolder], hosts: Collection[str] | None) -> dict[str, Drain]:
    """Return the drained hosts. If several users drained one, the first of ``folders`` counts."""
    found: dict[str, Drain] = {}
    for folder in folders:
        for name in userfolders.files_in(folder.path, MAX_DRAINS):
            # A name that is not UTF-8 in percent encoding becomes one that no host has.
            host = unquote(name.removesuffix(".json"), errors="replace")
            if host not in found and (hosts is None or host in hosts):
                found[host] = _understand(folder, name, host)
    return dict(sorted(found.items()))


def _file_of(host: str) -> str:
    return f"{quote(host, safe='')}.json"


def _understand(folder: UserFolder, name: str, host: str) -> Drain:
    try:
        fields = json.loads(read_plain(folder.path / name, _MAX_BYTES))
        texts = [fields[key] for key in ("by", "note", "since")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
        by, note, since = (writable(text[:_MAX_TEXT]) for text in texts)
    # A damaged file still drains its host: its user wanted to take it out of use.
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno not in _NOT_UNDERSTOOD:
            raise
        return Drain(host, _as_owner("somebody", folder.user))
    return Drain(host, _as_owner(by, folder.user), note, since)


def _as_owner(by: str, user: int) -> str:
    """Return the user of a drain; with the owner of the file, if that is another one."""
    name = _name_of(user)
    return by if user == os.geteuid() or by.partition("@")[0] == name else f"{by} (as {name})"


def _name_of(user: int) -> str:
    # A user of another machine, or a directory service that does not answer.
    with contextlib.suppress(KeyError, OSError):
        return pwd.getpwuid(user).pw_name
    return f"user {user}"
