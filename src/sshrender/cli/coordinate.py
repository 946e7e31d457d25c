"""``sshrender coordinate``: see through every queued or abandoned job of the SAN, on any machine."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sshrender import gctuning
from sshrender.cli import options, streams
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.core.jobqueue import Entry
    from sshrender.job.attributes import Attributes
    from sshrender.job.folder import JobFolder
    from sshrender.job.requests import Request

T = TypeVar("T")

MAX_CONCURRENT = 4
"""Jobs: each has a connection to every host, and sshd counts those that it has not yet let in."""

_PASSED_ON = ("hosts", "san", "ssh_config", "log_file")


def coordinate(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Until no job is left that waits, then end (cron).")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", help="Jobs at once.", metavar="N", min=1, max=64)
    ] = MAX_CONCURRENT,
    hosts: options.Hosts = None,
    san: options.San = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """See through every queued or abandoned job of the SAN: as a service, or from cron with --once.

    Any number of machines may do so at the same time. When one dies, another goes on with its jobs.
    """
    from sshrender.cli.jobstore import on_san, own_san, san_folder
    from sshrender.config.paths import state_folder
    from sshrender.config.settings import resolve
    from sshrender.coordinator.jobopening import require_san, storage_error
    from sshrender.coordinator.queuedispatcher import QueueDispatcher
    from sshrender.coordinator.signals import ENDING

    gctuning.begin()  # this may go on for months
    settings = resolve(options.typed(context), config).settings
    folder = san_folder(settings)
    if folder == state_folder():
        own_san()
    on_san(folder, lambda: require_san(folder))
    children = _Crew(folder, settings, config, wants_json=json_)
    dispatcher = QueueDispatcher(
        folder,
        children.start,
        children.put_aside,
        children.remark,
        children.say,
        at_once=jobs,
        is_once=once,
    )

    def end(number: int, _frame: FrameType | None) -> None:
        dispatcher.stop(number)

    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        ended_by = dispatcher.run()
    except OSError as error:
        raise storage_error(error, folder) from None
    code = (
        128 + ended_by
        if ended_by is not None
        else most_severe(list(map(_known, dispatcher.tally.codes)))
    )
    if json_:
        code = streams.put({"schema": 1, "jobs": children.summaries}, code)
    raise typer.Exit(code)


def _known(code: int) -> ExitCode:
    """The exit code of a job's process; one that a signal ended tells of no job."""
    return ExitCode(code) if code in set(ExitCode) else ExitCode.BUG


class _Crew:
    """Processes that see a job through each, and what they say.

    ``summaries``: what became of each job that was begun here, where somebody wants to know.
    """

    def __init__(self, san: Path, settings: Settings, config: Path | None, *, wants_json: bool) -> None:
        self._san = san
        self._settings = settings
        self._config = config
        self._wants_json = wants_json
        self._lock = threading.Lock()
        self.summaries: list[dict[str, Any]] = []

    def start(self, entry: Entry) -> _Process:
        """See a job through, in a process that ends with this one. Raises OSError."""
        name = entry.name
        words = [sys.executable, "-m", "sshrender", "resume", str(self._san / name), "--from-queue"]
        words += ["--known-dead", entry.standing] if entry.standing else []
        words += ["--json", "--progress", "plain" if self._settings.verbose else "none"]
        words += ["--quiet"] * self._settings.quiet
        for key in _PASSED_ON:
            value = getattr(self._settings, key)
            if value is not None:
                words += [f"--{key.replace('_', '-')}", str(value)]
        if self._config is not None:
            words += ["--config", str(self._config)]
        if shutil.which("setpriv") is not None:
            words = ["setpriv", "--pdeathsig", "TERM", "--", *words]
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._wants_json else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C comes by way of us
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            return _Process(process, name, self.say, self._take)
        except RuntimeError as error:  # there was room for a process, and none for a thread
            process.kill()
            process.wait()
            raise BlockingIOError(errno.EAGAIN, str(error)) from None

    def say(self, line: str) -> None:
        """A line of narration; none with --quiet but for what is wrong.

        A log that cannot be written, or that nobody reads any more, ends nothing.
        """
        with self._lock, contextlib.suppress(OSError):
            output.note(line, flush=True)

    def _take(self, code: int, text: bytes) -> None:
        """What a process told of its job in the end; nothing where another had that job."""
        if code == ExitCode.LEASE:
            return
        with contextlib.suppress(ValueError):  # it ended before it had anything to tell
            self.summaries.append(json.loads(text))

    def put_aside(self, name: str, reason: str) -> None:
        """Hold a job, so that nobody tries it again and again, and tell whoever wants to know.

        Many machines may come to the same end with it: one of them holds it, and tells.
        """
        request = self._request("hold", reason)
        if self._write(name, lambda folder: _hold(folder, request)):
            self._notify(name, reason)

    def remark(self, name: str, reason: str) -> None:
        """Write down what keeps a job from being seen through here: elsewhere it may be."""
        from sshrender.job import queueoperations

        request = self._request("remark", reason)
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
        except Exception as error:  # noqa: BLE001 - an odd address, say: the other jobs are worth more
            self.say(f"{name}: nobody could be told: {error}")

    def _call(self, summary: dict[str, Any]) -> None:
        from sshrender.coordinator import notification

        if self._settings.on_done:
            notification.run(self._settings.on_done, summary, self.say)

    def _mail(self, summary: dict[str, Any]) -> None:
        """Raises UserError where the job cannot be asked for whom, ValueError for what is no address."""
        from sshrender.cli.jobstore import on_san
        from sshrender.coordinator import notification
        from sshrender.job.folder import JobFolder

        name = summary["job"]
        folder = JobFolder(self._san / name)
        found = on_san(self._san, lambda: _signed_or_none(folder))
        to = str((found.wishes if found else {}).get("mail_to") or self._settings.mail_to or "")
        if to:
            words = [f"{name} is held: {summary['reason']}"]
            words += [f"hint: sshrender release {shlex.quote(name)}, once that is mended"]
            notification.mail(to, summary, words, self.say)

    def _request(self, op: str, reason: str) -> Request:
        from sshrender.cli.jobstore import whoami
        from sshrender.job.requests import MAX_CHARS, Request

        return Request(op, f"coordinate ({whoami()})", note=reason[:MAX_CHARS])

    def _write(self, name: str, change: Callable[[JobFolder], T]) -> T | None:
        """Change something of a job; None where that fails, which is said."""
        from sshrender.cli.jobstore import on_san
        from sshrender.job import queueoperations
        from sshrender.job.folder import JobFolder

        folder = JobFolder(self._san / name)
        try:
            return on_san(self._san, lambda: change(folder))
        except UserError as error:
            why = error.what
        except queueoperations.NotHeard:
            why = "whoever coordinates it does not answer"
        self.say(f"{name}: that cannot be written down: {why}")
        return None


def _signed_or_none(folder: JobFolder) -> Attributes | None:
    """The owner's attributes of a job; None where they are not. Raises OSError."""
    from sshrender.job import attributes

    try:
        return attributes.load_signed(folder)
    except UserError:
        return None


def _hold(folder: JobFolder, request: Request) -> bool:
    """Hold a job, unless it is held, over or another process has it; whether that was done.

    All of that under its lease: so of several who ask one does it. Raises UserError or OSError.
    """
    from sshrender.job import lease, queueoperations, requests

    try:
        held = lease.take(folder.lease)
    except lease.LeaseHeld:
        return False  # somebody can see it through, or is just holding it
    try:
        before = queueoperations.settle(folder, held.epoch)
        if before.held or before.over:
            return False
        asked = requests.ask(folder, request)
        try:
            return bool(queueoperations.settle(folder, held.epoch).held)
        finally:
            asked.unlink(missing_ok=True)  # not left for later, where that failed
    except lease.LeaseLost:
        return False
    finally:
        held.release()


class _Process:
    """See coordinator.foreman.Worker.

    ``take``: gets the exit code and what was printed, where that is listened to.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        name: str,
        say: Callable[[str], None],
        take: Callable[[int, bytes], None],
    ) -> None:
        self._process = process
        self._name = name
        self._say = say
        self._take = take
        self._error = ""
        self._printed = b""
        self._threads = [
            threading.Thread(target=self._narrate, daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _narrate(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\n")
                if text.startswith("sshrender: error: "):
                    self._error = text.removeprefix("sshrender: error: ")
                self._say(text if text.startswith(self._name) else f"{self._name}: {text}")

    def _listen(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as output:
                self._printed = output.read()

    def ended(self) -> int | None:
        """See Worker.ended."""
        found = self._process.poll()
        if found is None:
            return None
        for thread in self._threads:
            thread.join(1.0)
        code = found if found >= 0 else 128 - found
        if self._process.stdout is not None:
            self._take(code, self._printed)
        return code

    def reason(self) -> str:
        """See Worker.reason."""
        return self._error

    def stop(self, number: int) -> None:
        """See Worker.stop."""
        if self._process.poll() is None:
            self._process.send_signal(number)
