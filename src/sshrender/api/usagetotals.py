"""Sums up the usage of jobs: pages, CPU seconds and failures, by job, user, host and month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sshrender.api.jobs import all_jobs, on_san, read_or_record
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import read_journal
from sshrender.job.status import accounting
from sshrender.job.status.accounting import KEYS, Account, summed


@dataclass(frozen=True, slots=True)
class Usage:
    """``accounts``: one for each combination of the keys. ``damaged``: jobs not counted, and why."""

    accounts: list[Account]
    damaged: dict[str, str]


def usage(san: Path, keys: Sequence[str], month: str | None = None, user: str | None = None) -> Usage:
    """Sum up what was used, by ``keys``; of one month or user if they are given. Raises UserError."""
    unknown = [key for key in keys if key not in KEYS]
    if unknown or not keys:
        text = ",".join(keys)
        what = f"--by {text}: there is no {', '.join(unknown)}" if unknown else "--by: no key is given"
        raise UserError(ExitCode.USAGE, what, "sshrender report --by user,month")
    if month is not None and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None:
        raise UserError(
            ExitCode.USAGE, f"--month {month}: not a month", "sshrender report --month 2026-01"
        )
    damaged: dict[str, str] = {}
    found = [
        account
        for account in on_san(san, lambda: list(accounts(san, damaged)))
        # None means all months.
        if month in (None, account.month) and (user is None or is_owner(account.user, user))
    ]
    return Usage(summed(found, keys), damaged)


def is_owner(owner: str, user: str) -> bool:
    """Return whether ``user`` names the owner, with or without the machine."""
    return owner == user or owner.partition("@")[0] == user


def accounts(san: Path, damaged: dict[str, str] | None = None) -> Iterator[Account]:
    """Yield the accounts of all jobs, removed ones too.

    A job that cannot be read is left out; ``damaged`` gets the reason by its name. Raises OSError if the
    shared folder cannot be read.
    """
    reasons = {} if damaged is None else damaged
    # Removed jobs have left their accounts; the others are counted from their journals.
    yield from accounting.kept(san)
    for folder, _ in all_jobs(san, reasons):
        yield from read_or_record(san, folder.name, partial(account_of, folder.path), reasons) or ()


def account_of(path: Path) -> Sequence[Account]:
    """Return the account of one job. Raises OSError."""
    folder = JobFolder(path)
    try:
        owner = jobattributes.load(folder).owner
    # Pages of a job without readable attributes are still counted.
    except UserError:
        owner = ""
    return accounting.of(folder.name, owner or "unknown", read_journal(folder.journal))
