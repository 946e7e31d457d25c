"""A process that runs one job of the queue (jobworker.py), as its dispatcher sees it."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from sshrender.api.jobworkermessages import JobEnd, JobOrder

MAX_END_BYTES = 64 << 20
"""Bytes of a job's result that are read: a summary lists every failed page, with reasons."""

WORKER = "sshrender.api.jobworker"


def start(
    order: JobOrder,
    name: str,
    print_line: Callable[[str], None],
    take: Callable[[JobEnd], None],
    environment: Mapping[str, str],
) -> JobProcess:
    """Start a process for a job. Raises OSError if this machine has no room for one.

    ``print_line`` gets each line of narration; ``take`` the end of the run, if the process reported one.
    """
    process = subprocess.Popen(
        # -P: modules in the current folder are not ours.
        [sys.executable, "-P", "-m", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must reach it only by way of the dispatcher
        env={**environment, "PYTHONUNBUFFERED": "1"},
    )
    try:
        # Its threads read both pipes, or a process that prints much would block.
        made = JobProcess(process, name, print_line, take)
    except RuntimeError as error:  # there was room for a process, and none for a thread
        with process:  # closes its pipes and waits
            process.kill()
        raise BlockingIOError(errno.EAGAIN, str(error)) from None
    assert process.stdin is not None
    # An order is smaller than a pipe's buffer, so this cannot block.
    # BrokenPipeError: the process has ended already; its exit code says why.
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(order.encode())
    return made


class JobProcess:
    """See coordinator.queuedispatcher.JobProcess."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        name: str,
        print_line: Callable[[str], None],
        take: Callable[[JobEnd], None],
    ) -> None:
        self._process = process
        self._name = name
        self._print_line = print_line
        self._take = take
        self._end: JobEnd | None = None
        self._threads = [
            threading.Thread(target=self._read_narration, daemon=True),
            threading.Thread(target=self._read_end, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_narration(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\n")
                # Lines that name their job already are not labelled twice.
                self._print_line(text if text.startswith(self._name) else f"{self._name}: {text}")

    def _read_end(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            # Up to the end of the pipe, which is the end of the process: no child inherits it
            # (jobworker.py).
            data = stream.read(MAX_END_BYTES)
        with contextlib.suppress(ValueError):  # the process was killed before it could write its end
            self._end = JobEnd.decode(data)

    def ended(self) -> int | None:
        """See JobProcess.ended."""
        found = self._process.poll()
        if found is None:
            return None
        # The pipes have ended with the process. A second bounds what a process that inherited one could
        # delay.
        for thread in self._threads:
            thread.join(1.0)
        if self._end is not None:
            self._take(self._end)
        # A shell reports it as 128 plus the number of the signal.
        return found if found >= 0 else 128 - found

    def reason(self) -> str:
        """See JobProcess.reason."""
        return "" if self._end is None else self._end.error

    def needs_user(self) -> bool:
        """See JobProcess.needs_user."""
        return self._end is not None and self._end.needs_user

    def stop(self, number: int) -> None:
        """See JobProcess.stop."""
        # Without the check a collected process number could be another process's.
        if self._process.poll() is None:
            self._process.send_signal(number)
