"""Add up usage from journals: pages, CPU seconds and failures by job, user, host and month.

A job that ``clean`` removes leaves its account behind: one file in a hidden folder beside the jobs.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.core.states import UNCHARGED
from sshrender.job import userfolders
from sshrender.job.folder import JobFolder
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.replay import replay
from sshrender.storage.files import MAX_RECORD_BYTES, read_plain, write_whole
from sshrender.utf8 import writable

KEYS = ("job", "user", "host", "month")
_FOLDER = ".accounting"

MAX_FILES = 50_000
"""Removed jobs of one user that are counted: more than a hundred a day for a year."""

MAX_BYTES = 64 << 20
"""Most bytes of the accounts of one user. A job on forty hosts leaves 8 kB."""

_MAX_VALUE = 1e12
"""Pages, failures or seconds of an account. A file with more, or with a negative number, is damaged."""

_DAMAGE = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""The errors of reading a damaged file."""


class Account(NamedTuple):
    """The work of a host for a job in a month (UTC, as in the journal). Seconds are its renderers'."""

    job: str
    user: str
    host: str
    month: str
    pages: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    failures: int = 0

    def plus(self, other: Account) -> Account:
        """Return the sum of both, with the names of the first."""
        return self._replace(
            pages=self.pages + other.pages,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            seconds=self.seconds + other.seconds,
            failures=self.failures + other.failures,
        )

    def as_json(self) -> dict[str, Any]:
        """Return its fields as JSON."""
        rounded = {"cpu_seconds": round(self.cpu_seconds, 2), "seconds": round(self.seconds, 2)}
        return {**self._asdict(), **rounded}


class Accounts:
    """The accounts of one job. See Replay."""

    def __init__(self, job: str, user: str) -> None:
        self._job = job
        self._user = user
        self._found: dict[tuple[str, str], Account] = {}

    def take(self, entry: je.JournalEntry) -> None:
        """See Replay.take. A page that was adopted after a crash names no host, and counts nothing."""
        match entry:
            case je.PageDelivered(host=host) if host:
                used = self._account(entry, host)
                self._add(used._replace(pages=1, cpu_seconds=entry.cpu, seconds=entry.seconds))
            case je.AttemptFailed(host=host) if host and entry.kind not in UNCHARGED:
                self._add(self._account(entry, host)._replace(failures=1))
            case _:
                pass

    def as_list(self) -> list[Account]:
        """Return one account for each host and month."""
        return [*self._found.values()]

    def _account(self, entry: je.JournalEntry, host: str) -> Account:
        # The first seven characters of a timestamp: the journal is in UTC, and so are months.
        month = entry.time[: len("2026-01")]
        return Account(self._job, self._user, host, month)

    def _add(self, used: Account) -> None:
        key = used.host, used.month
        self._found[key] = self._found[key].plus(used) if key in self._found else used


def of(job: str, user: str, entries: Iterable[je.JournalEntry]) -> list[Account]:
    """Return the accounts of a job with this journal."""
    accounts = Accounts(job, user)
    replay(entries, accounts)
    return accounts.as_list()


def summed(accounts: Iterable[Account], by: Sequence[str]) -> list[Account]:
    """Return one sum for each value of these KEYS; the other names are empty. Sorted by them."""
    found: dict[tuple[str, ...], Account] = {}
    for account in accounts:
        names = [getattr(account, key) if key in by else "" for key in KEYS]
        shown = Account(names[0], names[1], names[2], names[3]).plus(account)
        key = tuple(getattr(shown, each) for each in by)
        # ``plus`` keeps the names of its first argument: those that are not in ``by`` are empty there.
        found[key] = found[key].plus(shown) if key in found else shown
    return [found[key] for key in sorted(found)]


def keep(folder: JobFolder, accounts: Sequence[Account]) -> Path:
    """Write the accounts of a job that is removed, and return the file. Raises OSError."""
    place = userfolders.own(folder.path.parent, _FOLDER)
    text = json.dumps({"schema": 1, "accounts": [account.as_json() for account in accounts]})
    # A random end: a job of the same name may be removed twice, and both accounts count.
    path = place / f"{folder.name}.{secrets.token_hex(4)}.json"
    write_whole(path, text.encode())
    return path


def kept(san: Path) -> list[Account]:
    """Return the accounts of all removed jobs; unreadable ones count nothing. Raises OSError.

    If others may create jobs, they may put anything into these folders: of each at most MAX_FILES and
    MAX_BYTES are read.
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
            # The rest of the budget bounds each file: a larger one is skipped, not read.
            data = read_plain(folder / name, min(left, MAX_RECORD_BYTES))
            left -= len(data)
            yield from [_checked(fields) for fields in json.loads(data)["accounts"]]


def _checked(fields: dict[str, Any]) -> Account:
    """Return an account from a file. Raises one of _DAMAGE."""
    job, user, host, month = (writable(str(fields[key])) for key in KEYS)
    pages, failures = _count(fields["pages"]), _count(fields["failures"])
    cpu, seconds = _seconds(fields["cpu_seconds"]), _seconds(fields["seconds"])
    return Account(job, user, host, month, pages, cpu, seconds, failures)


def _count(value: Any) -> int:
    """Return a count. Raises TypeError."""
    # ``type`` instead of isinstance: a bool is an int, and no count.
    if type(value) is not int or not 0 <= value < _MAX_VALUE:
        raise TypeError
    return value


def _seconds(value: Any) -> float:
    """Return a number of seconds, finite and not negative. Raises TypeError."""
    if type(value) not in (int, float) or not 0 <= value < _MAX_VALUE:
        raise TypeError
    return float(value)
