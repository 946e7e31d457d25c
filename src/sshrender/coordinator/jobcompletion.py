"""The end of a job: of its run (threads, last pages, outcome), and of the job (manifest, attributes).

The order, in jobrun.run_job: ``end_run`` closes what the run started and returns its outcome;
``write_manifest`` accounts for the pages; the caller's ``finish`` makes what else was requested of them
(the assembled file); ``record_end`` marks the job as finished. A job counts as finished only after all
of these, so that one that is interrupted in between is completed by the next run. Messages about the
result (summary, overview, mail and the on_done command: notification.py) come after that, as they must
not be sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from sshrender.coordinator.inboxhandlers import on_verified
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.runcomponents import RunParts
from sshrender.coordinator.workers import verificationresults as vf
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.job import lease
from sshrender.job.fieldpatterns import MAX_TEXT
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.journalformat import timestamp
from sshrender.job.output import manifest, outputlocation
from sshrender.utf8 import writable
from sshrender.views.interface import View

SHUTDOWN_TIMEOUT = 2.0
"""Seconds that pages being verified, and the journal, get when a run ends."""


def end_run(
    run: RunParts,
    command: do.EndJob,
    seconds: float,
    carry_out: Callable[[list[do.Command]], None],
) -> Outcome:
    """Leave nothing running, keep the pages that are verified by now, and return the outcome.

    ``seconds``: how long the run took. ``carry_out`` executes commands of the scheduler.
    """
    # The hosts first: afterwards nothing new arrives.
    run.router.close_all()
    pilots_ended = run.pilots.stop()
    for line in run.pilots.left():
        run.view.print_line(line)
    run.canary.stop()
    run.page_remover.stop()
    # Before the verifier stops: pages that were rendered should not be rendered again by the next run.
    _keep_last_pages(run, carry_out)
    run.verifier.stop()
    # Only now is it known which withdrawn pages were not replaced.
    run.page_remover.remove_all_delivered()
    run.plan.reading.await_fonts(SHUTDOWN_TIMEOUT)
    read_document_events(run)
    _close_thumbnail_writer(run)
    outcome = Outcome.of(run.plan, run.scheduler, command, signal=run.signal, seconds=seconds)
    for entry in pilots_ended:
        run.recorder.record(entry)
    # The last entry: readers of the journal take the run as ended from here on.
    run.recorder.record(je.RunEnded(state=outcome.state, reason=outcome.reason))
    run.recorder.close(SHUTDOWN_TIMEOUT)
    run.request_poller.stop()
    for watch in run.watches:
        watch.stop()
    return outcome


def read_document_events(run: RunParts) -> list[ev.Event]:
    """Return the new facts of the document since the last call, and record missing fonts."""
    events = run.document_events.new()
    if any(isinstance(event, ev.FontsKnown) for event in events):
        run.recorder.fonts_missing(run.document_events.fonts)
    return events


def _keep_last_pages(run: RunParts, carry_out: Callable[[list[do.Command]], None]) -> None:
    """Keep pages that were being verified when the run ended, if their verification ends now."""
    run.verifier.drain(SHUTDOWN_TIMEOUT)
    events: list[ev.Event] = []
    while not run.inbox.empty():
        if isinstance(item := run.inbox.get(), vf.Verified):
            events += on_verified(run, item)
    carry_out(run.scheduler.handle(*events, now=run.clock()))


def _close_thumbnail_writer(run: RunParts) -> None:
    # The thread must have ended before ``lost`` is read, or its last losses would be missing.
    run.thumbnail_writer.close(SHUTDOWN_TIMEOUT)
    if lost := run.thumbnail_writer.lost:
        run.recorder.record(je.ThumbnailsLost(count=lost, reason=run.thumbnail_writer.reason))


def write_manifest(plan: JobPlan, outcome: Outcome, held: lease.Lease, view: View) -> None:
    """Write the manifest and clear ``work/``, if no page is missing. Raises LeaseLost or OSError."""
    if outcome.pages["missing"]:
        return
    held.ensure()
    # Attempts of this epoch, too: no host renders any more.
    # One more than the own epoch, as clear_work() removes files of lower epochs.
    plan.folder.clear_work(held.epoch + 1)
    try:
        _save_manifest(plan, outcome, held)
    # These two are for the caller: a lost lease and a failed storage change the outcome, other errors
    # do not.
    except (lease.LeaseLost, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the pages are there, and the journal accounts for them
        view.print_line(f"no manifest: {type(error).__name__}: {error}")


def _save_manifest(plan: JobPlan, outcome: Outcome, held: lease.Lease) -> None:
    # With --strict suspect pages count as failed; in the manifest they are what they are.
    failed = [asdict(page) for page in outcome.failed_pages if page.kind != "suspect"]
    finished = timestamp(time.time())
    manifest.save(plan.folder, plan.spec, plan.history, failed, finished, held.epoch)


def record_end(plan: JobPlan, outcome: Outcome, held: lease.Lease, began_as: Attributes) -> None:
    """Mark the job as finished, unless it is to be run again. Raises LeaseLost or OSError.

    ``began_as``: its attributes at the start of the run. A queued job whose output folder was changed
    since stays queued: the next run renders nothing and delivers the pages there.
    """
    if not outcome.is_over:
        return
    held.ensure()
    if not plan.attributes.is_queued or outputlocation.is_same(began_as, plan.attributes):
        plan.attributes = plan.attributes.changed(
            over=outcome.state, why=writable(outcome.reason)[:MAX_TEXT]
        )
        plan.attributes.save(plan.folder, held.epoch)
    # Last: another machine that takes the job over needs the marker to deliver into this folder.
    outputlocation.remove_marker(plan.output, began_as.output_marker)
