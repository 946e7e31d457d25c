"""Puts documents into the queue: creates their jobs, or changes and queues jobs that exist."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sshrender.api.dependencies import refuse_circle
from sshrender.api.documentarguments import near_document
from sshrender.api.jobs import create_marker, current_user, on_san, remove_marker
from sshrender.api.removal import remove
from sshrender.api.results import NO_PAGES
from sshrender.api.runcontext import RunContext
from sshrender.coordinator.jobopening import claim_output, open_job
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.storageerrors import output_error
from sshrender.document.facts import check_file
from sshrender.document.reading import Reading
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.history import sizes
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.queue import queueoperations
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request
from sshrender.storage.hangguard import guarded_call


class OwnedByAnother(UserError):
    """The document, with these settings, is the job of another user. ``job``: its name."""

    def __init__(self, job: str, owner: str) -> None:
        super().__init__(
            ExitCode.USAGE,
            f"{job} is a job of {owner or 'another user'}",
            "give the document another name",
        )
        self.job = job


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job of the queue. ``state``: queued, held, or done if nothing is left to do."""

    job: str
    state: str
    folder: Path
    output: Path
    pages: int

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "schema": 1,
            "job": self.job,
            "state": self.state,
            "job_dir": str(self.folder),
            "output": str(self.output),
            "pages": {
                **NO_PAGES,
                "total": self.pages,
                "done" if self.state == "done" else "missing": self.pages,
            },
            "exit_code": 0,
        }


def submit(
    context: RunContext,
    source: Path,
    conditions: Mapping[str, Any],
    *,
    is_only: bool = True,
    is_held: bool = False,
    only_of: str = "",
) -> Submitted:
    """Queue one document. Raises UserError; OwnedByAnother for a job that is not of user ``only_of``.

    ``conditions``: the attributes not_before (see dependencies.start_time) and after (names of jobs).
    ``is_only``: the command submits no other document. ``is_held``: it starts when released. With
    ``only_of`` the pages stay in the job's folder, as a web user has no output folder.
    """
    near_document(source, partial(check_file, source))
    # The time of submission identifies our own job below: another submit may create it first.
    now = timestamp(time.time())
    fields = {**conditions, "submitted": now, "held": current_user() if is_held else ""}
    request = context.request(source, is_only, **fields)
    # Below the shared folder every machine finds the output folder without a marker.
    if only_of:
        # A web user has no folder on this machine: the pages are downloaded.
        own = {"output": "", "output_host": "", "output_marker": ""}
        request = replace(context.request(source, is_only, **fields, **own), stays_in_job=True)
    elif not request.output.is_relative_to(context.san):
        request = context.request(source, is_only, **fields, output_marker=create_marker(request.output))
    reading = Reading()
    try:
        # It may return a job that exists: the same document with the same settings is one job.
        plan = on_san(context.san, lambda: open_job(request, reading, context.page_count_probe(request)))
        if only_of:
            _require_owner(context, plan, only_of)
        return _result(context, plan, now, is_held)
    # The marker was created before the job was opened, and would be left over.
    except UserError:
        remove_marker(request.output, request.attributes.output_marker)
        raise
    finally:
        reading.close()


def _require_owner(context: RunContext, plan: JobPlan, user: str) -> None:
    """Raise OwnedByAnother for a job that exists already and belongs to another user."""
    found = on_san(context.san, partial(jobattributes.load_signed, plan.folder))
    if found.owner != user:
        raise OwnedByAnother(plan.spec.name, found.owner)


def _result(context: RunContext, plan: JobPlan, now: str, hold: bool) -> Submitted:
    """Return the new job, or change an existing one to what was submitted now. Raises UserError."""
    found = on_san(context.san, partial(jobattributes.load_signed, plan.folder))
    name, state = plan.spec.name, "held" if hold else "queued"
    # The time that was written is ours, so this process has created the job.
    if found.submitted == now:
        _require_no_circle(context, plan, now)
        _claim_output(context, plan, now)
    # The job is complete, but only if its pages are also where this command wants them.
    elif found.over == "done" and _is_as_requested(plan, found):
        remove_marker(plan.output, str(plan.request.changes.get("output_marker", "")))
        context.listener.print_line(f"{name} is done already: its pages are in {plan.output}")
        state = "done"
    else:
        claim_output(plan.delivery)
        _alter(context, plan, found, hold)
    return Submitted(name, state, plan.folder.path, plan.output, len(plan.pages))


# A circle is only seen when the job exists, because its name follows from the document.
def _require_no_circle(context: RunContext, plan: JobPlan, now: str) -> None:
    """Remove the new job if it waits for itself: others may wait for a removed job of its name.

    Raises UserError.
    """
    try:
        refuse_circle(context.san, plan.spec.name, plan.request.changes["after"])
    except UserError:
        # Only the job that this submission has created: another one may have been faster.
        on_san(context.san, lambda: remove(plan.folder, lambda found: found.submitted == now))
        raise


def _claim_output(context: RunContext, plan: JobPlan, now: str) -> None:
    """Claim the output folder of the new job; remove the job if another one was faster.

    Raises UserError.
    """
    try:
        claim_output(plan.delivery)
    except UserError:
        on_san(context.san, lambda: remove(plan.folder, lambda found: found.submitted == now))
        raise


def _is_as_requested(plan: JobPlan, found: Attributes) -> bool:
    """Return whether nothing is left to do: the settings are the same, all pages are delivered.

    Raises UserError.
    """
    # Settings that decide about pages are in the job's name; these three are not.
    compared = ("output", "output_host", "wishes")
    if any(getattr(found, key) != plan.request.changes[key] for key in compared):
        return False
    verified = on_san(plan.folder.path.parent, partial(sizes, plan.folder.pages))
    try:
        # Sizes only: reading all pages of a large job would take minutes.
        delivered = guarded_call(plan.output.parent, partial(sizes, plan.output))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise output_error(error, plan.output) from None
    names = map(plan.page_file, plan.pages)
    return all(name in delivered and delivered[name] == verified.get(name) for name in names)


def _alter(context: RunContext, plan: JobPlan, found: Attributes, hold: bool) -> None:
    """Change an existing job to what was submitted now, and queue it. Raises UserError."""
    name = plan.spec.name
    # Only what may change in an existing job; the rest belongs to the document.
    changes = {
        key: value for key, value in plan.request.changes.items() if key in jobattributes.ALTERABLE
    }
    refuse_circle(context.san, name, changes["after"])
    # A job that was never queued is put into the queue in the same way as one that has ended.
    is_again = bool(found.over) or not found.is_queued
    op = Operation.RESUBMIT if is_again else Operation.ALTER
    requests = [Request(op, current_user(), changes=changes)]
    # The hold comes after the change, so the job that is held has the new settings.
    requests += [Request(Operation.HOLD, current_user())] if hold else []
    for request in requests:
        on_san(context.san, partial(queueoperations.change, plan.folder, request))
    was = "existed already: it is queued again" if is_again else "is in the queue already; altered"
    context.listener.print_line(f"{name} {was} with the new options")
