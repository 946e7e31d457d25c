"""Runs the queue: renders every queued job, and every job whose coordinator has died.

Any number of machines may do so at the same time: one of them gets the lease of each job.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sshrender.api import jobprocess
from sshrender.api.jobprocess import JobProcess
from sshrender.api.jobs import current_user, on_san, own_san, san_folder
from sshrender.api.jobworkermessages import MAX_CONCURRENT_JOBS, JobEnd, JobOrder
from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.config.paths import state_folder
from sshrender.config.settings import Settings
from sshrender.coordinator import notification, signals
from sshrender.coordinator.queuedispatcher import JobActions, QueueDispatcher
from sshrender.coordinator.storageerrors import storage_error
from sshrender.core.queueorder import Entry
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.jobattributes import Attributes
from sshrender.job.queue import queueoperations
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import MAX_CHARS, Request

T = TypeVar("T")

ENDING_SIGNALS = signals.ENDING
"""Signals on which a caller should call ``QueueRun.stop``."""

# All other settings are read by each job's own process.
_PASSED_ON = ("hosts", "san", "ssh_config", "log_file")
"""Settings of the dispatcher that apply to each job's process, too."""


@dataclass(slots=True)
class QueueResult:
    """``exit_code``: of the most severe end, or 128 + signal. ``summaries``: of jobs that ran here."""

    exit_code: int
    summaries: list[dict[str, Any]] = field(default_factory=list)


class QueueRun:
    """One run of the queue: until it is stopped or, with ``is_once``, until no job waits any more."""

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        print_line: Callable[[str], None],
        *,
        max_jobs: int = MAX_CONCURRENT_JOBS,
        is_once: bool = False,
        wants_summaries: bool = False,
        passwords: UploadPasswords | None = None,
    ) -> None:
        """``print_line`` prints each line about a job; it is called from any thread. Raises UserError.

        ``passwords``: of documents whose jobs only this process can run.
        """
        self._folder = san_folder(settings)
        # The user's own folder is created on demand; a shared one must exist already.
        if self._folder == state_folder():
            own_san()
        on_san(self._folder, lambda: require_san(self._folder))
        self._passwords = passwords or UploadPasswords()
        self._runner = JobStarter(
            self._folder, settings, config, print_line, self._passwords, wants_json=wants_summaries
        )
        actions = JobActions(
            self._runner.start,
            self._runner.put_aside,
            self._runner.remark,
            print_line,
            may_run=lambda name: self._passwords.may_run(self._folder, name),
        )
        self._dispatcher = QueueDispatcher(self._folder, actions, at_once=max_jobs, is_once=is_once)

    def stop(self, number: int) -> None:
        """End as signal ``number`` asks: running jobs stop, and stay in the queue. Safe in a handler."""
        self._dispatcher.stop(number)

    @property
    def working(self) -> list[str]:
        """The names of the jobs that run here. Safe in a signal handler."""
        return self._dispatcher.working

    def run(self) -> QueueResult:
        """Run until there is nothing left to do, or a signal ends it. Raises UserError."""
        try:
            ended_by = self._dispatcher.run()
        except OSError as error:
            raise storage_error(error, self._folder) from None
        # A signal ends the queue with 128 and its number, whatever the jobs did.
        if ended_by is not None:
            return QueueResult(128 + ended_by, self._runner.summaries)
        codes = list(map(_known, self._dispatcher.tally.codes))
        return QueueResult(most_severe(codes), self._runner.summaries)


def _known(code: int) -> ExitCode:
    """Return a job's exit code. That of a signal says nothing about the job: its process was killed."""
    return ExitCode(code) if code in set(ExitCode) else ExitCode.BUG


class JobStarter:
    """Starts a process for each job, and holds jobs that cannot be completed.

    ``summaries``: the end of each job that ran here, if the caller wants them.
    """

    def __init__(
        self,
        san: Path,
        settings: Settings,
        config: Path | None,
        print_line: Callable[[str], None],
        passwords: UploadPasswords,
        *,
        wants_json: bool,
    ) -> None:
        self._san = san
        self._passwords = passwords
        self._settings = settings
        self._config = config
        self._print_line = print_line
        self._wants_json = wants_json
        self.summaries: list[dict[str, Any]] = []

    def start(self, job: Entry) -> JobProcess:
        """Start to run a job, in a process that ends with this one. Raises OSError."""
        order = self._order(job)
        # A copy, so the variable is not set for this process.
        environment = dict(os.environ)
        log_file = self._settings.log_file
        if log_file is not None:  # the log of defects is found without the settings
            environment["SSHRENDER_LOG_FILE"] = str(log_file)
        take = partial(self.take, job.name)
        return jobprocess.start(order, job.name, self._print_line, take, environment)

    def _order(self, job: Entry) -> JobOrder:
        settings = self._settings
        # A line of narration for each page only if the user asked for it.
        options: dict[str, Any] = {"progress": "plain" if settings.verbose else "none"}
        if settings.quiet:
            options["quiet"] = True
        if settings.verbose > 1:  # the first one shows progress
            options["verbose"] = settings.verbose
        for key in _PASSED_ON:
            value = getattr(settings, key)
            if value is not None:
                options[key] = str(value)
        return JobOrder(
            folder=str(self._san / job.name),
            parent=os.getpid(),
            # The job's process need not observe a lease again that this dispatcher has observed for long
            # enough.
            known_dead=job.dead_lease,
            config=None if self._config is None else str(self._config),
            options=options,
            wants_summary=self._wants_json,
            password=self._passwords.of(job.name),
        )

    def take(self, name: str, end: JobEnd) -> None:
        """Keep the summary of a job; there is none if another process had that job."""
        # Failed pages may be tried again, and need it then.
        if end.exit_code == ExitCode.OK:
            self._passwords.forget(name)
        # Exit code LEASE: the job's summary belongs to the process that has it.
        if end.summary is not None and end.exit_code != ExitCode.LEASE:
            self.summaries.append(end.summary)

    def put_aside(self, name: str, reason: str) -> None:
        """Hold a job, so that it is not tried for ever, and notify as the settings say.

        Several machines may do this at the same time: the one that holds the job notifies.
        """
        request = self._request(Operation.HOLD, reason)
        # True only for the one process that has held it.
        if self._write(name, partial(_hold, request=request)):
            self._notify(name, reason)

    def remark(self, name: str, reason: str) -> None:
        """Note in the job why it could not be completed here. Another machine may complete it."""
        request = self._request(Operation.REMARK, reason)
        self._write(name, lambda folder: queueoperations.change(folder, request))

    def _notify(self, name: str, reason: str) -> None:
        summary = {
            "job": name,
            "job_dir": str(self._san / name),
            "state": "held",
            "output": "",
            "exit_code": int(ExitCode.USAGE),
            "reason": reason,
        }
        try:
            self._call(summary)
            self._mail(summary)
        except Exception as error:  # noqa: BLE001 - an odd address, say: other jobs must still run
            self._print_line(f"{name}: no notification was sent: {error}")

    def _call(self, summary: dict[str, Any]) -> None:
        if self._settings.on_done:
            notification.run(self._settings.on_done, summary, self._print_line)

    def _mail(self, summary: dict[str, Any]) -> None:
        """Mail that a job is held.

        Raises UserError if the job's address cannot be read, ValueError if it is not an address.
        """
        name = summary["job"]
        folder = JobFolder(self._san / name)
        found = on_san(self._san, lambda: _signed_or_none(folder))
        # The job's own address first; only the owner's signature makes it count.
        to = str((found.wishes if found else {}).get("mail_to") or self._settings.mail_to or "")
        if to:
            lines = [f"{name} is held: {summary['reason']}"]
            lines += [f"hint: fix that, then: sshrender release {shlex.quote(name)}"]
            notification.mail(to, summary, lines, self._print_line)

    def _request(self, op: Operation, reason: str) -> Request:
        # Bounded like every text of a request (job/queue/requests.py).
        return Request(op, f"coordinate ({current_user()})", note=reason[:MAX_CHARS])

    def _write(self, name: str, change: Callable[[JobFolder], T]) -> T | None:
        """Change something in a job. If that fails, say so and return None."""
        folder = JobFolder(self._san / name)
        try:
            return on_san(self._san, lambda: change(folder))
        except UserError as error:
            why = error.what
        except queueoperations.NotHeard:
            why = "its coordinator does not answer"
        self._print_line(f"{name}: this cannot be written into the job: {why}")
        return None


def _signed_or_none(folder: JobFolder) -> Attributes | None:
    """Return the attributes that the job's owner signed; None if they are not. Raises OSError."""
    try:
        return jobattributes.load_signed(folder)
    except UserError:
        return None


def _hold(folder: JobFolder, request: Request) -> bool:
    """Hold a job, unless it is held, finished or running; return whether that was done.

    All of this happens under the job's lease, so that one of several processes does it. Raises UserError
    or OSError.
    """
    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return False  # another process runs it, or is holding it at this moment
    try:
        # Requests that came while no coordinator ran are handled first: one of them may have ended
        # the job.
        before = queueoperations.handle_requests(folder, held.epoch)
        if before.held or before.over:
            return False
        # The change is computed from what was just read, under the lease.
        found = queueoperations.after(before, request, time.time())
        # save() checks the epoch, so a process that was stopped meanwhile writes nothing.
        found.save(folder, held.epoch)
        queueoperations.record(folder, queueoperations.handled(request, is_late=False))
        return bool(found.held)
    except lease.LeaseLost:
        return False
    finally:
        held.release()
