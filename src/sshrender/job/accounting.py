"""Who used what: pages, CPU seconds and failures by job, user, host and month. Folds of journals.

What ``clean`` removes leaves its account behind, a file a job in a hidden folder beside the jobs.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.job import userfolders
from sshrender.job.folder import JobFolder
from sshrender.storage.files import MAX_RECORD_BYTES, read_plain, write_whole
from sshrender.utf8 import writable

KEYS = ("job", "user", "host", "month")
_FOLDER = ".accounting"

MAX_FILES = 50_000
"""Removed jobs of one user that are counted: more than a hundred a day for a year."""

MAX_BYTES = 64 << 20
"""Of the accounts of one user. A job on forty hosts leaves 8 kB."""

_MOST = 1e12
"""Pages, failures or seconds of an account: what says more, or less than none, is not ours."""

_DAMAGE = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading raises for contents of another shape."""


class Account(NamedTuple):
    """What a host did for a job in a month (UTC, as in the journal). Seconds are a renderer's."""

    job: str
    user: str
    host: str
    month: str
    pages: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    failures: int = 0

    def plus(self, other: Account) -> Account:
        """Both together, under the first one's names."""
        return self._replace(
            pages=self.pages + other.pages,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            seconds=self.seconds + other.seconds,
            failures=self.failures + other.failures,
        )

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        rounded = {"cpu_seconds": round(self.cpu_seconds, 2), "seconds": round(self.seconds, 2)}
        return {**self._asdict(), **rounded}


def of(job: str, user: str, entries: Iterable[dict[str, Any]]) -> list[Account]:
    """The accounts of a job with this journal; damaged entries count nothing."""
    found: dict[tuple[str, str], Account] = {}
    for entry in entries:
        with contextlib.suppress(*_DAMAGE):
            used = _used(job, user, entry)
            if used is not None:
                key = used.host, used.month
                found[key] = found[key].plus(used) if key in found else used
    return list(found.values())


def _used(job: str, user: str, entry: dict[str, Any]) -> Account | None:
    """A page that was adopted after a crash has no host: nobody knows who drew it.

    Raises one of _DAMAGE for an entry of another shape.
    """
    kind, host = entry["type"], entry.get("host")
    if kind not in ("page_delivered", "attempt_failed") or not host:
        return None
    account = Account(job, user, str(host), str(entry["time"])[:7])
    if kind == "attempt_failed":
        return account._replace(failures=1)
    cpu, seconds = _seconds(entry.get("cpu", 0.0)), _seconds(entry["seconds"])
    return account._replace(pages=1, cpu_seconds=cpu, seconds=seconds)


def summed(accounts: Iterable[Account], by: Sequence[str]) -> list[Account]:
    """One for each value of these KEYS, the others empty; sorted by them."""
    found: dict[tuple[str, ...], Account] = {}
    for account in accounts:
        names = [getattr(account, key) if key in by else "" for key in KEYS]
        shown = Account(names[0], names[1], names[2], names[3]).plus(account)
        key = tuple(getattr(shown, each) for each in by)
        found[key] = found[key].plus(shown) if key in found else shown
    return [found[key] for key in sorted(found)]


def keep(folder: JobFolder, accounts: Sequence[Account]) -> Path:
    """Leave the accounts of a job that is removed: in this file. Raises OSError."""
    place = userfolders.own(folder.path.parent, _FOLDER)
    text = json.dumps({"schema": 1, "accounts": [account.as_json() for account in accounts]})
    path = place / f"{folder.name}.{secrets.token_hex(4)}.json"
    write_whole(path, text.encode())
    return path


def kept(san: Path) -> list[Account]:
    """The accounts of all jobs that were removed; what cannot be read counts nothing. Raises OSError.

    Where others may make jobs, they may lay anything in these folders: of each no more than MAX_FILES
    and MAX_BYTES are read.
    """
    try:
        folders = userfolders.find(san, _FOLDER)
    except FileNotFoundError:
        return []
    return [account for folder in folders for account in _kept_in(folder.path)]


def _kept_in(folder: Path) -> Iterator[Account]:
    left = MAX_BYTES
    for name in sorted(userfolders.files_in(folder, MAX_FILES)):
        with contextlib.suppress(OSError, *_DAMAGE):
            data = read_plain(folder / name, min(left, MAX_RECORD_BYTES))
            left -= len(data)
            yield from [_checked(fields) for fields in json.loads(data)["accounts"]]


def _checked(fields: dict[str, Any]) -> Account:
    """Raises one of _DAMAGE for one of another shape."""
    job, user, host, month = (writable(str(fields[key])) for key in KEYS)
    pages, failures = _count(fields["pages"]), _count(fields["failures"])
    cpu, seconds = _seconds(fields["cpu_seconds"]), _seconds(fields["seconds"])
    return Account(job, user, host, month, pages, cpu, seconds, failures)


def _count(value: Any) -> int:
    """Raises TypeError for what is no number of things."""
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError
    return value


def _seconds(value: Any) -> float:
    """Raises TypeError for what is no time at all, infinities included."""
    if type(value) not in (int, float) or not 0 <= value < _MOST:
        raise TypeError
    return float(value)
