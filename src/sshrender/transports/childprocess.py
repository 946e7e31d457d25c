"""Pipes to a child process, and its end: every wait is bounded."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

from sshrender.process import reaper

END_TIMEOUT = 0.5
"""Seconds that a process gets to end by itself after its input was closed."""


def readable(descriptors: Sequence[int], timeout: float) -> list[int]:
    """Return those that have data or have ended, after at most ``timeout`` seconds.

    poll(2) and not select(2), which takes no descriptor above 1023: a farm of 400 hosts has more.
    """
    # epoll would need a descriptor of its own for each call; poll(2) keeps no state in the kernel.
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    # A broken pipe is reported (POLLHUP, POLLERR) without being requested; the read that follows then
    # tells which.
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout) * 1000)]


def write_all(descriptor: int, data: bytes, timeout: float) -> None:
    """Write all of ``data`` to a pipe that does not block.

    Raises TimeoutError: it is not read; another OSError: it is broken.
    """
    deadline = time.monotonic() + timeout
    view = memoryview(data)
    poll = select.poll()
    # The invariant of the loop: ``view`` is what the pipe has not taken yet.
    poll.register(descriptor, select.POLLOUT)
    while view:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("the pipe is not read")
        view = view[os.write(descriptor, view) :]


class Pipes:
    """Pipes that one thread reads or writes while another may close them.

    They are closed when no call uses them any more: the number of a closed descriptor is given to the
    next file that is opened, and a call that still waits would read that file.
    """

    def __init__(self, *pipes: IO[bytes]) -> None:
        self._pipes = pipes
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep them open until the block ends. Raises ValueError if they are closed, as a file does."""
        with self._lock:
            if self._is_closed:
                raise ValueError("it was closed")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_unused()

    def close(self) -> None:
        """Let no further call use them. They are closed now, or by the last call that uses them."""
        with self._lock:
            self._is_closed = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._is_closed and not self._users:
            for pipe in self._pipes:
                # close() may flush what a dead process has not read.
                with contextlib.suppress(OSError):
                    pipe.close()


def end_group(process: subprocess.Popen[Any]) -> None:
    """Wait a moment for the leader of a session to end by itself, then end all that it has started.

    A ProxyCommand may outlive its ssh. The process is not collected before its group is killed: until
    then the number of the group is not given to another one.
    """
    if process.returncode is not None:
        return
    # The caller has closed the leader's input, so a runner or an ssh that works ends within this time.
    end = time.monotonic() + END_TIMEOUT
    while _is_running(process) and time.monotonic() < end:
        time.sleep(0.01)
    # The group may have ended, or consist of another user's processes only (kill(2), EPERM).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process in an uninterruptible wait (a hung mount) outlives SIGKILL. It is collected later.
    reaper.collect(process, END_TIMEOUT)


def _is_running(process: subprocess.Popen[Any]) -> bool:
    """Return whether it has not ended; does not collect it."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
