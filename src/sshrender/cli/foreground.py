"""``render`` at a terminal: the job in a process of its own, and a dashboard that may come and go.

The job's process leads a session without a terminal, so that nothing that happens to the terminal
happens to the job. What it has to say is kept until the dashboard has gone, and said then.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from sshrender import gctuning
from sshrender.cli import errorlog
from sshrender.document import readerprocess
from sshrender.job.folder import JobFolder
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.cli.dashboardsource import JobSource
    from sshrender.cli.invocation import Invocation

LOOK = 0.5
"""Seconds between two looks at the journal where the dashboard has failed."""

PATIENCE = 0.4
"""Seconds that the job gets to end, or to fail, before a dashboard comes up for it."""


def run_in_foreground(session: Invocation, perform: Callable[[], int], title: str) -> int:
    """Do ``perform`` in a process of its own under a dashboard; the exit code of this one.

    In the other process, too, this returns: what ``perform`` does.
    """
    reading, writing = os.pipe()
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - both processes keep it until they end
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _leave_terminal(spool)
        session.on_job = lambda folder: _announce(writing, folder)
        return perform()
    os.close(writing)
    readerprocess.forget()
    child = _Child(pid, reading, spool)
    with _forwarding(child):
        if not child.ends_within(PATIENCE):
            _show(child, session, title)
    return child.leave()


def _leave_terminal(spool: IO[bytes]) -> None:
    """In the job's process. Standard output stays where it is when it is no terminal."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(spool.fileno(), 2)
    if os.isatty(1):
        os.dup2(spool.fileno(), 1)
    os.close(nothing)


def _announce(pipe: int, folder: JobFolder) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody watches any more
        os.write(pipe, os.fsencode(folder.path) + b"\0")


def _show(child: _Child, session: Invocation, title: str) -> None:
    """A dashboard; where it fails, plain lines on stderr until the job has ended."""
    from sshrender.cli.watch import show

    gctuning.begin()
    failed = show(_Attendant(child, session), title)
    if failed:
        _say(f"{failed}; the job goes on, and plain lines follow")
        _narrate(child, _Attendant(child, session))


def _narrate(child: _Child, attendant: _Attendant) -> None:
    """What a journal tells, until the job has ended. Ctrl-C stops the job, as in the dashboard."""
    from sshrender.views.plain import describe

    stops = child.stops
    while not child.has_ended():
        try:
            told = [describe(entry) for entry in attendant.news()]
        except Exception as error:  # noqa: BLE001 - the job matters, not these lines
            errorlog.record(error)
            told = []
        for line in told:
            if line is not None:
                _say(line)
        if child.stops > stops:
            stops = child.stops
            _say("stopping; Ctrl-C again stops at once" if stops == 1 else "stopping at once")
        time.sleep(LOOK)


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
        output.note(line, flush=True)


@dataclass(slots=True)
class _Child:
    """The job's process, as its parent sees it."""

    pid: int
    pipe: int
    spool: IO[bytes]
    status: int | None = None
    stops: int = 0
    _pending: bytes = b""
    folders: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)

    def listen(self) -> None:
        """Take in what it has announced."""
        with contextlib.suppress(BlockingIOError):
            self._pending += os.read(self.pipe, 65536)
        *names, self._pending = self._pending.split(b"\0")
        self.folders += [Path(os.fsdecode(name)) for name in names]

    def has_ended(self) -> bool:
        """Whether it is over; its status is known then."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait a little."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.has_ended()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Gently at first; whoever asks again means at once."""
        self.stops += 1
        if not self.has_ended():
            os.kill(self.pid, number if self.stops == 1 else signal.SIGKILL)

    def leave(self) -> int:
        """Say what there is to say; the exit code."""
        if self.stops:
            while not self.has_ended():
                time.sleep(0.05)
        if self.status is None:
            self.listen()
            name = self.folders[-1].name if self.folders else "JOB"
            output.note(
                f"the job goes on (pid {self.pid}); to look again: sshrender watch {shlex.quote(name)}"
            )
            output.note(f"to stop it: kill -INT {self.pid}")
            return 0
        self.spool.seek(0)
        with contextlib.suppress(OSError, ValueError):  # nothing reads it any more; the exit code tells
            output.text(self.spool.read().decode("utf-8", "replace"), sys.stderr)
        if self.status >= 0:
            return self.status
        output.note("the job was ended at once; run the same command again to resume it")
        return 128 + (signal.SIGINT if self.stops else -self.status)


class _Attendant:
    """See views.dashboard.source.Owner."""

    def __init__(self, child: _Child, session: Invocation) -> None:
        self._child = child
        self._session = session
        self._source: JobSource | None = None
        self._shown: Path | None = None

    def news(self) -> list[dict[str, Any]]:
        """What is new in the journal of the document that is being rendered. Raises UserError."""
        from sshrender.cli.jobstore import on_san

        source = self.job()
        return [] if source is None else on_san(self._session.san, source.entries)

    def job(self) -> JobSource | None:
        """The document that is being rendered now."""
        self._child.listen()
        if self._child.folders and self._child.folders[-1] != self._shown:
            self._shown = self._child.folders[-1]
            self._source = self._open(self._shown)
        return self._source

    def _open(self, path: Path) -> JobSource:
        from sshrender.cli.dashboardsource import JobSource
        from sshrender.cli.jobstore import find_job, on_san

        session = self._session
        return on_san(
            session.san, lambda: JobSource(*find_job(session.san, str(path)), session.inventory)
        )

    def is_over(self) -> bool:
        """When the job is, so is the command."""
        return self._child.has_ended()

    def interrupt(self) -> str:
        """Stop the job."""
        self._child.stop()
        return "stopping; Ctrl-C again stops at once" if self._child.stops == 1 else "stopping at once"


@contextlib.contextmanager
def _forwarding(child: _Child) -> Iterator[None]:
    """Signals that ask us to end are for the job; that the terminal has gone is not."""

    def forward(number: int, _frame: FrameType | None) -> None:
        child.stop(number)

    def vanish(number: int, _frame: FrameType | None) -> None:
        os._exit(128 + number)  # there is no terminal to put in order, and nobody to tell

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, vanish)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
