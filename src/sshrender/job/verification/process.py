"""Have open files verified in a child process (job/verification/worker.py).

The coordinator opens a file and keeps the descriptor; the child reads the same open file. Its answer
counts for this one page only: it is bounded, and checked for its form.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import (
    MAX_SIDE,
    Expected,
    PageImage,
    max_bytes,
    pixels,
    require_size,
)
from sshrender.job.verification.worker import MAX_PACKET
from sshrender.process import reaper

CPU_SECONDS = 10.0
BYTES_A_SECOND = 10e6
PIXELS_A_SECOND = 10e6
"""CPU seconds that a page may take: CPU_SECONDS + bytes / BYTES_A_SECOND + pixels / PIXELS_A_SECOND."""

WALL_TO_CPU = 4.0
"""The wall time that a page may take, on a machine that does other work too."""

BUSY = 0.5
"""A page fails for its wall time only if it used this part of its CPU time; else the machine is busy."""

SLOW = 0.25
"""Seconds after which an answer counts as late, and the caller is informed."""


class _Died(Exception):
    """The child ended without an answer."""


class Verifications:
    """One child process, started when needed and replaced when it has ended. For one thread."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._is_cancelled = False

    def verify(
        self,
        descriptor: int,
        expected: Expected,
        limit: int | None = None,
        on_slow: Callable[[], None] = lambda: None,
    ) -> PageImage:
        """Verify an open file. Raises VerificationFailed, or OSError: the storage, or no process.

        ``limit``: bytes that a host may write. ``on_slow`` is called now and then while it takes long.
        """
        # Compared afterwards: a host may write to its file during the verification.
        before = _identity(descriptor)
        size = require_size(descriptor, expected, limit)
        request = _request(size, expected)
        try:
            found = self._ask(descriptor, request, on_slow)
        # The child died of this file, of memory, or of a signal from outside: a new one gets the same
        # file.
        except _Died:
            # The kernel's OOM killer may have ended it, for another's memory: once more.
            try:
                found = self._ask(descriptor, request, on_slow)
            except _Died:
                raise VerificationFailed("the verification process crashed on it twice") from None
        if _identity(descriptor) != before:
            raise VerificationFailed("changed while it was verified")
        return found

    def start(self) -> None:
        """Start the process before it is needed. Raises OSError."""
        if self._child is None:
            self._child = _Child()

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def cancel(self) -> None:
        """Verify nothing more: the present verification fails. May be called from another thread."""
        # The flag first: a process that is started just now is not used any more.
        self._is_cancelled = True
        child = self._child
        if child is not None:
            child.kill()

    def _ask(self, descriptor: int, request: dict[str, Any], on_slow: Callable[[], None]) -> PageImage:
        if self._is_cancelled:
            raise VerificationFailed("the run ended before it was verified")
        self.start()
        assert self._child is not None
        try:
            answer = self._child.ask(descriptor, request, on_slow)
        except BaseException:
            # The answer of this request would be taken for that of the next one.
            self.stop()
            raise
        if answer.get("error"):
            number, text = answer["error"]
            # The server removed the file: its host did, or has put another in its place (nfs(5)).
            # FileNotFoundError makes the verifier try again later, as for a file that is not visible
            # yet.
            raise OSError(errno.ENOENT if number == errno.ESTALE else number, text)
        if "found" not in answer:
            raise VerificationFailed(str(answer.get("failed", "it was not understood"))[:500])
        found = PageImage(*answer["found"])
        # The child was told the size: another one means that it answers something else.
        if found.bytes != request["size"]:
            raise VerificationFailed("it was not understood")
        return found


def _identity(descriptor: int) -> tuple[int, int, int]:
    """Return values that change with the content; users cannot set the time of change (utimensat(2))."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _request(size: int, expected: Expected) -> dict[str, Any]:
    return {
        **expected._asdict(),
        "device": list(expected.device),
        "size": size,
        "seconds": seconds(size, expected),
    }


def seconds(size: int, expected: Expected) -> float:
    """Return the CPU time that verifying a file of this size may take."""
    allowed = CPU_SECONDS + size / BYTES_A_SECOND
    # Only if so large a file may be this page: the claim of a host must not give it more time.
    if (page := pixels(expected)) is not None and max_bytes(expected) >= size:
        width, height = (min(side, MAX_SIDE) for side in page)
        allowed += min(width * height, 1e10) / PIXELS_A_SECOND
    return allowed


class _Child:
    """The process."""

    def __init__(self) -> None:
        """Start it. Raises OSError: this machine has no room for it."""
        # SOCK_SEQPACKET keeps messages apart, and tells when the other end is gone.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # The child's end of the socket is inherited by its number.
            self._process = subprocess.Popen(
                # -P: modules that are in the current folder are not ours.
                [sys.executable, "-P", "-m", "sshrender.job.verification.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the coordinator
            )
        except OSError as error:
            ours.close()
            what = f"cannot start a process to verify pages: {error.strerror}"
            # No FileNotFoundError (the interpreter was replaced): that would be said of the page.
            number = errno.EAGAIN if error.errno == errno.ENOENT else error.errno
            raise OSError(number, what) from None
        finally:
            # Only the child may hold its end: then its death shows here as the end of the socket.
            theirs.close()
        self._socket = ours
        self._poll = select.poll()  # select(2) knows no descriptor above 1023
        self._poll.register(ours, select.POLLIN)

    def ask(
        self, descriptor: int, request: dict[str, Any], on_slow: Callable[[], None]
    ) -> dict[str, Any]:
        """Return the answer to one request.

        Raises _Died, VerificationFailed if it takes too long, or TimeoutError: the storage.
        """
        deadline = time.monotonic() + WALL_TO_CPU * request["seconds"]
        # The limit applies to this request: CPU time used before does not count.
        used = _cpu_time(self._process.pid)
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [descriptor])
            # Each turn is a chance to flush what was published before (verifier.py).
            while not self._poll.poll(1000 * SLOW):
                on_slow()
                # One more look: the coordinator itself may have been stopped, and not the process.
                if time.monotonic() > deadline and not self._poll.poll(0):
                    raise self._overdue(used + BUSY * request["seconds"])
            answer = json.loads(self._socket.recv(MAX_PACKET))
        # ValueError: an empty answer, as the child has ended.
        except (BrokenPipeError, ConnectionResetError, ValueError):
            raise self._ended() from None
        if not isinstance(answer, dict):
            raise _Died
        return answer

    def kill(self) -> None:
        """End it now; ``stop`` is still to be called."""
        self._process.kill()

    def stop(self) -> None:
        """End it. One that hangs in the kernel ends when its storage answers."""
        self._socket.close()
        reaper.end(self._process, 1.0)

    def _ended(self) -> Exception:
        """Return why it answered nothing."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # SIGXCPU is sent at the soft limit of processor time (setrlimit(2)).
            if self._process.wait(1.0) == -signal.SIGXCPU:
                return VerificationFailed("verifying it takes too much CPU time")
        return _Died()

    def _overdue(self, busy: float) -> Exception:
        """Return the error for a process that took too long.

        One that waits in the kernel waits for the storage; one that has had less CPU time than ``busy``
        waits for this machine. For any other one the file is to blame.
        """
        if _is_waiting_for_storage(self._process.pid):
            return TimeoutError(errno.ETIMEDOUT, "it does not answer")
        if _cpu_time(self._process.pid) < busy:
            return TimeoutError(errno.ETIMEDOUT, "this machine is too busy to verify pages")
        return VerificationFailed("verifying it takes too long")


def _cpu_time(pid: int) -> float:
    """Return the seconds that a process has computed; of one that is gone more than any."""
    # Once a page, so by one system call and not by the three that /proc needs. The clock's number is
    # that of clock_getcpuclockid(3): CPUCLOCK_SCHED in the three lowest bits, the process above.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return float("inf")


def _is_waiting_for_storage(pid: int) -> bool:
    """Return whether a process is in uninterruptible sleep (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no file of the shared folder
            return file.read().rpartition(b")")[2].split()[0] == b"D"
    except (OSError, IndexError):
        return False
