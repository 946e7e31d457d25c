"""The carrier *pipe*: a command of the engine that runs the runner in the allocation of a pilot.

With Slurm it is a job step: srun attaches in 0.07 s, continues while the controller is down, and leaves
the holder alone when it ends (measured with 22.05), so another coordinator attaches again. With HTCondor
it is condor_ssh_to_job. The pair of files remains: its lines tell the holder that a coordinator is
there, and that the allocation is not needed any more.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence

from sshrender.runner import allocationfacts, allocationholder
from sshrender.transports import childprocess, payload
from sshrender.transports.batch import loginhost
from sshrender.transports.batch.enginecalls import kept
from sshrender.transports.batch.filelink import FileLink, FileTransport
from sshrender.transports.interface import (
    ConnectFailed,
    FilesFailed,
    HostFiles,
    Link,
    LinkClosed,
    Refusal,
    RunnerSpec,
)
from sshrender.transports.loaderlink import LoaderLink
from sshrender.transports.local import LocalLink

KEEP_INTERVAL = 5.0
"""Seconds between two lines that tell the holder that a coordinator is there."""


MAX_SEEN = 4096
"""Bytes of the command's own output that are kept for an error."""

MAX_REASON = 300


def variables(token: str, memory: int) -> dict[str, str]:
    """Return the variables of a runner in the allocation of this token; ``memory`` in bytes, 0: unknown.

    They are those of a runner that the holder starts, if the command brings nothing.
    """
    return allocationfacts.variables(token, memory)


class PipeTransport:
    """Reaches the runner of one pilot. ``attached`` makes words run in its allocation (Engine.attached).

    ``falls_back``: a connection that never brought a byte is followed by one over files.
    """

    def __init__(
        self,
        files: FileTransport,
        attached: Callable[[Sequence[str]], Sequence[str]],
        environment: dict[str, str],
        via: Sequence[str] = (),
        *,
        falls_back: bool,
    ) -> None:
        self._files = files
        self._attached = attached
        self._environment = environment
        self._via = tuple(via)
        self._falls_back = falls_back
        self._link: PipeLink | None = None

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """See Transport.connect."""
        # The last connection was a step that brought nothing. A site may forbid steps; files need none.
        if self._falls_back and self._link is not None and not self._link.has_read:
            return self._files.connect(spec, timeout)
        words = self.command_line(spec.python, spec.label)
        # KEEP is written before the command starts, so the holder does not give up in the meantime.
        keep = self._files.attach()
        try:
            process = subprocess.Popen(
                # With ``via`` a shell on the other machine splits the words. What its start files print
                # comes before the runner's marker, and is passed over.
                [*self._via, loginhost.remote_line(words, "sshrender")] if self._via else words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=kept(os.environ),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            keep.close()
            # No connection of this kind is possible here, while files need no command.
            if self._falls_back:
                return self._files.connect(spec, timeout)
            reason = f"cannot start {words[0]}: {error.strerror}"
            raise ConnectFailed(Refusal.UNREACHABLE, reason) from None
        link = self._link = PipeLink(process, keep, spec)
        try:
            link.write(payload.loader(spec.marker), timeout)
        except LinkClosed as closed:
            link.close()
            refusal = Refusal.NO_PYTHON if closed.has_no_program else Refusal.UNREACHABLE
            raise ConnectFailed(refusal, closed.reason) from None
        return LoaderLink(link, spec)

    def dismiss(self) -> None:
        """See FileTransport.dismiss."""
        self._files.dismiss()

    def command_line(self, python: str, label: str) -> list[str]:
        """See Transport.command_line."""
        # kept() lets few variables through, so the runner gets the others by ``env``.
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        return list(self._attached(["env", *variables, *payload.argv(python, label)]))


class PipeLink:
    """The streams of the engine's command. See Link."""

    def __init__(self, process: subprocess.Popen[bytes], keep: FileLink, spec: RunnerSpec) -> None:
        self._process = process
        self._streams = LocalLink(process)
        self._keep = keep
        self._kept_at = time.monotonic()
        self._spec = spec
        self._seen = b""
        self.has_read = False
        """Whether the runner has spoken: what the command itself prints is an error of it."""

    def read(self, timeout: float) -> bytes:
        """See Link.read."""
        try:
            data = self._streams.read(timeout)
        except LinkClosed as closed:
            raise self._end(closed) from None
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        if not self.has_read:
            self._seen = (self._seen + data)[-MAX_SEEN:]
            self.has_read = f"@{self._spec.marker}".encode() in self._seen

    def _end(self, closed: LinkClosed) -> LinkClosed:
        """Return the end of the streams with what the command says of it, and with its exit status."""
        if self.has_read:
            return closed
        status = None
        # It is reported without its exit status then.
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(childprocess.END_TIMEOUT)
        printed = self._seen.decode("utf-8", "replace").strip()
        # ``env`` names the program that it cannot start. Another one tells nothing about Python.
        if self._spec.python not in printed:
            status = None
        return LinkClosed(printed.splitlines()[-1][:MAX_REASON] if printed else closed.reason, status)

    def write(self, data: bytes, timeout: float) -> None:
        """See Link.write."""
        try:
            self._streams.write(data, timeout)
        except LinkClosed as closed:
            # Its last output tells the reason.
            with contextlib.suppress(LinkClosed):
                self._note(self._streams.read(childprocess.END_TIMEOUT))
            raise self._end(closed) from None
        if time.monotonic() - self._kept_at >= KEEP_INTERVAL:
            self._kept_at = time.monotonic()
            # The holder gives its allocation up when no such line comes for a while, although the step
            # works.
            # The shared folder is reported by others; what counts here is the stream.
            with contextlib.suppress(OSError):
                self._keep.append(allocationholder.KEEP)

    def files(self, timeout: float) -> HostFiles:  # noqa: ARG002 - it has none
        """See Link.files."""
        raise FilesFailed("a pilot reads and writes the shared folder only")

    def close(self) -> None:
        """See Link.close. Without its client the step ends within 0.1 s (measured)."""
        # The stream first, so the runner ends by itself; then the command; then the holder is told.
        self._streams.close()
        childprocess.end_group(self._process)
        self._keep.close()
