"""Runs one job: takes the lease, renders missing pages, delivers them, and records the end.

The main thread takes signals and must be able to end the run, so it never touches the SAN itself: each
call that does is guarded (hangguard.py).
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sshrender.coordinator.jobcompletion import record_end, write_manifest
from sshrender.coordinator.jobopening import (
    check_output,
    claim_output,
    deadline_passed,
    require_output,
)
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.loop import Coordinator
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.pagerestoration import complete_output, restore_pages
from sshrender.coordinator.runcomponents import NO_PASSWORD, RunInputs, RunResources
from sshrender.coordinator.signals import caught
from sshrender.coordinator.storageerrors import run_error, storage_error
from sshrender.coordinator.workers.leaserenewer import LeaseGone, LeaseRenewer
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.nonce import Nonce
from sshrender.job.output import outputclaim, outputlocation
from sshrender.job.queue import drains, queueoperations
from sshrender.process import gctuning
from sshrender.storage.hangguard import DeadlinePassed, guarded_call
from sshrender.views.summary import undrain


def run_job(
    plan: JobPlan,
    resources: RunResources,
    finish: Callable[[Outcome, Callable[[], None]], None] = lambda _outcome, _fence: None,
) -> Outcome:
    """Run the job until it ends, and return the outcome. Raises UserError.

    ``finish`` makes what else is requested of the pages, such as one file of all; it gets the lease's
    ``ensure``. The job counts as finished only after that. If ``finish`` fails or is ended by a signal,
    the next run calls it again.
    """
    gctuning.begin()
    if resources.pools and plan.request.password is not None:
        resources.view.print_line(f"pools are not used: {NO_PASSWORD}")
    held = _prepare_output_and_lease(plan)
    renewer = LeaseRenewer(held, resources.inbox.put, plan.folder.path)
    renewer.start()
    # A second signal must not interrupt the accounting in the middle, so signals stay caught until then.
    with contextlib.ExitStack() as signals:
        try:
            return _run_with_lease(plan, resources, held, signals, finish)
        except lease.LeaseLost:
            raise _lease_error(plan, "has been taken over by another coordinator") from None
        except outputclaim.OutputLost:
            raise UserError(
                ExitCode.STORAGE,
                f"{plan.output} was given to another job during the run",
                f"sshrender resume {shlex.quote(plan.spec.name)}",
            ) from None
        except OSError as error:
            raise run_error(error, plan.folder.path.parent, plan.output) from None
        finally:
            # Last: it releases the lease, and another coordinator may begin.
            renewer.stop()


def _run_with_lease(
    plan: JobPlan,
    resources: RunResources,
    held: lease.Lease,
    signals: contextlib.ExitStack,
    finish: Callable[[Outcome, Callable[[], None]], None],
) -> Outcome:
    """Change the job as this command asks, run it, and record its end.

    ``signals``: closed when signals need not be caught any more. Raises LeaseLost, OutputLost, UserError
    or OSError.
    """
    san, view = plan.folder.path.parent, resources.view
    nonce: Nonce | None = None
    try:
        if not plan.request.is_from_queue:
            # Before the job is changed: a folder that is refused must not become the job's.
            check_output(plan.delivery)
        guarded_call(san, lambda: _apply_changes(plan, held))
        # The output folder may be changed during the run; its marker is the one from here.
        began_as = plan.attributes
        # After the changes: they may have moved the output folder.
        plan.claim = claim_output(plan.delivery)
        guarded_call(san, lambda: restore_pages(plan, held.ensure, held.epoch))
        nonce = guarded_call(san, lambda: _create_nonce(plan, held))
        drained = _drained_hosts(san, resources)
        coordinator = Coordinator(RunInputs(plan, resources, held, nonce, drained))
        post = resources.inbox.put
        signals.enter_context(caught(post, lambda: view.print_line(coordinator.status_line())))
        outcome = with_taker(plan.folder, coordinator.run())
        # With a failed storage nothing can be written; the next run accounts for the pages.
        if outcome.code != ExitCode.STORAGE:
            if outcome.is_over:
                guarded_call(san, lambda: complete_output(plan, held.ensure))
            guarded_call(san, lambda: write_manifest(plan, outcome, held, view))
            signals.close()  # finish may take long, and leaves no half-written file
            finish(outcome, held.ensure)
            guarded_call(san, lambda: record_end(plan, outcome, held, began_as))
        return outcome
    finally:
        if nonce is not None:
            # The earlier failure is the error to report.
            with contextlib.suppress(OSError):
                guarded_call(san, nonce.remove)


def _drained_hosts(san: Path, resources: RunResources) -> Mapping[str, drains.Drain]:
    """Return the hosts that are drained for every job; print a hint if that leaves none."""
    hosts = resources.hosts
    # Nodes of a pool are drained by names that no inventory has.
    names = None if resources.pools else [setup.plan.name for setup in hosts]
    drained = guarded_call(san, lambda: drains.read(san, names))
    if hosts and not resources.pools and drained.keys() >= {setup.plan.name for setup in hosts}:
        # The run waits for a while, as a user may put one back into use.
        command = undrain(hosts[0].plan.name)
        line = f"hint: all hosts are drained; to put one back into use: {command}"
        resources.view.print_line(line)
    return drained


def _prepare_output_and_lease(plan: JobPlan) -> lease.Lease:
    """Create the output folder and take the lease, both before the deadline. Raises UserError.

    Later steps have no deadline here: a run that holds the lease ends in order.
    """
    until = plan.request.policy.deadline
    try:
        guarded_call(plan.output.parent, lambda: require_output(plan.output), until)
        return _take_lease(plan, until)
    except DeadlinePassed:
        raise deadline_passed() from None


def _take_lease(plan: JobPlan, until: float | None) -> lease.Lease:
    san = plan.folder.path.parent
    try:
        return guarded_call(
            san, lambda: lease.take(plan.folder.lease, known_dead=plan.request.known_dead), until
        )
    except lease.LeaseHeld as other:
        raise _lease_error(plan, f"is already running on {lease.in_words(other.claim)}") from None
    except OSError as error:
        raise storage_error(error, san) from None


def _create_nonce(plan: JobPlan, held: lease.Lease) -> Nonce:
    """Replace the nonce, a file by which hosts recognize the SAN. Raises as ensure."""
    held.ensure()
    return Nonce.create(plan.folder, held.epoch)


def _apply_changes(plan: JobPlan, held: lease.Lease) -> None:
    """Apply pending requests, and this command's changes of the job's attributes.

    Raises UserError, LeaseLost or OSError.
    """
    held.ensure()
    plan.compare_document()
    name, found = plan.spec.name, queueoperations.handle_requests(plan.folder, held.epoch)
    # The dispatcher's view of the queue is a moment old.
    is_from_queue = plan.request.is_from_queue
    if found.held:
        raise UserError(
            ExitCode.LEASE if is_from_queue else ExitCode.USAGE,
            f"job {name} is held by {found.held}",
            f"sshrender release {shlex.quote(name)}",
        )
    if is_from_queue and found.over:
        hint = f"sshrender status {shlex.quote(name)}"
        raise UserError(ExitCode.LEASE, f"job {name} is already finished", hint)
    # Settings that are kept for later runs: those of this command win.
    wishes = {**found.wishes, **plan.request.job_settings}
    plan.attributes = found.changed(**{"over": "", "why": "", "wishes": wishes, **plan.request.changes})
    # Saved even if nothing changes: the new epoch makes late writes of a predecessor fail.
    plan.attributes.save(plan.folder, held.epoch)
    if plan.request.is_delivered_as_asked:
        _follow_output(plan)


def _follow_output(plan: JobPlan) -> None:
    """Use the output folder of the attributes, which may have changed since the job was opened.

    Raises UserError.
    """
    output = outputlocation.place(plan.attributes, plan.folder) or plan.folder.pages
    if output != plan.output:
        plan.output = output
        require_output(output)


def with_taker(folder: JobFolder, outcome: Outcome) -> Outcome:
    """Return the outcome; if a user's command took the job from this run, with what it did.

    A run that was stopped (SIGSTOP, a suspended machine) renews no lease: hold and cancel then take it.
    """
    if not outcome.reason.startswith(LeaseGone.REASON):
        return outcome
    try:
        found = guarded_call(folder.path.parent, lambda: jobattributes.load_or_none(folder))
    except OSError:
        return outcome  # another coordinator has the job, which is all that is known
    what = found and (f"held by {found.held}" if found.held else found.over and found.why)
    if not what:
        return outcome
    return replace(outcome, reason=f"{what}, while this run did not renew its lease")


def _lease_error(plan: JobPlan, state: str) -> UserError:
    return UserError(
        ExitCode.LEASE,
        f"job {plan.spec.name} {state}",
        f"sshrender watch {shlex.quote(plan.spec.name)}",
    )
