"""Renders several documents in one command: a process for each, at the same time on the same hosts.

Each process runs its own job as if it were alone; a host divides its slots among them
(runner/slots/slotlocks.py). This process starts them, forwards signals and collects their summaries.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sshrender.api.results import RenderResult, failure_summary
from sshrender.document import readerprocess
from sshrender.errors import ExitCode, UserError

MAX_CONCURRENT = 4
"""Documents at the same time. Each opens a connection to every host, and sshd limits those that have not
yet logged in (MaxStartups)."""

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""

Perform = Callable[[Path], RenderResult]


@dataclass(slots=True)
class _DocumentProcess:
    """A document's process. ``number`` is the document's place on the command line."""

    number: int
    pid: int
    pipe: int
    printed: bytearray = field(default_factory=bytearray)
    code: int | None = None


@dataclass(slots=True)
class CollectedSummaries:
    """Exit codes and summaries, in the order of the documents."""

    codes: list[int]
    summaries: list[dict[str, Any]]


def render_in_parallel(sources: Sequence[Path], perform: Perform) -> CollectedSummaries | int:
    """Render every document. In a document's own process: return the exit code, to end with it."""
    parallel_documents = _ParallelDocuments(sources, perform)
    # Before the fork: what is buffered would be printed once by each process.
    sys.stdout.flush()
    sys.stderr.flush()
    readerprocess.forget()
    with parallel_documents.signals():
        while parallel_documents.has_more():
            ended = parallel_documents.start_some()
            # Not None only in a child, which ends with this code.
            if ended is not None:
                return ended
            parallel_documents.listen()
    return parallel_documents.collected()


class _ParallelDocuments:
    """Starts the processes, and collects what they write to their pipes."""

    def __init__(self, sources: Sequence[Path], perform: Perform) -> None:
        self._sources = sources
        self._perform = perform
        self._next = 0
        self._working: dict[int, _DocumentProcess] = {}
        self._done: list[_DocumentProcess] = []
        self._selector = selectors.DefaultSelector()
        self._stopped_by: int | None = None

    def has_more(self) -> bool:
        """Return whether there is anything to start or to wait for."""
        # Not after a signal: the documents that wait are not started any more.
        return bool(self._working) or self._may_start()

    def _may_start(self) -> bool:
        return self._next < len(self._sources) and self._stopped_by is None

    def start_some(self) -> int | None:
        """Start as many as may run. In a new process: return its exit code, at its end."""
        # fork: the child takes the listener, the settings and the imports as they are.
        while self._may_start() and len(self._working) < MAX_CONCURRENT:
            reading, writing = os.pipe()
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                return self._work(self._sources[self._next], writing, parent)
            # Only the child keeps the writing end, so its end is read as the end of the pipe.
            os.close(writing)
            self._working[reading] = _DocumentProcess(self._next, pid, reading)
            self._selector.register(reading, selectors.EVENT_READ)
            self._next += 1
        return None

    def _work(self, source: Path, pipe: int, parent: int) -> int:
        """Run in the document's process. It leads its own group: Ctrl-C must reach it only once."""
        os.setpgid(0, 0)
        # The process ends with the command, even if that is killed and can pass no signal on.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the line above
            return 128 + signal.SIGTERM
        # The handlers of the parent pass signals on to processes that are not ours.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # Until its run prints its status: by default the signal would end the process.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        result = self._perform(source)
        # EPIPE: the parent has ended.
        with contextlib.suppress(OSError), os.fdopen(pipe, "w", encoding="utf-8") as stream:
            json.dump(result.summary, stream)
        return result.exit_code

    def listen(self) -> None:
        """Read what the processes write; a closed pipe is the end of one."""
        for key, _ in self._selector.select(timeout=0.5):
            member = self._working[key.fd]
            data = os.read(key.fd, 1 << 16)
            if data:
                member.printed += data
                continue
            self._selector.unregister(key.fd)
            os.close(key.fd)
            # It has closed its pipe, so it has ended or is about to.
            _, status = os.waitpid(member.pid, 0)
            ended = os.waitstatus_to_exitcode(status)
            member.code = ended if ended >= 0 else 128 - ended
            self._done.append(self._working.pop(key.fd))

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Pass on to all processes the signals that end the command, and SIGUSR1 (status line)."""

        def forward(number: int, _frame: FrameType | None) -> None:
            # SIGUSR1 only asks for a line of status.
            if number != signal.SIGUSR1:
                self._stopped_by = number
            # A copy: a child that ends changes the dictionary.
            for member in list(self._working.values()):
                # It has ended meanwhile.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, number)

        passed_on = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        # A command that was started with nohup stays immune to SIGHUP, as do its documents.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            passed_on.append(signal.SIGHUP)
        before = {number: signal.signal(number, forward) for number in passed_on}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def collected(self) -> CollectedSummaries:
        """Return the results of all processes, in the order of the documents."""
        members = sorted(self._done, key=lambda member: member.number)
        codes = [member.code or 0 for member in members]
        if self._stopped_by is not None:
            codes.append(128 + self._stopped_by)
        summaries = [_summary_of(self._sources[member.number], member) for member in members]
        return CollectedSummaries(codes, summaries)


def _summary_of(source: Path, member: _DocumentProcess) -> dict[str, Any]:
    """Return a document's summary. Its process may have ended while it wrote it."""
    try:
        summary: dict[str, Any] = json.loads(member.printed)
    except ValueError:
        return _no_summary(source, member)
    return summary


def _no_summary(source: Path, member: _DocumentProcess) -> dict[str, Any]:
    """Return the summary of a document whose process ended without writing one."""
    error = UserError(ExitCode.BUG, "its process ended before it had a result", "run it again alone")
    # The process's own exit code, which may be that of a signal.
    return {**failure_summary(source, error), "exit_code": member.code}
