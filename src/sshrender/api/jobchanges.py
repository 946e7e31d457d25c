"""Changes that users request of jobs: hold, release, cancel, resubmit, alter, retry.

A running job is changed by its coordinator, any other by this process under the job's lease
(job/queue/queueoperations.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshrender.api.dependencies import refuse_circle
from sshrender.api.jobs import create_marker, current_user, find_job, on_san, require_own
from sshrender.api.runcontext import output_of
from sshrender.config.settings import Settings, resolve
from sshrender.coordinator.jobopening import claim_output
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import BATCH, JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.history import History
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import PilotsRequested
from sshrender.job.journal.replay import replay
from sshrender.job.lease import Observer
from sshrender.job.output import outputlocation
from sshrender.job.output.outputrules import Delivery
from sshrender.job.queue import queueoperations
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request, ask
from sshrender.job.spec import JobSpec, require_signed_spec
from sshrender.job.status import jobstatus

if TYPE_CHECKING:
    from sshrender.coordinator.pilots.leftpilots import LeftPilots

ChangesOf = Callable[[JobFolder, JobSpec], Mapping[str, Any]]
"""Returns the attributes that change in one job."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The result of a request. ``no_need``: why nothing has changed; empty if something has.

    ``left``: pilots of a coordinator that is gone, which could not be cancelled or held with the job.
    """

    job: str
    no_need: str
    left: Sequence[LeftPilots] = ()


OnChanged = Callable[[Changed], None]
"""Called after each job: an error at a later one does not undo it."""


@dataclass(frozen=True, slots=True)
class Order:
    """The change of each of several jobs."""

    op: Operation
    note: str = ""
    changes: ChangesOf = lambda _folder, _spec: {}
    settings: Settings | None = None


def _ignore(changed: Changed) -> None:
    pass


def hold(
    san: Path,
    jobs: Sequence[str],
    note: str = "",
    on_changed: OnChanged = _ignore,
    settings: Settings | None = None,
) -> list[Changed]:
    """Pause jobs: no more of their pages are started. Raises UserError.

    ``settings`` name the inventory. If the job's coordinator is gone, pilots that wait at its pools are
    held; the next coordinator releases them.
    """
    return _change(san, jobs, Order(Operation.HOLD, note=note, settings=settings), on_changed)


def release(san: Path, jobs: Sequence[str], on_changed: OnChanged = _ignore) -> list[Changed]:
    """Let held jobs continue. Raises UserError."""
    return _change(san, jobs, Order(Operation.RELEASE), on_changed)


def cancel(
    san: Path,
    jobs: Sequence[str],
    on_changed: OnChanged = _ignore,
    settings: Settings | None = None,
) -> list[Changed]:
    """Stop jobs for good; their finished pages stay. Raises UserError.

    ``settings`` name the inventory. If the job's coordinator is gone, pilots that wait at its pools are
    cancelled.
    """
    return _change(san, jobs, Order(Operation.CANCEL, settings=settings), on_changed)


def resubmit(san: Path, jobs: Sequence[str], on_changed: OnChanged = _ignore) -> list[Changed]:
    """Put finished jobs back into the queue; failed pages are tried again. Raises UserError."""

    def claim(folder: JobFolder, spec: JobSpec) -> Mapping[str, Any]:
        # Before the job is queued: without its output folder it would fail later, on another machine.
        output = on_san(san, lambda: outputlocation.place(jobattributes.load(folder), folder))
        if output is not None:
            claim_output(Delivery(output, spec, folder, by="alter"))
        return {}

    return _change(san, jobs, Order(Operation.RESUBMIT, changes=claim), on_changed)


def alter(
    san: Path,
    jobs: Sequence[str],
    changes: Mapping[str, Any],
    output: Path | None = None,
    on_changed: OnChanged = _ignore,
) -> list[Changed]:
    """Change attributes of jobs. Raises UserError.

    ``changes``: any of priority, limit, not_before (see dependencies.start_time) and after (names).
    ``output``: deliver there; of several jobs, each gets its own folder in it.
    """
    taken: dict[Path, Delivery] = {}

    def for_each(folder: JobFolder, spec: JobSpec) -> Mapping[str, Any]:
        # For each job before any is changed (_change), so a circle changes nothing.
        refuse_circle(san, folder.name, changes.get("after", ()))
        if output is None:
            return changes
        own = output_of(output, Path(spec.document.name), len(jobs) == 1)
        delivery = Delivery(own, spec, folder, by="alter")
        # If several jobs get the same folder, it belongs to the first one.
        other = taken.setdefault(own, delivery)
        if not other.contents.is_same(delivery.contents):
            raise UserError(
                ExitCode.USAGE,
                f"{other.spec.name} and {spec.name} cannot share {own}: their pages would be mixed",
                "give each of them its own -o DIR, one command for each",
            )
        claim_output(delivery)
        # The marker lets other machines recognise the folder; below the shared folder no marker is
        # needed.
        return {**changes, **_marked(own, san)}

    return _change(san, jobs, Order(Operation.ALTER, changes=for_each), on_changed)


def retry(san: Path, job: str, pages: Iterable[int]) -> None:
    """Ask the coordinator of a running job to try failed pages again. Raises UserError."""
    folder, spec = on_san(san, partial(_find, san, job, "watch"))
    # Only a running coordinator knows failed pages; a finished job is queued again as a whole.
    if on_san(san, lambda: Observer(folder.lease).holder()) is None:
        raise UserError(
            ExitCode.USAGE,
            f"{spec.name} is not running",
            f"sshrender resubmit {shlex.quote(spec.name)}",
        )
    for page in pages:
        on_san(san, partial(ask, folder, Request(Operation.RETRY, current_user(), page=page)))


def _marked(output: Path, san: Path) -> dict[str, Any]:
    """Return the attributes of a new output folder, so that other machines know it. Raises UserError."""
    marker = "" if output.is_relative_to(san) else create_marker(output)
    return outputlocation.recorded(output, san, marker)


def _change(san: Path, jobs: Sequence[str], order: Order, on_changed: OnChanged) -> list[Changed]:
    """Change jobs. All are found, and their changes known, before the first is changed.

    Raises UserError.
    """
    op, user = order.op, current_user()
    found = [on_san(san, partial(_find, san, job, op)) for job in jobs]
    requests = [Request(op, user, note=order.note, changes=dict(order.changes(*each))) for each in found]
    done = []
    for (folder, spec), request in zip(found, requests, strict=True):
        # Read before the change, to tell whether there was anything to do.
        before = on_san(san, partial(jobattributes.load_or_none, folder))
        is_complete = partial(_is_complete, folder, spec)
        try:
            now = on_san(san, partial(queueoperations.change, folder, request, is_complete=is_complete))
        except queueoperations.NotHeard:
            raise UserError(
                ExitCode.LEASE,
                f"the coordinator of {folder.name} does not answer requests",
                "check the shared folder on the machine that"
                f" this shows: sshrender status {shlex.quote(folder.name)}",
            ) from None
        no_need = _no_need(op, before, now)
        left: Sequence[LeftPilots] = ()
        # If there is a coordinator, it does this.
        if now is not None and (op is Operation.CANCEL or (op is Operation.HOLD and not no_need)):
            left = _stop_pilots(folder, san, order)
        done.append(Changed(folder.name, no_need, left))
        on_changed(done[-1])
    return done


def _stop_pilots(folder: JobFolder, san: Path, order: Order) -> list[LeftPilots]:
    """Cancel or hold the pilots of a coordinator that is gone; return those that may still start.

    Otherwise they wait until they start, and end a minute later, or at once after a cancellation.
    """
    folders = on_san(san, partial(_array_folders, folder))
    if not folders:
        return []
    # Here, because few jobs have pilots.
    from sshrender.api.poolaccess import known_pools
    from sshrender.coordinator.pilots.leftpilots import cancel_left, hold_left
    from sshrender.transports.batch.arrayfolder import ArrayFolder

    if order.op is Operation.CANCEL:
        for array in folders:
            # No key is needed: a tombstone is not a signed line.
            on_san(san, ArrayFolder(array, b"").bury)
    arrays = on_san(san, partial(_arrays, folder))
    if not arrays:
        return []
    stop = cancel_left if order.op is Operation.CANCEL else hold_left
    try:
        return stop(arrays, known_pools(order.settings or resolve({}, None).settings, san))
    # The job is changed already, so an inventory that cannot be read is not an error.
    except UserError as error:
        return stop(arrays, {}, error.what)


def has_pilots(san: Path, job: str) -> bool:
    """Return whether a coordinator of this job has asked a batch system for pilots. Raises UserError."""
    return bool(on_san(san, partial(_array_folders, JobFolder(san / job))))


def _array_folders(folder: JobFolder) -> list[Path]:
    return list((folder.path / BATCH).glob("*/"))


def _arrays(folder: JobFolder) -> list[PilotsRequested]:
    """Return the arrays that may still wait, as the journal tells. Raises OSError."""
    history = History()
    replay(read_journal(folder.journal), history)
    return list(history.pilots.values())


def _find(san: Path, named: str, op: str) -> tuple[JobFolder, JobSpec]:
    """Return a job of this user. Raises UserError or OSError.

    The job of another user is refused: its coordinator could not read files that we write there.
    """
    folder, spec = find_job(san, named)
    require_own(folder, op)
    require_signed_spec(folder)
    return folder, spec


def _is_complete(folder: JobFolder, spec: JobSpec) -> bool:
    """Return whether every page of a job is delivered. Raises OSError."""
    return jobstatus.of(folder, spec, read_journal(folder.journal), None).is_complete


def _no_need(op: str, found: Attributes | None, now: Attributes | None) -> str:
    """Return why nothing has changed; empty if something has.

    ``now``: the attributes after the change; None if the job's coordinator makes it.
    """
    # Only if there is no coordinator: a job may be rendered again after it was done.
    if op is Operation.HOLD and now is not None and now.over == jobattributes.DONE:
        return "is done: all pages are delivered"
    # All pages were delivered already, so the change ended the job as done, not as cancelled.
    if op is Operation.CANCEL and now is not None and found != now and now.over == jobattributes.DONE:
        return "is done: all pages are delivered"
    # The order matters: a job that is done was found by the line above.
    if found is not None and op is Operation.CANCEL and found.over:
        return f"has ended already: {found.over}"
    if found is not None and op is Operation.RELEASE and not found.held:
        return "was not held"
    return ""
