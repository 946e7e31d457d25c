"""Carries out the scheduler's commands.

COMMAND_HANDLERS names the handler of each command but EndJob, which the loop handles (jobcompletion.py).
A handler returns at once: connections, transfers, verification and journal have their own threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.coordinator.runcomponents import RunParts
from sshrender.coordinator.workers.verificationresults import VerificationTask
from sshrender.core import commands as do
from sshrender.core.states import PageState
from sshrender.job.journal import journalentries as je

# To hosts


def connect_host(run: RunParts, command: do.ConnectHost) -> None:
    """Connect to a host and prepare its runner."""
    run.router.connect(command.host)


def render_page(run: RunParts, command: do.RenderPage) -> None:
    """Record an attempt and send it. Recorded first: a crash in between must not reuse its name."""
    run.recorder.sent(command)
    run.router.render(command, run.work_name(command.page, command.attempt))


def set_slot_limit(run: RunParts, command: do.SetSlotLimit) -> None:
    """Tell a runner how many slots it may use."""
    run.router.send(command.host, "set_slot_limit", slots=command.slots)


def revoke_attempt(run: RunParts, command: do.RevokeAttempt) -> None:
    """Ask for an attempt that no slot has started."""
    run.router.recall("revoke", command)


def kill_attempt(run: RunParts, command: do.KillAttempt) -> None:
    """Tell a runner to end an attempt."""
    run.router.recall("kill", command)


def finish_host(run: RunParts, command: do.FinishHost) -> None:
    """Have a runner report its last results and end."""
    run.router.send(command.host, "finish")


def close_host(run: RunParts, command: do.CloseHost) -> None:
    """Close the connection to a host."""
    run.router.close(command.host)


# To files


def verify_page(run: RunParts, command: do.VerifyPage) -> None:
    """Have a reported page verified, after it was copied here, if its host has no SAN."""
    # It exists: HostMessages._on_rendered adds it before the scheduler can issue VerifyPage.
    record = run.attempts[command.attempt]
    report, name = record.report, run.plan.page_file(command.page)
    task = VerificationTask(
        host=command.host,
        page=command.page,
        attempt=command.attempt,
        work=run.plan.folder.path / run.work_name(command.page, command.attempt),
        final=run.plan.folder.pages / name,
        target=run.plan.output / name,
        expected=run.plan.expected(
            report.page_size,
            is_sized=run.plan.is_sized(run.scheduler.page_queue[command.page].renderer),
            size=report.bytes,
            sha256=report.sha256,
        ),
        claim=run.plan.claim,
    )
    # A file that has arrived already stays here: after a storage failure it is verified again without
    # a copy.
    if run.router.needs_transfer(command.host) and not record.is_transferred:
        run.router.fetch(task)
    else:
        run.verifier.submit(task)


def withdraw_page(run: RunParts, command: do.WithdrawPage) -> None:
    """Record that a published page does not count any more, and remove it."""
    run.recorder.withdrawn(command)
    run.page_remover.remove(command.page)


def probe_storage(run: RunParts, _command: do.ProbeStorage) -> None:
    """Test the shared folder and the output."""
    run.storage_probe.start()


def render_canary(run: RunParts, _command: do.RenderCanary) -> None:
    """Render the canary page on this machine."""
    run.canary.begin()


def read_fonts(run: RunParts, _command: do.ReadFonts) -> None:
    """Have the pages read for fonts that the document does not embed."""
    run.plan.reading.want_fonts(run.plan.pages)


# To the journal


def fall_back(run: RunParts, command: do.FallBack) -> None:
    """Record that another recipe renders a page from now on."""
    name = run.plan.recipe_name(command.renderer)
    run.recorder.fell_back(command, name)


def return_page(run: RunParts, command: do.ReturnPage) -> None:
    """Record that a page is back in the queue."""
    run.attempts.remove(command.attempt)
    run.recorder.returned(command)


def drop_attempt(run: RunParts, command: do.DropAttempt) -> None:
    """Record that an attempt is not needed, and do not copy its file."""
    # The record ends first: a result of the attempt that still arrives finds none and changes nothing.
    run.attempts.remove(command.attempt)
    run.recorder.dropped(command)
    run.router.drop(command.host, command.attempt)


def finish_page(run: RunParts, command: do.FinishPage) -> None:
    """Record a page's final state. If a delivered page failed later, its file is removed."""
    run.recorder.page_finished(run.scheduler.page_queue[command.page], command.state)
    if command.state is PageState.FAILED:
        run.page_remover.remove_delivered(command.page)


def report_host(run: RunParts, command: do.ReportHost) -> None:
    """Record a host's new state."""
    run.recorder.host_state(command)


def report_no_host(run: RunParts, command: do.ReportNoHost) -> None:
    """Record how long the run waits for a usable host."""
    run.recorder.record(je.HostsAwaited(waits=round(command.seconds, 3)))


def report_suspicion(run: RunParts, command: do.ReportSuspicion) -> None:
    """Record why no page is sent for a while."""
    run.recorder.record(
        je.StorageSuspected(host=command.host, reason=command.reason, waits=command.seconds)
    )


def record_reference(run: RunParts, command: do.RecordReference) -> None:
    """Record the fingerprint that hosts have to match."""
    run.recorder.reference_chosen(command)


COMMAND_HANDLERS: Mapping[type, Callable[[RunParts, Any], None]] = {
    do.ConnectHost: connect_host,
    do.RenderPage: render_page,
    do.SetSlotLimit: set_slot_limit,
    do.RevokeAttempt: revoke_attempt,
    do.KillAttempt: kill_attempt,
    do.FinishHost: finish_host,
    do.CloseHost: close_host,
    do.VerifyPage: verify_page,
    do.WithdrawPage: withdraw_page,
    do.ProbeStorage: probe_storage,
    do.RenderCanary: render_canary,
    do.ReadFonts: read_fonts,
    do.FallBack: fall_back,
    do.ReturnPage: return_page,
    do.DropAttempt: drop_attempt,
    do.FinishPage: finish_page,
    do.ReportHost: report_host,
    do.ReportNoHost: report_no_host,
    do.ReportSuspicion: report_suspicion,
    do.RecordReference: record_reference,
}
"""The handler of each command."""
