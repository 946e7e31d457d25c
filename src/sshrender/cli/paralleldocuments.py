"""Several documents in one command: a process for each, side by side on the same hosts.

Each process runs its own job as if it were alone; a host shares its slots among them
(runner/slotlocks.py). This process starts them, forwards signals and collects their summaries.
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

from sshrender.document import readerprocess
from sshrender.utf8 import writable

MAX_CONCURRENT = 4
"""Documents: each has a connection to every host, and sshd counts those that it has not yet let in."""

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""

Perform = Callable[[Path], tuple[int, dict[str, Any]]]


@dataclass(slots=True)
class _Member:
    """A document's process. ``number`` is the document's place on the command line."""

    number: int
    pid: int
    pipe: int
    said: bytearray = field(default_factory=bytearray)
    code: int | None = None


@dataclass(slots=True)
class CollectedSummaries:
    """What became of them: exit codes and summaries in the order of the documents."""

    codes: list[int]
    summaries: list[dict[str, Any]]


def side_by_side(sources: Sequence[Path], perform: Perform) -> CollectedSummaries | int:
    """See every document through. In a document's own process: its exit code, to end with."""
    parallel_documents = _Crew(sources, perform)
    sys.stdout.flush()
    sys.stderr.flush()
    readerprocess.forget()
    with parallel_documents.signals():
        while parallel_documents.has_more():
            ended = parallel_documents.start_some()
            if ended is not None:
                return ended
            parallel_documents.listen()
    return parallel_documents.gathered()


class _Crew:
    def __init__(self, sources: Sequence[Path], perform: Perform) -> None:
        self._sources = sources
        self._perform = perform
        self._next = 0
        self._working: dict[int, _Member] = {}
        self._done: list[_Member] = []
        self._selector = selectors.DefaultSelector()
        self._stopped_by: int | None = None

    def has_more(self) -> bool:
        """Whether there is anything to start or to wait for."""
        return bool(self._working) or self._may_start()

    def _may_start(self) -> bool:
        return self._next < len(self._sources) and self._stopped_by is None

    def start_some(self) -> int | None:
        """As many as may work at once. In a new process: its exit code, when its work is done."""
        while self._may_start() and len(self._working) < MAX_CONCURRENT:
            reading, writing = os.pipe()
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                return self._work(self._sources[self._next], writing, parent)
            os.close(writing)
            self._working[reading] = _Member(self._next, pid, reading)
            self._selector.register(reading, selectors.EVENT_READ)
            self._next += 1
        return None

    def _work(self, source: Path, pipe: int, parent: int) -> int:
        """In the document's process. It has a group of its own: Ctrl-C comes by way of the parent."""
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return 128 + signal.SIGTERM
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        code, summary = self._perform(source)
        with contextlib.suppress(OSError), os.fdopen(pipe, "w", encoding="utf-8") as stream:
            json.dump(summary, stream)
        return code

    def listen(self) -> None:
        """Take in what comes; a closed pipe is the end of a process."""
        for key, _ in self._selector.select(timeout=0.5):
            member = self._working[key.fd]
            data = os.read(key.fd, 1 << 16)
            if data:
                member.said += data
                continue
            self._selector.unregister(key.fd)
            os.close(key.fd)
            _, status = os.waitpid(member.pid, 0)
            ended = os.waitstatus_to_exitcode(status)
            member.code = ended if ended >= 0 else 128 - ended
            self._done.append(self._working.pop(key.fd))

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Those that ask us to end are for all of them, and so is the one that asks how it stands."""

        def forward(number: int, _frame: FrameType | None) -> None:
            if number != signal.SIGUSR1:
                self._stopped_by = number
            for member in list(self._working.values()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, number)

        passed_on = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            passed_on.append(signal.SIGHUP)
        before = {number: signal.signal(number, forward) for number in passed_on}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def gathered(self) -> CollectedSummaries:
        """What all of them said, in the order of the documents."""
        members = sorted(self._done, key=lambda member: member.number)
        codes = [member.code or 0 for member in members]
        if self._stopped_by is not None:
            codes.append(128 + self._stopped_by)
        summaries = [_said(self._sources[member.number], member) for member in members]
        return CollectedSummaries(codes, summaries)


def _said(source: Path, member: _Member) -> dict[str, Any]:
    """A document's summary: its process may have ended in the middle of it."""
    try:
        summary: dict[str, Any] = json.loads(member.said)
    except ValueError:
        return _silent(source, member)
    return summary


def _silent(source: Path, member: _Member) -> dict[str, Any]:
    """The summary of a document whose process ended without a word."""
    return {
        "schema": 1,
        "job": None,
        "document": writable(str(source)),
        "state": "failed",
        "exit_code": member.code,
    }
