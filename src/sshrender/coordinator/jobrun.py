"""One job from its lease to its manifest."""

from __future__ import annotations

import contextlib
import queue
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sshrender import gctuning
from sshrender.coordinator.hangguard import DeadlinePassed, guarded_call
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.jobopening import deadline_passed, require_output, storage_error
from sshrender.coordinator.loop import Coordinator
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.resumption import recall
from sshrender.coordinator.signals import caught
from sshrender.coordinator.workers.leaserenewer import LeaseRenewer
from sshrender.errors import ExitCode, UserError
from sshrender.job import delivery, drains, lease, manifest, queueoperations
from sshrender.job.attributes import Attributes
from sshrender.job.fieldforms import MAX_TEXT
from sshrender.job.journalformat import timestamp
from sshrender.job.nonce import Nonce
from sshrender.utf8 import writable
from sshrender.views.protocol import View


def see_through(
    plan: JobPlan,
    hosts: Sequence[HostSetup],
    view: View,
    links: ConnectionPool,
    inbox: queue.SimpleQueue[Any],
    finish: Callable[[Outcome, Callable[[], None]], None] = lambda outcome, fence: None,
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
            coordinator = Coordinator(plan, hosts, held, nonce, links, inbox, view, drained)
            signals.enter_context(caught(inbox.put, lambda: view.say(coordinator.status_line())))
            outcome = coordinator.run()
            if outcome.code != ExitCode.STORAGE:
                guarded_call(san, lambda: _account(plan, outcome, held, view))
                signals.close()  # it may take long, and writes nothing that is half done
                finish(outcome, held.ensure)
                guarded_call(san, lambda: _conclude(plan, outcome, held, began_as))
        except lease.LeaseLost:
            raise _held(plan, "somebody else") from None
        except OSError as error:
            raise storage_error(error, san) from None
        finally:
            if nonce is not None:
                with contextlib.suppress(OSError):
                    guarded_call(san, nonce.remove)
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
    return Nonce.create(plan.folder, held.epoch)


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


def _conclude(plan: JobPlan, outcome: Outcome, held: lease.Lease, began_as: Attributes) -> None:
    """Whether anybody is to see it through again. Raises LeaseLost or OSError.

    One whose pages are wanted elsewhere by now is, though nothing is drawn for that.
    """
    if not outcome.is_over:
        return
    held.ensure()
    if not plan.attributes.is_queued or delivery.is_same(began_as, plan.attributes):
        plan.attributes = plan.attributes.changed(
            over=outcome.state, why=writable(outcome.reason)[:MAX_TEXT]
        )
        plan.attributes.save(plan.folder, held.epoch)
    # Last: without the marker another machine could not deliver there, if the job is its by now.
    delivery.remove_marker(plan.output, began_as.output_marker)


def _held(plan: JobPlan, by: str) -> UserError:
    return UserError(
        ExitCode.LEASE,
        f"job {plan.spec.name} is being seen through by {by}",
        f"sshrender watch {shlex.quote(plan.spec.name)} shows it; or end that process and try again",
    )


def _account(plan: JobPlan, outcome: Outcome, held: lease.Lease, view: View) -> None:
    """Raises LeaseLost or OSError."""
    if outcome.pages["missing"]:
        return
    held.ensure()
    plan.folder.clear_work(held.epoch + 1)
    try:
        _write_manifest(plan, outcome, held)
    except (lease.LeaseLost, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the pages are there, and the journal tells of them
        view.say(f"no manifest: {type(error).__name__}: {error}")


def _write_manifest(plan: JobPlan, outcome: Outcome, held: lease.Lease) -> None:
    failed = [asdict(page) for page in outcome.failed_pages if page.kind != "suspect"]
    manifest.save(
        plan.folder,
        plan.spec,
        plan.history.pages.values(),
        failed,
        plan.history.notes,
        plan.history.fonts,
        plan.history.hosts,
        timestamp(time.time()),
        held.epoch,
    )
