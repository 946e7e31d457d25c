"""Run document/readerworker.py as a child process: started early, asked once, and always ended.

Its answers are read under limits, because the document decides them: the time for all, the length of a
line, and the size of all.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any

from sshrender.process import reaper

MAX_LINE_BYTES = 1 << 20
"""Size limit of one answer. The largest are 64 pages with 50 names of fonts each, of 127 characters."""

MAX_BYTES = 128 << 20
"""Size limit of all answers: 250,000 pages take 15 MiB for their sizes (facts.MAX_PAGES)."""

STOP_TIMEOUT = 2.0
"""Seconds that a killed process gets: one that waits for a dead file server ends when that answers."""


# -P: modules that are in the current folder are not ours.
COMMAND = [sys.executable, "-P", "-m", "sshrender.document.readerworker"]


class WorkerFailed(Exception):
    """The worker crashed, was stopped, or answered what its program would not."""


_spare: list[subprocess.Popen[bytes]] = []


def warm() -> None:
    """Start a process for the next ReaderProcess: its interpreter and qpdf load in the meantime.

    One that is not used ends when this process does.
    """
    with contextlib.suppress(OSError):  # ReaderProcess tries it again, and then the error is reported
        _spare.append(_start())


def forget() -> None:
    """Close this process's ends of what ``warm`` started: for a process that was forked off."""
    while _spare:
        _close_pipes(_spare.pop())


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # EPIPE: a line was not sent, as the process has ended
                pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that no ReaderProcess refers to any more."""
    if process.poll() is None:
        reaper.end(process, STOP_TIMEOUT)
    _close_pipes(process)


def _end_aside(process: subprocess.Popen[bytes]) -> None:
    """End a process that nothing refers to any more, in a thread.

    Python ignores exceptions in what is called when an object goes: a Ctrl-C that comes while this
    process is waited for would be lost.
    """
    try:
        _thread.start_new_thread(_end, (process,))
    except RuntimeError:  # no room for a thread
        _end(process)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for the coordinator
    )


class ReaderProcess:
    """A child process that answers one request."""

    def __init__(self) -> None:
        self._process = _spare.pop() if _spare else _start()
        self._ends_at = float("inf")
        self._pending = b""
        # Not in stop(): another thread may wait for an answer, and the number of a closed descriptor is
        # given to the next file that is opened.
        weakref.finalize(self, _end_aside, self._process).atexit = False
        self._said = 0

    def ask(self, op: str, *, within: float | None = None, **fields: Any) -> None:
        """Send the request. ``within``: seconds that all of it may take."""
        # The worker gets it as well: its limit of processor time follows from it.
        if within is not None:
            self._ends_at = time.monotonic() + within
        self.add(op=op, within=within, **fields)

    def add(self, **fields: Any) -> None:
        """Send one more line to a request that takes several."""
        assert self._process.stdin is not None
        # Lines after the end of the process are lost without harm: the next answer reports it.
        with contextlib.suppress(BrokenPipeError):  # it has died; ``answers`` says so
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            self._process.stdin.flush()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield each answer as it comes, up to the end. Raises WorkerFailed."""
        while (answer := self.answer()) is not None:
            yield answer

    def answer(self, within: float | None = None) -> dict[str, Any] | None:
        """Return the next answer; None at the end. ``within``: seconds for this one.

        Raises WorkerFailed: the process died, took too long, or answered what its program would not,
        and was stopped.
        """
        ends_at = self._ends_at if within is None else min(self._ends_at, time.monotonic() + within)
        try:
            answer = json.loads(self._line(ends_at))
            if not isinstance(answer, dict):
                raise WorkerFailed("it does not answer with an object")
        except WorkerFailed:
            self.stop()
            raise
        except (ValueError, RecursionError):
            self.stop()
            raise WorkerFailed("its answer is not JSON") from None
        return None if "end" in answer else answer

    def _line(self, ends_at: float) -> bytes:
        """Return the next line. Raises WorkerFailed."""
        # Only as much as is needed for one line; the rest waits in _pending.
        while b"\n" not in self._pending:
            if len(self._pending) > MAX_LINE_BYTES or self._said > MAX_BYTES:
                raise WorkerFailed("its answer is too large")
            data = self._read(ends_at)
            self._said += len(data)
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _read(self, ends_at: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # select(2) takes no descriptor above 1023
        poll.register(descriptor, select.POLLIN)
        left = ends_at - time.monotonic()
        # Rounded up, so that poll(2) does not return just before the time.
        wait = None if left == float("inf") else max(0, int(left * 1000) + 1)
        if left <= 0 or not poll.poll(wait):
            raise WorkerFailed("it took too long")
        data = os.read(descriptor, 65536)
        if not data:
            # The end of its output without ``end``: it crashed, or a limit ended it.
            status = reaper.collect(self._process, STOP_TIMEOUT)
            raise WorkerFailed(f"it ended with status {status}")
        return data

    def stop(self) -> None:
        """End it now. Any thread, any number of times."""
        reaper.end(self._process, STOP_TIMEOUT)
