"""One job from its lease to its manifest."""

from __future__ import annotations

import contextlib
import queue
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from sshrender import gctuning
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.jobcompletion import record_end, write_manifest
from sshrender.coordinator.jobopening import deadline_passed, require_output, storage_error
from sshrender.coordinator.loop import Coordinator
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.resumption import recall
from sshrender.coordinator.runparts import RunInputs
from sshrender.coordinator.signals import caught
from sshrender.coordinator.workers.leaserenewer import LeaseRenewer
from sshrender.errors import ExitCode, UserError
from sshrender.job import delivery, drains, lease, queueoperations
from sshrender.job.nonce import Nonce
from sshrender.storage.hangguard import DeadlinePassed, guarded_call
from sshrender.views.protocol import View


def see_through(
    plan: JobPlan,
    hosts: Sequence[HostSetup],
    view: View,
    links: ConnectionPool,
    inbox: queue.SimpleQueue[Any],
    finish: Callable[[Outcome, Callable[[], None]], None] = lambda _outcome, _fence: None,
) -> Outcome:
    """Take the lease, render what is missing, deliver, account for it. Raises UserError.

    ``inbox`` is where ``links`` post what they hear. ``finish`` makes of the pages what else is wanted:
    a job is over when that is done, so if it fails, or is ended by a signal, the job is not. It gets the
    lease's ``ensure``.
    """
    gctuning.begin()
    san = plan.folder.path.parent
    held = _begin(plan)
    keeper = LeaseRenewer(held, inbox.put)
    keeper.start()
    # Whoever asks a second time, while what was done is accounted for, must not end that in the middle.
    with contextlib.ExitStack() as signals:
        nonce: Nonce | None = None
        try:
            guarded_call(san, lambda: _enter(plan, held))
            began_as = plan.attributes
            guarded_call(san, lambda: recall(plan, held.ensure, held.epoch))
            nonce = guarded_call(san, lambda: _lay_nonce(plan, held))
            drained = guarded_call(san, lambda: drains.read(san, [setup.plan.name for setup in hosts]))
            inputs = RunInputs(plan, hosts, held, nonce, links, inbox, view, drained)
            coordinator = Coordinator(inputs)
            signals.enter_context(caught(inbox.put, lambda: view.print_line(coordinator.status_line())))
            outcome = coordinator.run()
            if outcome.code != ExitCode.STORAGE:
                guarded_call(san, lambda: write_manifest(plan, outcome, held, view))
                signals.close()  # it may take long, and writes nothing that is half done
                finish(outcome, held.ensure)
                guarded_call(san, lambda: record_end(plan, outcome, held, began_as))
        except lease.LeaseLost:
            raise _held(plan, "somebody else") from None
        except OSError as error:
            raise storage_error(error, san) from None
        finally:
            if nonce is not None:
                with contextlib.suppress(OSError):
                    guarded_call(san, nonce.lift)
            keeper.stop()
    return outcome


def _begin(plan: JobPlan) -> lease.Lease:
    """Raises UserError. Under the lease nothing is left behind: from then on the run ends by itself."""
    until = plan.policy.deadline
    try:
        guarded_call(plan.output.parent, lambda: require_output(plan.output), until)
        return _take_lease(plan, until)
    except DeadlinePassed:
        raise deadline_passed() from None


def _take_lease(plan: JobPlan, until: float | None) -> lease.Lease:
    san = plan.folder.path.parent
    try:
        return guarded_call(
            san, lambda: lease.take(plan.folder.lease, known_dead=plan.known_dead), until
        )
    except lease.LeaseHeld as other:
        raise _held(plan, lease.in_words(other.claim)) from None
    except OSError as error:
        raise storage_error(error, san) from None


def _lay_nonce(plan: JobPlan, held: lease.Lease) -> Nonce:
    """In the place of the one before, by which its successor's hosts know the SAN. Raises as ensure."""
    held.ensure()
    return Nonce.lay(plan.folder, held.epoch)


def _enter(plan: JobPlan, held: lease.Lease) -> None:
    """What is asked of the job, and what this command changes of that.

    Raises UserError, LeaseLost or OSError.
    """
    held.ensure()
    plan.compare_document()
    name, found = plan.spec.name, queueoperations.settle(plan.folder, held.epoch)
    if plan.is_from_queue and (found.held or found.over):
        raise UserError(ExitCode.LEASE, f"{name} is not to be seen through any more", "sshrender status")
    if found.held:
        raise UserError(
            ExitCode.USAGE,
            f"job {name} is held by {found.held}",
            f"sshrender release {shlex.quote(name)}",
        )
    wishes = {**found.wishes, **plan.wished}
    plan.attributes = found.changed(**{"over": "", "why": "", "wishes": wishes, **plan.changes})
    # Also where nothing changes: from then on what a predecessor writes late is refused.
    plan.attributes.save(plan.folder, held.epoch)
    if plan.is_delivered_as_asked:
        _follow_output(plan)


def _follow_output(plan: JobPlan) -> None:
    """Somebody may have altered it since this command looked. Raises UserError."""
    output = delivery.place(plan.attributes, plan.folder) or plan.folder.pages
    if output != plan.output:
        plan.output = output
        require_output(output)


def _held(plan: JobPlan, by: str) -> UserError:
    return UserError(
        ExitCode.LEASE,
        f"job {plan.spec.name} is being seen through by {by}",
        f"sshrender watch {shlex.quote(plan.spec.name)} shows it; or end that process and try again",
    )
