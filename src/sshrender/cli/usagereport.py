"""``sshrender report``: who used what, by job, user, host and month."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import completion, options
from sshrender.errors import ExitCode, UserError
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.job.accounting import Account


def report(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="Any of job, user, host and month, with commas between.",
            metavar="KEYS",
            autocompletion=completion.one_of("job", "user", "host", "month"),
        ),
    ] = "month,user",
    month: Annotated[
        str | None, typer.Option("--month", help="Only this one, as in 2026-01.", metavar="MONTH")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only this one's.", metavar="NAME")] = None,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Tell who used what: pages, CPU seconds and failures, of removed jobs too."""
    from sshrender.cli.jobstore import on_san, san_folder
    from sshrender.config.settings import resolve
    from sshrender.job.accounting import KEYS, summed
    from sshrender.views import usage as view

    keys = [key.strip() for key in by.split(",") if key.strip()]
    strange = [key for key in keys if key not in KEYS]
    if strange or not keys:
        what = f"--by {by}: there is no {', '.join(strange)}" if strange else "--by: nothing"
        raise UserError(ExitCode.USAGE, what, "--by user,month")
    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)
    damaged: dict[str, str] = {}
    found = [
        account
        for account in on_san(place, lambda: list(accounts(place, damaged)))
        if month in (None, account.month) and (user is None or _is_of(account.user, user))
    ]
    for name, why in damaged.items():
        output.note(f"{name} is damaged and not counted: {why}")
    rows = [account.as_json() for account in summed(found, keys)]
    if json_:
        output.as_json({"schema": 1, "by": keys, "accounts": rows}, indent=1)
        return
    for line in view.table(rows, keys):
        output.line(line)


def _is_of(owner: str, user: str) -> bool:
    """Whether he is meant by his name alone, or with his machine's."""
    return owner == user or owner.partition("@")[0] == user


def accounts(san: Path, damaged: dict[str, str] | None = None) -> Iterator[Account]:
    """Of all jobs that are there, and of those that were; what cannot be read counts nothing.

    Why goes into ``damaged``, by job. Raises OSError where the shared folder cannot be read.
    """
    from sshrender.cli.jobstore import all_jobs, apart
    from sshrender.job import accounting

    told = {} if damaged is None else damaged
    yield from accounting.kept(san)
    for folder, _ in all_jobs(san, told):
        yield from apart(san, folder.name, partial(of_job, folder.path), told) or ()


def of_job(path: Path) -> Sequence[Account]:
    """Of one job. Raises OSError."""
    from sshrender.job import accounting, attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.journal import read_journal

    folder = JobFolder(path)
    try:
        owner = attributes.load(folder).owner
    except UserError:
        owner = ""
    return accounting.of(folder.name, owner or "somebody", read_journal(folder.journal))
