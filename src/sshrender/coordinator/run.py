"""One job from its lease to its manifest."""

from __future__ import annotations

import contextlib
import gc
import queue
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sshrender.coordinator.early import Links
from sshrender.coordinator.loop import Coordinator
from sshrender.coordinator.opening import recall, require_output, storage_error
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.plan import HostSetup, JobPlan
from sshrender.coordinator.signals import caught
from sshrender.coordinator.watched import watched
from sshrender.errors import ExitCode, UserError
from sshrender.job import drains, lease, manifest
from sshrender.job.journal import timestamp
from sshrender.job.nonce import Nonce
from sshrender.views.protocol import View


def see_through(
    plan: JobPlan,
    hosts: Sequence[HostSetup],
    view: View,
    links: Links,
    inbox: queue.SimpleQueue[Any],
) -> Outcome:
    """Take the lease, render what is missing, deliver, account for it. Raises UserError.

    ``inbox`` is where ``links`` post what they hear.
    """
    gc.freeze()  # all that was loaded stays
    gc.enable()
    san = plan.folder.path.parent
    watched(plan.output.parent, lambda: require_output(plan.output))
    held = _take_lease(plan)
    nonce: Nonce | None = None
    try:
        watched(san, lambda: recall(plan))
        nonce = watched(san, lambda: Nonce.lay(plan.folder))
        drained = watched(san, lambda: drains.read(san))
        coordinator = Coordinator(plan, hosts, held, nonce, links, inbox, view, drained)
        with caught(inbox.put, lambda: view.say(coordinator.status_line())):
            outcome = coordinator.run()
        if outcome.code != ExitCode.STORAGE:
            watched(san, lambda: _account(plan, outcome))
    except OSError as error:
        raise storage_error(error, san) from None
    finally:
        with contextlib.suppress(OSError):
            watched(san, lambda: _leave(held, nonce))
    return outcome


def _leave(held: lease.Lease, nonce: Nonce | None) -> None:
    if nonce is not None:
        nonce.lift()
    held.release()


def _take_lease(plan: JobPlan) -> lease.Lease:
    san = plan.folder.path.parent
    try:
        return watched(san, lambda: lease.take(plan.folder.lease))
    except lease.LeaseHeld as other:
        raise UserError(
            ExitCode.LEASE,
            f"job {plan.spec.name} is being seen through by {other.claim.host} (pid {other.claim.pid})",
            "wait for it, or end that process; then run the same command again",
        ) from None
    except OSError as error:
        raise storage_error(error, san) from None


def _account(plan: JobPlan, outcome: Outcome) -> None:
    if outcome.pages["missing"]:
        return
    plan.folder.clear_work()
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
    )
