"""Translates what arrives in the loop's inbox into events of the scheduler.

INBOX_HANDLERS names the handler of each type. A handler does no I/O that may block: it records, keeps
the run's attempt records current and returns the events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from signal import Signals
from typing import Any

from sshrender.coordinator.hosts.connection import HostSpoke, LinkFailed
from sshrender.coordinator.hosts.filetransfer import TransferDone, TransferFailed
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.pilots.pool import PoolReport
from sshrender.coordinator.pilots.poolmanager import PilotStarted
from sshrender.coordinator.pilots.poolmessages import EntryRequested, PilotEnded, PilotRetiring
from sshrender.coordinator.runcomponents import RunParts
from sshrender.coordinator.signals import SignalCaught
from sshrender.coordinator.workers import verificationresults as vf
from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.coordinator.workers.partsplitter import PartsFailed
from sshrender.coordinator.workers.requestpoller import RequestReceived, RequestsRefused, event_of
from sshrender.core import events as ev
from sshrender.core.records import Host
from sshrender.core.states import FailureKind
from sshrender.errors import CPU_LIMIT
from sshrender.job.journal import journalentries as je
from sshrender.job.queue import queueoperations
from sshrender.transports.interface import Refusal
from sshrender.utf8 import writable

_DRAINS = (ev.DrainRequested, ev.UndrainRequested)

# Hosts


def on_message(run: RunParts, item: HostSpoke) -> list[ev.Event]:
    """Handle a message of a host, unless it came over a connection that was closed since."""
    # Before the test of the connection: also a closed one has taken its place in the inbox, which is
    # freed here.
    item.link.message_taken()
    run.heard_until = item.at
    # A connection that was replaced may still have messages in the inbox. They speak of attempts that
    # were requeued.
    if not run.router.is_current(item.link):
        return []
    return run.messages.events_of(item.link.host, item.message, item.at)


def on_link_failed(run: RunParts, item: LinkFailed) -> list[ev.Event]:
    """Report a connection that failed: lost if it may work later, else refused."""
    host = item.link.host
    if not run.router.is_current(item.link):
        return []
    # A pilot that does not answer has probably ended with its allocation, which is not a failure of a
    # host.
    ended = run.pilots.on_failure(host, item.reason)
    if ended is not None:
        return ended
    # An unreachable host may be rebooting; a refused key does not change by itself.
    if item.refusal.may_come_back:
        return [ev.HostLost(host, item.reason)]
    kind = item.refusal
    return [ev.HostRefused(host, kind.value, item.reason, kind.is_tried_again)]


def on_transfer_done(run: RunParts, item: TransferDone) -> list[ev.Event]:
    """Verify a page that has arrived from a host without a SAN."""
    record = run.attempts.get(item.task.attempt)
    # Without a record the attempt has ended; its verification then changes nothing (on_verified).
    if record is not None:
        record.is_transferred = True
    run.verifier.submit(item.task)
    return []


def on_transfer_failed(run: RunParts, item: TransferFailed) -> list[ev.Event]:
    """Charge the host with a page that did not arrive."""
    return _attempt_failed(run, item.task, FailureKind.HOST, item.reason)


# Verification


def on_verified(run: RunParts, result: vf.Verified) -> list[ev.Event]:
    """Record a delivered page, unless another attempt may be the one that published it."""
    task = result.task
    attempt = run.scheduler.attempts.get(task.attempt)
    # It has ended meanwhile, as when its host was lost. The file stays: the next attempt finds the
    # name taken, or the next run adopts it (pagerestoration.py).
    if attempt is None:
        run.attempts.remove(task.attempt)
        return []
    if result.was_taken and run.scheduler.is_verifying_another(attempt, besides=run.attempts.deferred):
        # Two hosts may have rendered the page. The other's result tells which file was published.
        run.attempts.defer(result)
        return []
    # The file under the name is that of an outvoted host, published after the page was withdrawn.
    if result.was_taken and task.page in run.plan.history.withdrawn:
        run.attempts.remove(task.attempt)
        run.plan.history.withdrawn[task.page] = result.image.sha256
        return [ev.OutvotedPagePublished(task.host, task.attempt)]
    report = run.attempts[task.attempt].report
    run.attempts.remove(task.attempt)
    page = run.scheduler.page_queue[task.page]
    host = run.scheduler.hosts[task.host]
    # Recorded before the scheduler learns of it: FinishPage, its answer, reads the recorded page.
    run.recorder.delivered(
        result, report, page.attempts, host.ghostscript, _renderer(run.plan, host, page.renderer)
    )
    seconds = run.router.transfer_seconds(task.host, task.attempt)
    events: list[ev.Event] = [ev.PageDelivered(task.host, task.attempt, seconds)]
    if result.doubt:
        # Before the delivery, while the attempt is still known: the page becomes suspect at once.
        events.insert(0, ev.PageSuspected(task.host, task.attempt, task.page, (result.doubt,)))
    return events


def _renderer(plan: JobPlan, host: Host, recipe: int) -> tuple[str, str]:
    """Return name and version of the renderer of a page; of most recipes the version is unknown."""
    version = host.ghostscript if plan.is_sized(recipe) else host.mutool
    is_known = plan.is_sized(recipe) or plan.spec.settings.recipes[recipe].is_of_mutool
    return plan.recipe_name(recipe), version if is_known else ""


def take_deferred(run: RunParts) -> list[ev.Event]:
    """Handle the deferred results again: the other attempts at their pages may have ended since."""
    return [event for result in run.attempts.take_deferred() for event in on_verified(run, result)]


def on_rejected(run: RunParts, result: vf.Rejected) -> list[ev.Event]:
    """Charge the host with a file that never appeared, the page with one that is not an image of it."""
    host = result.task.host
    # Only before the first page: a host that has delivered pages can write files that are readable
    # here.
    if result.is_unreadable and not run.scheduler.hosts[host].pages_done:
        # Not the page's fault, and none from this host will be readable: it comes back to the queue.
        reason = f"this machine cannot read what it writes in the shared folder: {result.task.work.name}"
        failed = _attempt_failed(run, result.task, FailureKind.HOST, result.reason)
        return [*failed, ev.HostRefused(host, Refusal.SAN.value, reason, is_tried_again=True)]
    kind = FailureKind.HOST if result.is_absent else FailureKind.BAD_OUTPUT
    return _attempt_failed(run, result.task, kind, result.reason)


def on_unwritable(run: RunParts, result: vf.Unwritable) -> list[ev.Event]:
    """Fail a page whose name cannot be written; no host is charged."""
    return _attempt_failed(run, result.task, FailureKind.UNWRITABLE, result.reason)


def on_waits(run: RunParts, item: vf.Waits) -> list[ev.Event]:
    """Record why a page waits, and until when."""
    reason = writable(item.reason)
    run.recorder.record(je.PageWaits(page=item.task.page, reason=reason, waits=item.seconds))
    return []


def on_storage_trouble(run: RunParts, result: vf.StorageTrouble) -> list[ev.Event]:
    """Report a page that the storage did not take.

    It is verified again whenever the storage is back, and recorded once.
    """
    task = result.task
    event = ev.AttemptFailed(task.host, task.attempt, FailureKind.STORAGE, result.reason)
    # Always passed on, with or without a record: each one makes the scheduler probe again.
    record = run.attempts.get(task.attempt)
    if record is None:
        return [event]
    if record.is_storage_failure_recorded:
        # The run is not paused, as what a probe writes is small: the page alone shows what is awaited.
        if not record.is_wait_recorded and not run.scheduler.paused:
            record.is_wait_recorded = True
            on_waits(run, vf.Waits(task, result.reason, run.scheduler.storage_left))
        return [event]
    record.is_storage_failure_recorded = True
    return run.messages.attempt_failed(event)


def on_sync_refused(run: RunParts, item: vf.SyncRefused) -> list[ev.Event]:
    """Record that a file system cannot make names durable."""
    run.recorder.record(je.FolderNotSynced(reason=writable(f"{item.folder}: {item.reason}")))
    return []


def _attempt_failed(
    run: RunParts, task: vf.VerificationTask, kind: FailureKind, reason: str
) -> list[ev.Event]:
    """End the record of an attempt that failed after its report."""
    run.attempts.remove(task.attempt)
    return run.messages.attempt_failed(ev.AttemptFailed(task.host, task.attempt, kind, reason))


# Storage and document


def on_storage_failed(run: RunParts, event: ev.StorageFailed) -> list[ev.Event]:
    """Record the start of an outage; probes and workers repeat the event while it lasts."""
    if not run.scheduler.paused:
        waits = run.scheduler.policy.storage_wait
        run.recorder.record(je.StorageFailed(reason=event.reason, waits=waits))
    return [event]


def on_storage_recovered(run: RunParts, event: ev.StorageRecovered) -> list[ev.Event]:
    """Record the end of an outage."""
    if run.scheduler.paused:
        run.recorder.record(je.StorageRecovered())
    return [event]


def on_parts_failed(run: RunParts, item: PartsFailed) -> list[ev.Event]:
    """Render pages that have no part yet from the whole document."""
    run.recorder.record(je.SplitFailed(reason=item.reason))
    run.router.split = 0  # later requests name the whole document
    return [ev.PagesReady(tuple(run.plan.pages))]


# Requests, signals, and the end of our authority


def on_request(run: RunParts, item: RequestReceived) -> list[ev.Event]:
    """Record a user's request and pass it on."""
    request = item.request
    run.recorder.record(queueoperations.handled(request, is_late=False))
    # Only a priority is told to runners: all other changes are the scheduler's.
    if "priority" in request.changes:
        # Runners decide with it which job gets a free slot on a shared host.
        run.router.send_priority(request.changes["priority"])
    event = event_of(request, run.plan.attributes.limit)
    return run.pilots.on_drain(event) if isinstance(event, _DRAINS) else [event]


def on_requests_refused(run: RunParts, item: RequestsRefused) -> list[ev.Event]:
    """Record that requests were not signed with the owner's key."""
    run.recorder.record(je.RequestsRefused(count=item.count))
    return []


def on_signal(run: RunParts, item: SignalCaught) -> list[ev.Event]:
    """Stop the run; the signal decides the exit code."""
    run.signal = item.number
    why = f": {CPU_LIMIT}" if item.number == Signals.SIGXCPU else ""
    return [ev.StopRequested(f"stopped by {Signals(item.number).name} (signal {item.number}){why}")]


def on_gone(_run: RunParts, item: LeaseGone | vf.DocumentGone | vf.OutputGone) -> list[ev.Event]:
    """Stop the run: the job or its output folder is another's, or its document was replaced."""
    return [ev.StopRequested(item.REASON)]


# Pilots of a batch system


def on_pilot_started(run: RunParts, item: PilotStarted) -> list[ev.Event]:
    """Make a host of a pilot."""
    setup, events = run.pilots.on_started(item)
    run.setups[item.host] = setup
    return events


def on_pool_report(run: RunParts, item: PoolReport) -> list[ev.Event]:
    """Record the state of a pool."""
    run.recorder.record(
        je.PoolReported(
            pool=item.pool,
            waiting=item.waiting,
            running=item.running,
            reason=writable(item.reason),
            start=writable(item.start),
        )
    )
    return run.pilots.on_report(item)


def on_entry_requested(run: RunParts, item: EntryRequested) -> list[ev.Event]:
    """Record an entry of a pool's manager, which waits until the journal has it."""
    run.recorder.record_durably(item.entry, item.written)
    return []


def on_drain(run: RunParts, event: ev.DrainRequested | ev.UndrainRequested) -> list[ev.Event]:
    """Apply a drain of every job: of a host, or of each pilot on a node."""
    return run.pilots.on_drain(event)


def pass_on(_run: RunParts, event: ev.Event) -> list[ev.Event]:
    """Return an event of a worker unchanged."""
    return [event]


INBOX_HANDLERS: Mapping[type, Callable[[RunParts, Any], list[ev.Event]]] = {
    HostSpoke: on_message,
    LinkFailed: on_link_failed,
    TransferDone: on_transfer_done,
    TransferFailed: on_transfer_failed,
    vf.Verified: on_verified,
    vf.Rejected: on_rejected,
    vf.StorageTrouble: on_storage_trouble,
    vf.Unwritable: on_unwritable,
    vf.Waits: on_waits,
    vf.SyncRefused: on_sync_refused,
    vf.DocumentGone: on_gone,
    vf.OutputGone: on_gone,
    LeaseGone: on_gone,
    PartsFailed: on_parts_failed,
    RequestReceived: on_request,
    RequestsRefused: on_requests_refused,
    SignalCaught: on_signal,
    ev.StorageFailed: on_storage_failed,
    ev.StorageRecovered: on_storage_recovered,
    ev.AttemptRevoked: pass_on,
    ev.CanaryRendered: pass_on,
    ev.PagesReady: pass_on,
    ev.PageUnwritable: pass_on,
    ev.DrainRequested: on_drain,
    ev.UndrainRequested: on_drain,
    PilotStarted: on_pilot_started,
    PilotRetiring: lambda run, item: run.pilots.on_retiring(item),
    PilotEnded: lambda run, item: run.pilots.on_ended(item),
    PoolReport: on_pool_report,
    EntryRequested: on_entry_requested,
}
"""The handler of each type that a thread of the run posts into the inbox."""
