"""``sshrender submit``: puts documents into the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import options, reporting
from sshrender.cli.queueoptions import After, NotBefore
from sshrender.config.declaration import Panel
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views.output import as_json, line


@options.takes_settings("submit", own=Panel.QUEUE)
def submit(
    pdf: Annotated[
        list[Path],
        typer.Argument(metavar="PDF", help="Documents, folders of them, or patterns."),
    ],
    given: options.Given,
    hold: Annotated[
        bool,
        typer.Option(
            "--hold",
            help="Queue the jobs, but do not start them before they are released.",
            show_default=False,
        ),
    ] = False,
    after: After = None,
    not_before: NotBefore = None,
) -> None:
    """Queue jobs and print their names. The command coordinate renders them."""
    from sshrender.api.dependencies import job_names_of, start_time
    from sshrender.api.documents import check_pdfs, find_documents
    from sshrender.api.results import failure_summary
    from sshrender.api.submission import submit as submit_document

    sources = find_documents(pdf)
    check_pdfs(sources)
    run_context, reporter = reporting.start(given.typed, given.config, wants_json=given.wants_json)
    conditions = {
        "not_before": start_time(not_before),
        "after": job_names_of(run_context.san, after or []),
    }
    codes: list[ExitCode] = []
    summaries: list[dict[str, Any]] = []
    is_only = len(sources) == 1
    for source in sources:
        try:
            submitted = submit_document(run_context, source, conditions, is_only=is_only, is_held=hold)
        except UserError as error:
            reporter.error(error)
            codes.append(error.code)
            summaries.append(failure_summary(source, error))
            continue
        codes.append(ExitCode.OK)
        summaries.append(submitted.as_json())
        if not given.wants_json:
            line(submitted.job, flush=True)
    if given.wants_json:
        as_json({"schema": 1, "jobs": summaries}, indent=1)
    raise typer.Exit(most_severe(codes))


def _documents(named: Path) -> list[Path]:
    """A document; those in a folder; those that a pattern fits. Raises UserError: there is none."""
    found = _near(named, partial(_fitting, named))
    if not found:
        raise UserError(ExitCode.DOCUMENT, f"{named}: no PDF is there", f"ls {named}")
    return found


def _fitting(named: Path) -> list[Path]:
    """Raises OSError."""
    if named.is_dir():
        return sorted(path for path in named.iterdir() if path.suffix.lower() == ".pdf")
    if not named.exists() and glob.has_magic(str(named)):
        return [Path(path) for path in sorted(glob.glob(str(named)))]  # noqa: PTH207 - may be absolute
    return [named]


def _near(document: Path, work: Callable[[], T]) -> T:
    """Do ``work`` where a document lies without hanging with that folder. Raises UserError."""
    from sshrender.coordinator.hangguard import guarded_call

    try:
        return guarded_call(document.parent, work)
    except OSError as error:
        what = f"{document}: {error.strerror or error}"
        raise UserError(ExitCode.DOCUMENT, what, f"ls -ld {document}") from None


def _submit(
    session: Invocation, source: Path, is_only: bool, wishes: dict[str, Any], hold: bool
) -> dict[str, Any]:
    """One document. Raises UserError."""
    from sshrender.cli.jobstore import mark, on_san, unmark, whoami
    from sshrender.coordinator.jobopening import open_job
    from sshrender.document.facts import check_file
    from sshrender.document.reading import Reading
    from sshrender.job.journalformat import timestamp

    _near(source, partial(check_file, source))
    now = timestamp(time.time())
    fields = {**wishes, "submitted": now, "held": whoami() if hold else ""}
    wanted = session.wanted(source, is_only, **fields)
    if not wanted.output.is_relative_to(session.san):
        wanted = session.wanted(source, is_only, **fields, output_marker=mark(wanted.output))
    reading = Reading()
    try:
        plan = on_san(session.san, lambda: open_job(wanted, reading, session.inspection(wanted)))
        return _told(session, plan, now, hold)
    except UserError:
        unmark(wanted.output, wanted.attributes.output_marker)
        raise
    finally:
        reading.close()


def _told(session: Invocation, plan: JobPlan, now: str, hold: bool) -> dict[str, Any]:
    """What became of it: a new job, or one that was there, and is now as it was submitted."""
    from sshrender.cli.jobstore import on_san, unmark
    from sshrender.job import attributes

    found = on_san(session.san, partial(attributes.load_signed, plan.folder))
    name, state = plan.spec.name, "held" if hold else "queued"
    if found.submitted == now:
        _require_no_circle(session, plan, now)
    elif found.over == "done" and _is_as_wanted(plan, found):
        unmark(plan.output, str(plan.changes.get("output_marker", "")))
        session.reporter.remark(f"{name} is done already: its pages are in {plan.output}")
        state = "done"
    else:
        _alter(session, plan, found, hold)
    return {"schema": 1, "job": name, "state": state, "job_dir": str(plan.folder.path), "exit_code": 0}


def _require_no_circle(session: Invocation, plan: JobPlan, now: str) -> None:
    """Others may come after a job of this name, which was removed meanwhile. Raises UserError."""
    from sshrender.cli.clean import remove
    from sshrender.cli.jobstore import on_san

    try:
        refuse_circle(session.san, plan.spec.name, plan.changes["after"])
    except UserError:
        on_san(session.san, lambda: remove(plan.folder, lambda found: found.submitted == now))
        raise


def _is_as_wanted(plan: JobPlan, found: Attributes) -> bool:
    """Whether a job that is done leaves nothing to do: its wishes are these, its pages are there.

    Raises UserError.
    """
    from sshrender.cli.jobstore import on_san
    from sshrender.coordinator.hangguard import guarded_call
    from sshrender.coordinator.jobopening import output_error
    from sshrender.job.history import sizes

    wished = ("output", "output_host", "wishes")
    if any(getattr(found, key) != plan.changes[key] for key in wished):
        return False
    proved = on_san(plan.folder.path.parent, partial(sizes, plan.folder.pages))
    try:
        delivered = guarded_call(plan.output.parent, partial(sizes, plan.output))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise output_error(error, plan.output) from None
    names = map(plan.page_file, plan.pages)
    return all(name in delivered and delivered[name] == proved.get(name) for name in names)


def _alter(session: Invocation, plan: JobPlan, found: Attributes, hold: bool) -> None:
    """Have a job that was there be as it was submitted now, and wait. Raises UserError."""
    from sshrender.cli.jobstore import on_san, whoami
    from sshrender.job import attributes, queueoperations
    from sshrender.job.requests import Request

    name = plan.spec.name
    changes = {key: value for key, value in plan.changes.items() if key in attributes.ALTERABLE}
    refuse_circle(session.san, name, changes["after"])
    is_again = bool(found.over) or not found.is_queued
    op = Operation.RESUBMIT if is_again else Operation.ALTER
    requests = [Request(op, whoami(), changes=changes)]
    requests += [Request(Operation.HOLD, whoami())] if hold else []
    for request in requests:
        on_san(session.san, partial(queueoperations.change, plan.folder, request))
    was = "was there, and is queued again" if is_again else "is in the queue already"
    session.reporter.remark(f"{name} {was}; it is altered as it was submitted now")
