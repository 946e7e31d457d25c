"""The coordinator's loop: it feeds the scheduler and carries out the commands that it returns.

The loop does no I/O that may block: hosts have connections, pages have the verifier, the journal has its
writer, the lease has its renewer. Each runs in its own threads and posts into one inbox. One turn:

1. Take items from the inbox, at most MAX_ITEMS_PER_TURN. Each is translated into events
   (inboxhandlers.py), which are applied at once, and their commands are carried out
   (commandhandlers.py).
2. Let the scheduler do what follows from the new state and the time: assignments, timeouts, the end.
3. Show a snapshot, and record the hosts' loads, both a few times a second at most.
"""

from __future__ import annotations

import queue
from collections import deque
from typing import Any

from sshrender.coordinator.commandhandlers import COMMAND_HANDLERS
from sshrender.coordinator.hosts.connection import HostSpoke
from sshrender.coordinator.inboxhandlers import INBOX_HANDLERS, on_storage_failed, take_deferred
from sshrender.coordinator.jobcompletion import end_run, read_document_events
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.runcomponents import RunInputs, RunParts
from sshrender.coordinator.workers.partsplitter import PartSplitter
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.core import snapshot
from sshrender.errors import limit_reached
from sshrender.job.journal import journalentries as je
from sshrender.utf8 import writable

TICK = 0.25
"""Seconds between two turns when nothing arrives, and between two snapshots for the views."""

SHOW_SECONDS_PER_HOST = 0.0005
"""Seconds between two snapshots, for each host: one costs 10 microseconds a host, so that they take two
hundredths of a core at most, however large the farm is."""

MAX_ITEMS_PER_TURN = 1000
"""Items between two assignments: hosts that send without end cannot keep the scheduler from its work."""


class Coordinator:
    """One run of one job over some hosts."""

    def __init__(self, inputs: RunInputs) -> None:
        self._run = RunParts(inputs)
        # Commands that wait for their handlers. Empty between two turns, unless a handler failed.
        self._commands: deque[do.Command] = deque()
        self._outcome: Outcome | None = None
        self._began = inputs.clock()
        # When the inbox was last empty: all messages that arrived before have been handled.
        self._emptied_at = self._began
        self._shown_at = -TICK

    def run(self) -> Outcome:
        """Run the job until it ends, for whatever reason."""
        run = self._run
        run.start()
        run.recorder.record(
            je.RunStarted(
                pages=len(run.plan.pages),
                output=writable(str(run.plan.output)),
                coordinator=run.lease.holder,
                hosts=tuple(run.setups),
            )
        )
        self._start_splitting()
        self._carry_out(run.scheduler.start(run.clock()))
        while self._outcome is None:
            self._take_in()
            if self._outcome is None:
                self._advance()
            self._show()
            self._record_loads()
        return self._outcome

    def status_line(self) -> str:
        """Return the state of the run, in one line."""
        shot = snapshot.take(self._run.scheduler)
        working = sum(host.running > 0 for host in shot.hosts)
        return (
            f"{self._run.plan.spec.name}: {shot.delivered}/{shot.total} pages"
            f" ({shot.suspect} suspect, {shot.failed} failed),"
            f" {working} of {len(shot.hosts)} hosts at work,"
            f" {self._run.clock() - self._began:.0f} s"
            + (f", paused for {shot.paused_seconds:.0f} s: {shot.paused}" if shot.paused else "")
        )

    def _start_splitting(self) -> None:
        run = self._run
        if run.plan.spec.settings.split and not run.scheduler.page_queue.is_finished():
            PartSplitter(run.plan, run.inbox.put).start()

    def _take_in(self) -> None:
        """Handle the items of the inbox; wait at most a tick for the first one."""
        inbox = self._run.inbox
        try:
            item = inbox.get(timeout=TICK)
            if self._run.heard_until is None:
                # Messages of hosts may wait behind items of other kinds.
                self._run.heard_until = self._emptied_at
            for _ in range(MAX_ITEMS_PER_TURN):
                self._handle(item)
                if self._outcome is not None:
                    return
                item = inbox.get_nowait()
            self._handle(item)
        except queue.Empty:
            self._run.heard_until = None  # no message waits: silence is silence
            self._emptied_at = self._run.clock()

    def _handle(self, item: Any) -> None:
        """Handle one item, and carry out the commands that it causes at once.

        An error while a host's message is handled is charged to that host, whatever the cause: the
        others continue. Commands that were issued before it are carried out, so that the run stays
        consistent.
        """
        run = self._run
        try:
            events = INBOX_HANDLERS[type(item)](run, item)
            self._carry_out(run.scheduler.apply(*events, now=run.clock()))
        except Exception as error:
            # An error of another item is a defect of this program: it ends the run with a traceback.
            if not isinstance(item, HostSpoke):
                raise
            limit = limit_reached(error)
            why = f"{type(error).__name__}: {error!s:.200}" if limit is None else limit.what
            what = f"its message could not be handled ({why})"
            event = ev.HostDistrusted(item.link.host, writable(what))
            self._carry_out(run.scheduler.apply(event, now=run.clock()))

    def _advance(self) -> None:
        """Let the scheduler handle the items, the news of document and folders, and the time."""
        run = self._run
        events = read_document_events(run) + self._check_folders() + take_deferred(run)
        events += run.pilots.update(run.scheduler, run.clock())
        # Read the clock after the handlers: the scheduler's time never goes back.
        now = run.clock()
        self._carry_out(run.scheduler.handle(*events, now=now, heard_until=run.heard_until))

    def _check_folders(self) -> list[ev.Event]:
        """Report a folder that hangs: threads that wait for a dead file server report nothing."""
        run = self._run
        if run.scheduler.paused:
            return []  # the storage probe tests the folders now
        hanging = [watch.folder for watch in run.watches if watch.is_hanging()]
        if not hanging:
            return []
        return on_storage_failed(run, ev.StorageFailed(f"{hanging[0]} does not answer"))

    def _carry_out(self, commands: list[do.Command]) -> None:
        """Carry out commands in order, after those that an error left in the queue."""
        self._commands.extend(commands)
        while self._commands:
            command = self._commands.popleft()
            if isinstance(command, do.EndJob):
                seconds = self._run.clock() - self._began
                self._outcome = end_run(self._run, command, seconds, self._carry_out)
            else:
                COMMAND_HANDLERS[type(command)](self._run, command)

    def _show(self) -> None:
        """Give the views a snapshot. They are costly on a large farm, so a few a second are the most."""
        now = self._run.clock()
        interval = max(TICK, SHOW_SECONDS_PER_HOST * len(self._run.scheduler.hosts))
        # The last snapshot is shown in any case: it says how the run ended.
        if now - self._shown_at >= interval or self._outcome is not None:
            self._shown_at = now
            self._run.view.snapshot(snapshot.take(self._run.scheduler), now)

    def _record_loads(self) -> None:
        """Record the hosts' loads for dashboards that follow the journal on another machine."""
        run = self._run
        loads = run.load_samples.due(run.scheduler.hosts.values(), run.clock())
        if loads and self._outcome is None:
            run.recorder.record(je.HostsSampled(loads=loads))
