"""``sshrender submit``: put jobs on the SAN, for whoever looks after the queue."""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import options
from sshrender.cli.waiting import After, NotBefore, moment_of, names_of, refuse_circle
from sshrender.errors import ExitCode, UserError, most_severe

if TYPE_CHECKING:
    from sshrender.cli.session import Session
    from sshrender.coordinator.plan import JobPlan


def submit(
    context: typer.Context,
    pdf: Annotated[
        list[Path], typer.Argument(metavar="PDF...", help="Documents, folders of them, or patterns.")
    ],
    priority: options.Priority = None,
    hold: Annotated[bool, typer.Option("--hold", help="Wait for release.")] = False,
    after: After = None,
    not_before: NotBefore = None,
    limit: options.Limit = None,
    mail_to: options.MailTo = None,
    mail_when: options.MailWhen = None,
    hosts: options.Hosts = None,
    on: options.On = None,
    avoid: options.Avoid = None,
    pin: options.Pin = None,
    san: options.San = None,
    output: options.Output = None,
    dpi: options.Dpi = None,
    device: options.Device = None,
    recipe: options.Recipe = None,
    fallback: options.Fallback = None,
    pages: options.Pages = None,
    password_file: options.PasswordFile = None,
    split: options.Split = None,
    page_timeout: options.PageTimeout = None,
    page_memory: options.PageMemory = None,
    hedge: options.Hedge = True,
    mixed: options.Mixed = False,
    retries: options.Retries = None,
    wait: options.Wait = None,
    deadline: options.Deadline = None,
    strict: options.Strict = False,
    overview: options.Overview = True,
    assemble: options.Assemble = None,
    sandbox: options.Sandbox = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Put jobs into the queue and return; prints their names. ``coordinate`` sees them through."""
    from sshrender.cli.render import check_pdfs
    from sshrender.cli.session import Session

    sources = list(dict.fromkeys(each for named in pdf for each in _documents(named)))
    check_pdfs(sources)
    session = Session.start(options.typed(context), config, wants_json=json_)
    wishes = {"not_before": moment_of(not_before), "after": names_of(session.san, after or [])}
    codes: list[ExitCode] = []
    told: list[dict[str, Any]] = []
    for source in sources:
        try:
            fields = _submit(session, source, len(sources) == 1, wishes, hold)
            codes.append(ExitCode.OK)
        except UserError as error:
            session.reporter.error(error)
            codes.append(error.code)
            fields = session.reporter.failure(source, error)
        told.append(fields)
        if not json_ and fields["job"]:
            print(fields["job"], flush=True)
    if json_:
        print(json.dumps({"schema": 1, "jobs": told}, indent=1))
    raise typer.Exit(most_severe(codes))


def _documents(named: Path) -> Iterator[Path]:
    """A document; those in a folder; those that a pattern fits. Raises UserError: there is none."""
    if named.is_dir():
        found = sorted(path for path in named.iterdir() if path.suffix.lower() == ".pdf")
    elif not named.exists() and glob.has_magic(str(named)):
        found = [Path(path) for path in sorted(glob.glob(str(named)))]  # noqa: PTH207 - may be absolute
    else:
        found = [named]
    if not found:
        raise UserError(ExitCode.DOCUMENT, f"{named}: no PDF is there", f"ls {named}")
    yield from found


def _submit(
    session: Session, source: Path, is_only: bool, wishes: dict[str, Any], hold: bool
) -> dict[str, Any]:
    """One document. Raises UserError."""
    from sshrender.cli.jobs import on_san, whoami
    from sshrender.coordinator.opening import open_job, output_error
    from sshrender.document.facts import check_file
    from sshrender.document.reading import Reading
    from sshrender.job import delivery
    from sshrender.job.journal import timestamp

    check_file(source)
    now = timestamp(time.time())
    fields = {**wishes, "submitted": now, "held": whoami() if hold else ""}
    wanted = session.wanted(source, is_only, **fields)
    if not wanted.output.is_relative_to(session.san):
        try:
            fields["output_word"] = delivery.mark(wanted.output)
        except OSError as error:
            raise output_error(error, wanted.output) from None
        wanted = session.wanted(source, is_only, **fields)
    reading = Reading()
    try:
        plan = on_san(session.san, lambda: open_job(wanted, reading, session.inspection(wanted)))
        return _told(session, plan, now, hold)
    except UserError:
        delivery.unmark(wanted.output, wanted.attributes.output_word)
        raise
    finally:
        reading.close()


def _told(session: Session, plan: JobPlan, now: str, hold: bool) -> dict[str, Any]:
    """What became of it: a new job, or one that was there, and is now as it was submitted."""
    from sshrender.cli.jobs import on_san, whoami
    from sshrender.job import attributes, delivery, standing
    from sshrender.job.requests import Request

    found = on_san(session.san, lambda: attributes.load(plan.folder))
    name, state = plan.spec.name, "held" if hold else "queued"
    if found.over == "done":
        delivery.unmark(plan.output, str(plan.changes.get("output_word", "")))
        session.reporter.remark(f"{name} is done already; sshrender resume {name} delivers it again")
        state = "done"
    elif found.submitted != now:
        changes = {key: value for key, value in plan.changes.items() if key in attributes.ALTERABLE}
        refuse_circle(session.san, name, changes["after"])
        op = "resubmit" if found.over or not found.is_queued else "alter"
        requests = [Request(op, whoami(), changes=changes)]
        requests += [Request("hold", whoami())] if hold else []
        for request in requests:
            on_san(session.san, partial(standing.change, plan.folder, request))
        was = "was there, and is queued again" if op == "resubmit" else "is in the queue already"
        session.reporter.remark(f"{name} {was}; it is altered as it was submitted now")
    return {"schema": 1, "job": name, "state": state, "job_dir": str(plan.folder.path), "exit_code": 0}
