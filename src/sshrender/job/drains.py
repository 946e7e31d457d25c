"""Hosts that a person took out of use, for every job: a file each in a hidden folder beside the jobs."""

from __future__ import annotations

import contextlib
import errno
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from sshrender.files import read_plain, write_whole
from sshrender.job.journal import timestamp

_FOLDER = ".drained"
_LARGEST = 4096
_MOST_TEXT = 300

_NOT_UNDERSTOOD = frozenset((errno.ENOENT, errno.EACCES, errno.EINVAL, errno.ELOOP, errno.EFBIG))
"""What opening a file says that is there, or was, and is none to read: anybody may lay one here."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Who took a host out of use, why, and when (as in the journal)."""

    host: str
    by: str
    note: str = ""
    since: str = ""


def drain(san: Path, host: str, by: str, note: str) -> None:
    """Take a host out of use. Raises OSError."""
    folder = san / _FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(san.stat().st_mode & 0o7777)  # whoever may make jobs here may drain hosts
    fields = asdict(Drain(host, by, note, timestamp(time.time())))
    write_whole(_path(san, host), json.dumps({"schema": 1, **fields}).encode())


def undrain(san: Path, host: str) -> bool:
    """Give a host back; whether it had been taken. Raises OSError."""
    try:
        _path(san, host).unlink()
    except FileNotFoundError:
        return False
    return True


def read(san: Path) -> dict[str, Drain]:
    """The hosts that are out of use, by name. Raises OSError.

    A file that cannot be understood drains its host all the same: somebody wanted that.
    """
    try:
        names = sorted(path.name for path in (san / _FOLDER).glob("*.json"))
    except FileNotFoundError:
        return {}
    hosts = {unquote(name.removesuffix(".json")) for name in names}
    return {host: _understand(san, host) for host in sorted(hosts)}


def _path(san: Path, host: str) -> Path:
    return san / _FOLDER / f"{quote(host, safe='')}.json"


def _understand(san: Path, host: str) -> Drain:
    try:
        fields = json.loads(read_plain(_path(san, host), _LARGEST))
        by, note, since = (str(fields[key])[:_MOST_TEXT] for key in ("by", "note", "since"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno not in _NOT_UNDERSTOOD:
            raise
        return Drain(host, "somebody")
    return Drain(host, by, note, since)
