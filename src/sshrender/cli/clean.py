"""``sshrender clean``: removes finished jobs from the shared folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import completion, options
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views import output


def clean(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB]...",
            help="Jobs to remove. [default: all old ones]",
            autocompletion=completion.jobs,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", help="Only jobs unchanged for this long, as in 30d.", metavar="TIME"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the jobs; remove nothing.")] = False,
    hosts: options.Hosts = None,
    san: options.San = None,
    json_: options.Json = False,
    config: options.Config = None,
) -> None:
    """Remove finished jobs from the shared folder. Running, held and queued jobs are never removed.

    Delivered pages stay, and so does the account of what the job used.
    """
    from sshrender.api.jobs import on_san, san_folder
    from sshrender.api.removal import is_unwanted, left_behind, removable_jobs, remove, remove_folder
    from sshrender.config.settings import resolve

    if not job and older_than is None:
        raise UserError(
            ExitCode.USAGE,
            "name the jobs, or give --older-than TIME",
            "sshrender clean --older-than 30d",
        )
    age = _seconds(older_than)
    settings = resolve(options.typed(context), config).settings
    place = san_folder(settings)
    failures = _Failures(settings.progress)
    removed = []
    for folder, report in removable_jobs(place, job or [], age):
        if dry_run or failures.attempt(place, partial(remove, folder, is_unwanted)):
            removed.append(report.name)
            would = "would be " if dry_run else ""
            output.note(f"{report.name} ({report.state}) {would}removed")
    if not dry_run:
        for left in on_san(place, partial(left_behind, place)):
            failures.attempt(place, partial(remove_folder, left))
    if json_:
        output.as_json({"schema": 1, "removed": removed, "dry_run": dry_run})
    raise typer.Exit(most_severe(failures.codes))


class _Failures:
    """Reports an error of one job, so that the others are still removed."""

    def __init__(self, progress: str) -> None:
        self._progress = progress
        self.codes: list[ExitCode] = []

    def attempt(self, san: Path, work: Callable[[], bool]) -> bool:
        """Return whether ``work`` succeeded. Raises UserError if the shared folder itself fails."""
        from sshrender.api.jobs import on_san, require_readable
        from sshrender.views.reporter import Reporter

        try:
            return on_san(san, work)
        except UserError as error:
            Reporter(sys.stderr, progress=self._progress).error(error)
            self.codes.append(error.code)
            require_readable(san)
            return False


def _seconds(text: str | None) -> float:
    from sshrender.config.units import parse_duration

    try:
        return parse_duration(text or "0")
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--older-than {text}: {error}", "as in 30d or 12h") from None


def _candidates(san: Path, named: Sequence[str], age: float) -> list[tuple[JobFolder, JobReport]]:
    """Jobs that are over and old enough. Raises UserError for one that is named and is not over."""
    from sshrender.cli.jobstore import all_jobs, find_job
    from sshrender.cli.status import look
    from sshrender.files import user_in

    def find() -> list[tuple[JobFolder, JobSpec]]:
        if named:
            return [find_job(san, each) for each in named]
        jobs = all_jobs(san)
        user = user_in(san) if jobs else 0  # others' jobs are theirs to remove
        return [(folder, spec) for folder, spec in jobs if folder.belongs_to(user)]

    found = []
    for folder, report, _ in look(san, find, are_named=bool(named)):
        if not _is_over(report):
            if named:
                raise UserError(
                    ExitCode.USAGE,
                    f"{report.name} is {report.state}, not over",
                    f"sshrender cancel {shlex.quote(report.name)} calls it off",
                )
        elif _age(folder, report) >= age:
            found.append((folder, report))
    return found


def _is_over(report: JobReport) -> bool:
    """Also a job that somebody rendered and left half done: its age is all that speaks for it."""
    was_never_begun = report.state == "queued" and not report.attributes.is_queued
    return (report.state in _OVER or was_never_begun) and not report.coordinator


def _age(folder: JobFolder, report: JobReport) -> float:
    """Seconds since its last event; none where the journal holds something, but no moment to go by."""
    try:
        if report.updated == report.created and folder.journal.stat().st_size:
            return 0.0
    except OSError:
        pass  # there is no journal: no run has begun
    try:
        return time.time() - datetime.fromisoformat(report.updated).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _is_unwanted(found: Attributes) -> bool:
    """Not where somebody has submitted it again."""
    return bool(found.over) or not found.is_queued


def remove(folder: JobFolder, may_go: Callable[[Attributes], bool]) -> bool:
    """Take a job from the SAN, all but its account: whether it is gone.

    Not where somebody sees it through, or its attributes say that it is to stay (``may_go``). Raises
    UserError or OSError.
    """
    from sshrender.job import attributes, lease

    _require_folder(folder)
    attributes.load(folder)  # what is damaged is left as it is, its lease too
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return False
    except FileNotFoundError:
        if os.path.lexists(folder.path):
            raise
        return False  # another clean was faster
    aside: Path | None = None
    try:
        found = attributes.load(folder)
        aside = _put_aside(folder, held) if may_go(found) else None
    except lease.LeaseLost:
        return False  # this process was stopped for so long that another one has the job by now
    finally:
        if aside is None:  # else the lease is gone with the folder, whose name may be another's by now
            held.release()
    return aside is not None and _remove_tree(aside)


def _require_folder(folder: JobFolder) -> None:
    """Raises UserError for a symbolic link: what would be removed lies elsewhere."""
    if folder.path.is_symlink():
        raise UserError(
            ExitCode.STORAGE,
            f"{folder.path} is a symbolic link, not a job's folder",
            f"rm {shlex.quote(str(folder.path))} removes the link alone",
        )


def _put_aside(folder: JobFolder, held: Lease) -> Path | None:
    """Out of everybody's sight at once, for removing may take long: where it is now.

    None where another process has the job by now. Raises LeaseLost or OSError.
    """
    from sshrender.cli.usagereport import of_job
    from sshrender.files import rename
    from sshrender.job import accounting, fencedfiles
    from sshrender.job.folder import JobFolder

    accounts = of_job(folder.path)
    account = accounting.keep(folder, accounts) if accounts else None
    remove_marker = _marker_remover(folder)  # its signature holds under this name only
    aside = folder.path.with_name(f"{_ASIDE}{folder.name}-{secrets.token_hex(4)}")
    is_ours = False
    try:
        held.ensure()
        rename(folder.path, aside)
        # Between the two another process may have taken the job over: then it gets its folder back.
        is_ours = fencedfiles.newest_epoch(aside) == held.epoch
        if not is_ours:
            rename(aside, folder.path)
            return None
    finally:
        if account is not None and not is_ours:
            account.unlink(missing_ok=True)  # or its pages would count twice
    remove_marker()
    with contextlib.suppress(OSError):
        JobFolder(aside).spec.unlink()  # a job no more, under whatever name
    return aside


def _marker_remover(folder: JobFolder) -> Callable[[], None]:
    """Removes the one file outside of the folder: only where the owner said where it is.

    Raises OSError, and so may what it returns.
    """
    from sshrender.job import attributes, delivery

    try:
        found = attributes.load_signed(folder)
    except UserError:
        return lambda: None
    output = delivery.place(found, folder)
    return lambda: None if output is None else delivery.remove_marker(output, found.output_marker)


def _left_behind(san: Path) -> list[Path]:
    """Folders of ours that somebody began to remove, and did not. Raises OSError."""
    from sshrender.files import user_in
    from sshrender.job.folder import JobFolder

    try:
        with os.scandir(san) as entries:
            found = [san / entry.name for entry in entries if entry.name.startswith(_ASIDE)]
    except FileNotFoundError:
        return []  # this user's own is made with the first job
    user = user_in(san) if found else 0
    return [path for path in found if JobFolder(path).belongs_to(user) and _is_old(path)]


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _MOMENT
    except FileNotFoundError:
        return False


def _remove_tree(folder: Path) -> bool:
    """All that can be removed; others may be at it as well. Raises OSError where something is left."""
    from sshrender.files import remove_tree

    within = os.open(folder.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(folder.name, within)
    finally:
        os.close(within)
    return True
