"""``render`` at a terminal: runs the job in its own process, under a dashboard that the user may leave.

The job's process leads a session without a terminal, so that nothing that happens to the terminal
affects the job. What it writes is kept in a file until the dashboard has ended, and printed then.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from sshrender.api import errorlog
from sshrender.cli import dashboard, hintcommands, jsonresult
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.storagepause import Pause
from sshrender.process import gctuning
from sshrender.views import safeprint

if TYPE_CHECKING:
    from sshrender.api.dashboardsource import JobSource
    from sshrender.api.joblistsource import DocumentListSource
    from sshrender.api.runcontext import RunContext

POLL_INTERVAL = 0.5
"""Seconds between two reads of the journal after the dashboard has failed."""

START_TIMEOUT = 0.4
"""Seconds that the job gets to end or to fail before a dashboard is opened for it."""


def run_with_dashboard(context: RunContext, perform: Callable[[], int], documents: Sequence[str]) -> int:
    """Run ``perform`` in a child process under a dashboard; return this process's exit code.

    ``documents``: the file names of what is rendered, or the name of the job that is resumed.
    This returns in the child, too, with the result of ``perform``.
    """
    # The child announces through it which jobs it has opened.
    reading, writing = os.pipe()
    # Not a pipe: the parent may leave, and what is written must not block or fail then.
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - both processes keep it until they end
    sys.stdout.flush()
    sys.stderr.flush()
    # fork and not a new process: settings, inventory and the reporter are passed on as they are.
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _leave_terminal(spool)
        context.on_job = lambda folder: _announce(writing, _JOB, os.fsencode(folder.path))
        context.on_stage = lambda document, words: _announce(writing, _STAGE, _packed(document, words))
        context.on_pause = lambda folder, pause: _announce(
            writing, _PAUSE, _of_pause(folder.name, pause)
        )
        return perform()
    # Without the parent's copy the child gets EPIPE when the parent has left, and ignores it.
    os.close(writing)
    # The child prints the object of --json, or the parent does when the child was killed (leave).
    jsonresult.leave_to_other_process()
    context.leave_reader_to_child()
    child = _Child(pid, reading, spool)
    with _forwarding(child):
        # A document that is done already needs no dashboard.
        if not child.ends_within(START_TIMEOUT):
            _show(child, context, documents)
    return child.leave()


def _leave_terminal(spool: IO[bytes]) -> None:
    """Detach the job's process from the terminal. Standard output stays if it is not a terminal."""
    # No terminal: neither its end nor its Ctrl-C reaches this process.
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    # Standard input: nothing. A program of the job that asks for something gets the end of file.
    os.dup2(nothing, 0)
    os.dup2(spool.fileno(), 2)
    # ``sshrender render --json big.pdf >file`` still writes to the file itself.
    if os.isatty(1):
        os.dup2(spool.fileno(), 1)
    os.close(nothing)


_JOB, _STAGE, _PAUSE = b"J", b"S", b"P"
"""The first byte of what the job's process announces: the folder of a job; a document and its stage; a
job and its pause, for which the journal on a full disk has no room."""

_MAX_WORDS = 1000
"""Characters of a stage: a write of at most PIPE_BUF bytes is not mixed with another one."""


def _announce(pipe: int, kind: bytes, what: bytes) -> None:
    """Tell the parent in which folder a job is, or what is being done to open one."""
    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        os.write(pipe, kind + what + b"\0")


def _packed(document: str, words: str) -> bytes:
    # A NUL ends an announcement, so none may be in it.
    return os.fsencode(f"{document}\n{words[:_MAX_WORDS]}".replace("\0", ""))


def _of_pause(job: str, pause: Pause | None) -> bytes:
    return _packed(job, "" if pause is None else f"{pause.since}\n{pause.until}\n{pause.reason}")


def _show(child: _Child, context: RunContext, documents: Sequence[str]) -> None:
    """Show a dashboard; if it fails, plain lines on stderr until the job has ended."""
    gctuning.begin()
    failed = dashboard.show(_JobOwner(child, context, documents), ", ".join(documents))
    if failed:
        _note(f"{failed}; the job continues, and plain lines follow")
        # A new owner reads the journal from its start: how far the dashboard came is not known.
        _print_entries(child, _JobOwner(child, context, documents))


def _print_entries(child: _Child, owner: _JobOwner) -> None:
    """Print new journal entries until the job has ended. Ctrl-C stops the job, as in the dashboard."""
    from sshrender.views.plain import describe

    # Ctrl-C before the dashboard failed is not announced again.
    stops = child.stops
    while not child.has_ended():
        try:
            lines = [describe(entry) for entry in owner.new_entries()]
        except Exception as error:  # noqa: BLE001 - the job matters, not these lines
            errorlog.record(error)
            lines = []
        for line in lines:
            if line is not None:
                _note(line)
        if child.stops > stops:
            stops = child.stops
            _note("stopping; Ctrl-C again stops at once" if stops == 1 else "stopping at once")
        time.sleep(POLL_INTERVAL)


def _note(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
        safeprint.note(line, flush=True)


@dataclass(slots=True)
class _Child:
    """The job's process, as the parent sees it. ``spool``: what it writes to the terminal, kept."""

    pid: int
    pipe: int
    spool: IO[bytes]
    status: int | None = None
    stops: int = 0
    _pending: bytes = b""
    folders: list[Path] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    """The stage of opening each document, by its file name; the latest is the last."""

    pauses: dict[str, Pause] = field(default_factory=dict)
    """The pause of each job that is paused now, by its name."""

    def __post_init__(self) -> None:
        # Read from the dashboard's loop, which must not wait for it.
        os.set_blocking(self.pipe, False)

    def read_announced(self) -> None:
        """Read the folders that the job's process has announced."""
        # An empty pipe; os.read() returns b"" when the child has ended.
        with contextlib.suppress(BlockingIOError):
            self._pending += os.read(self.pipe, 65536)
        *lines, self._pending = self._pending.split(b"\0")
        for line in lines:
            words = os.fsdecode(line[1:])
            if line[:1] == _JOB:
                self.folders.append(Path(words))
            elif line[:1] == _PAUSE:
                self._take_pause(*words.split("\n", 3))
            else:
                document, _, stage = words.partition("\n")
                # Removed first, so that the latest one is the last of the dictionary.
                self.stages.pop(document, None)
                self.stages[document] = stage

    def _take_pause(self, job: str, since: str, until: str = "", reason: str = "") -> None:
        self.pauses.pop(job, None)
        if since:
            self.pauses[job] = Pause(reason, since, until)

    def has_ended(self) -> bool:
        """Return whether it has ended; its status is known then."""
        if self.status is None:
            # WNOHANG: asked from the dashboard's loop.
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait at most so many seconds; return whether it has ended."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.has_ended()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ask the job to stop; the second time, kill it."""
        self.stops += 1
        # Without the check a collected process number could be another process's.
        if not self.has_ended():
            os.kill(self.pid, number if self.stops == 1 else signal.SIGKILL)

    def leave(self) -> int:
        """Print what the job wrote, or how to find it again; return the exit code."""
        # The user has asked for the end, so it is waited for.
        if self.stops:
            while not self.has_ended():
                time.sleep(0.05)
        # The user has left the dashboard, and the job continues without it.
        if self.status is None:
            self.read_announced()
            name = self.folders[-1].name if self.folders else "JOB"
            safeprint.note(
                f"the job continues (pid {self.pid}); to open the dashboard again:"
                f" {hintcommands.complete(f'sshrender watch {shlex.quote(name)}')}"
            )
            safeprint.note(f"to stop it: kill -INT {self.pid}")
            return 0
        # The job's output is shown when the dashboard no longer covers it.
        self.spool.seek(0)
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone; the exit code remains
            safeprint.text(self.spool.read().decode("utf-8", "replace"), sys.stderr)
        if self.status >= 0:
            return self.status
        what, hint = "the job was stopped at once", "run the same command again to continue it"
        safeprint.note(f"{what}; {hint}")
        if self.stops:
            self._record_end()
        # As a shell reports an interrupted command.
        code = 128 + (signal.SIGINT if self.stops else -self.status)
        # It had no time to print its object.
        return jsonresult.put({"error": what, "hint": hint}, code) if jsonresult.is_wanted() else code

    def _record_end(self) -> None:
        """Record that the user ended it: its process was killed, and the queue must not continue it."""
        from sshrender.api.killedruns import record_end_by_hand

        self.read_announced()
        for problem in record_end_by_hand(self.folders):
            safeprint.note(problem)


class _JobOwner:
    """See views.dashboard.source.Owner."""

    def __init__(self, child: _Child, context: RunContext, documents: Sequence[str]) -> None:
        from sshrender.api.joblistsource import DocumentListSource

        self._child = child
        self._context = context
        self._documents = documents
        self._table = DocumentListSource(
            context.san,
            context.inventory,
            documents,
            # A copy: the list grows while the dashboard reads it.
            jobs=lambda: [folder.name for folder in list(child.folders)],
            stages=lambda: dict(child.stages),
        )
        self._source: JobSource | None = None
        self._shown: Path | None = None

    def new_entries(self) -> list[JournalEntry]:
        """Return new journal entries of the document that is being rendered. Raises UserError."""
        from sshrender.api.jobs import on_san

        source = self.job()
        return [] if source is None else on_san(self._context.san, source.entries)

    def job(self) -> JobSource | None:
        """Return the source of the document that is being rendered now."""
        self._child.read_announced()
        # Each document has a job of its own; the dashboard follows the latest one.
        if self._child.folders and self._child.folders[-1] != self._shown:
            self._shown = self._child.folders[-1]
            self._source = self._open(self._shown)
        return self._source

    def _open(self, path: Path) -> JobSource:
        from sshrender.api.dashboardsource import JobSource
        from sshrender.api.jobs import find_job, on_san

        context = self._context
        return on_san(
            context.san,
            lambda: JobSource(
                *find_job(context.san, str(path)), context.inventory, context.settings.ssh_config
            ),
        )

    def jobs(self) -> DocumentListSource | None:
        """Return the list of documents, if there are several."""
        return self._table if len(self._documents) > 1 else None

    def doing(self) -> str:
        """Return what is being done to open the document."""
        return next(reversed(self._child.stages.values()), "")

    def pause(self) -> Pause | None:
        """Return the pause of the job that is shown, as its process has announced it."""
        return None if self._shown is None else self._child.pauses.get(self._shown.name)

    def is_over(self) -> bool:
        """Return whether the job has ended: the command ends with it."""
        return self._child.has_ended()

    def interrupt(self) -> str:
        """Stop the job."""
        self._child.stop()
        return "stopping; Ctrl-C again stops at once" if self._child.stops == 1 else "stopping at once"


@contextlib.contextmanager
def _forwarding(child: _Child) -> Iterator[None]:
    """Pass INT and TERM on to the job. HUP ends this process alone: the job needs no terminal."""

    def forward(number: int, _frame: FrameType | None) -> None:
        # The second signal kills the job (_Child.stop).
        child.stop(number)

    def vanish(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)  # there is no terminal left to restore

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, vanish)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
