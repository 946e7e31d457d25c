"""Reaches hosts with OpenSSH's own client, for configurations that paramiko cannot honour.

One ``ssh`` process holds the connection. It is the master of a control socket of its own, through which
file transfers use the same connection (ssh_config(5), ControlMaster).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from sshrender.transports import childprocess, opensshcommand, payload
from sshrender.transports.interface import (
    ConnectFailed,
    LinkClosed,
    Refusal,
    RunnerSpec,
    last_words,
)
from sshrender.transports.limitmessages import failed_start
from sshrender.transports.sftp import SftpFiles
from sshrender.transports.sshconfig import Overrides

MAX_SOCKET_PATH = 80
"""Most bytes of the control socket's path: sun_path has 108, and ssh adds 17 for a temporary name."""

_SPECIAL = re.compile(r"""[\s"'\\%$~]""")
"""Characters with a meaning in ControlPath (ssh_config(5), TOKENS and ENVIRONMENT VARIABLES)."""


class OpensshTransport:
    """Reaches one host of the inventory."""

    def __init__(self, name: str, overrides: Overrides) -> None:
        self._name = name
        self._overrides = overrides

    def connect(self, spec: RunnerSpec, timeout: float) -> OpensshLink:
        """See Transport.connect."""
        link = OpensshLink(self._name, self._overrides)
        try:
            # start() returns after the login, so the time-out of the write is for the loader alone.
            link.start(payload.command(spec.python, spec.label), timeout)
            link.write(payload.loader(spec.marker), timeout)
        except LinkClosed as closed:
            # The link holds the output of the shell, so it is read before the link is closed.
            words = last_words(link)
            link.close()
            raise failed_start(closed, self._name, spec.python, words) from None
        except ConnectFailed:
            link.close()
            raise
        return link


class OpensshLink:
    """An ``ssh`` process with a runner at its other end. See Link."""

    def __init__(self, name: str, overrides: Overrides) -> None:
        self._name = name
        self._overrides = overrides
        self._folder = _private_folder()
        self._errors = opensshcommand.ErrorLines()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: list[int] = []
        self._inputs = self._outputs = childprocess.Pipes()
        self._command = ""
        self._early = b""
        """The host's output before the login was reported."""

    @property
    def _socket(self) -> Path:
        return self._folder / "s"

    def start(self, command: str, timeout: float) -> None:
        """Run the command on the host. Returns once the client is logged in. Raises ConnectFailed."""
        self._command = command
        words = opensshcommand.arguments(self._name, self._overrides, self._socket, timeout)
        self._process = process = _popen([*words, command])
        assert process.stdin is not None
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            # One thread polls both outputs; a blocking read of one would hide what comes on the other.
            os.set_blocking(pipe.fileno(), False)
        assert process.stdout is not None
        assert process.stderr is not None
        self._output = [process.stdout.fileno(), process.stderr.fileno()]
        self._inputs = childprocess.Pipes(process.stdin)
        self._outputs = childprocess.Pipes(process.stdout, process.stderr)
        end = time.monotonic() + timeout
        try:
            # Two signs of a login: the client's own line at LogLevel VERBOSE, or bytes from the host,
            # which come after it.
            while not self._errors.is_logged_in and not self._early:
                if time.monotonic() > end:
                    raise opensshcommand.no_answer(self._errors)
                self._early += self._receive(end - time.monotonic())
        except LinkClosed:
            raise opensshcommand.failure(self._errors) from None

    def read(self, timeout: float) -> bytes:
        """See Link.read."""
        early, self._early = self._early, b""
        return early or self._receive(timeout)

    def _receive(self, timeout: float) -> bytes:
        """Return the host's standard output; keep the reports of the client."""
        try:
            with self._outputs.in_use():
                return self._read_ready(timeout)
        except (OSError, ValueError) as error:
            raise LinkClosed(f"the pipe of ssh broke: {error}") from None

    def _read_ready(self, timeout: float) -> bytes:
        ready = childprocess.readable(self._output, timeout)
        # The reason for the end of the output is read before that end.
        for descriptor in sorted(ready, key=lambda each: each == self._output[0]):
            data = os.read(descriptor, 1 << 16)
            if descriptor == self._output[0]:
                if data:
                    return data
                raise self._closed()
            # The end of standard error alone does not end the link: the runner's output is the other
            # one.
            if not data:
                # poll(2) would report the closed descriptor at once in each call, and the loop would
                # spin.
                self._output = self._output[:1]
            self._errors.feed(data)
        return b""

    def write(self, data: bytes, timeout: float) -> None:
        """See Link.write."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            with self._inputs.in_use():
                childprocess.write_all(self._process.stdin.fileno(), data, timeout)
        except TimeoutError:
            raise LinkClosed("the host does not read what it is sent") from None
        # ValueError: another thread has closed the file. EPIPE: ssh has ended, and its last line says
        # why.
        except (OSError, ValueError):
            raise self._closed() from None

    def test(self, timeout: float) -> int | None:
        """See TestedLink.test."""
        words = opensshcommand.second_session(self._name, self._socket)
        try:
            status = subprocess.run(
                [*words, self._command],
                input=payload.TEST,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=opensshcommand.environment(),
                timeout=timeout,
                check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if status < 0 or status == opensshcommand.OWN_FAILURE else status

    def files(self, timeout: float) -> SftpFiles:
        """See Link.files."""
        words = opensshcommand.sftp_arguments(self._name, self._socket)
        return SftpFiles(lambda: _Channel(words, timeout))

    def close(self) -> None:
        """See Link.close. The runner reads end of file and ends, then the client does."""
        process = self._process
        if process is not None:
            self._inputs.close()
            # The whole session, because ProxyCommand and jump hosts are processes of their own.
            childprocess.end_group(process)
            self._outputs.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _closed(self) -> LinkClosed:
        """Return the error for a connection that has ended, with the client's reason for it."""
        assert self._process is not None
        # The exit status tells a broken connection (255) from a runner that ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(childprocess.END_TIMEOUT)
        with contextlib.suppress(OSError, ValueError), self._outputs.in_use():
            # What is in the pipe already is enough; a process that holds the pipe open is not waited
            # for.
            while len(self._output) > 1 and childprocess.readable(self._output[1:], 0):
                data = os.read(self._output[1], 1 << 16)
                self._errors.feed(data)
                if not data:
                    break
        status = self._process.returncode
        last = self._errors.last()
        # A negative status: a signal ended ssh, so the runner's status is not known.
        if status is None or status < 0 or status == opensshcommand.OWN_FAILURE:
            return LinkClosed("the connection broke" + (f": {last}" if last else ""))
        return LinkClosed(
            f"the runner ended with exit code {status}" + (f": {last}" if last else ""), status
        )


class _Channel:
    """The standard streams of an ``ssh`` process, with the methods that paramiko's SFTP client calls."""

    def __init__(self, words: list[str], timeout: float) -> None:
        # paramiko's SFTP client wants one object for both directions. A pair of sockets is one; two
        # pipes are not.
        near, far = socket.socketpair()
        near.settimeout(timeout)
        self._socket = near
        # Without our copy of ``far``, the end of the process is read as the end of the stream.
        with far:
            self._process = subprocess.Popen(
                words,
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=opensshcommand.environment(),
            )

    def send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except OSError:
            if self._socket.fileno() >= 0:
                raise
            # Closed here, while paramiko's thread still asks for data ahead: no one waits for it.
            return len(data)

    def recv(self, size: int) -> bytes:
        return self._socket.recv(size)

    # Pipelined writes ask whether answers have come (paramiko's SFTPFile._write).
    def recv_ready(self) -> bool:
        return bool(childprocess.readable([self._socket.fileno()], 0))

    def get_name(self) -> str:
        # paramiko's SFTP client names its channel in its log.
        return "sftp"

    def close(self) -> None:
        self._socket.close()
        childprocess.end_group(self._process)


def _popen(words: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C is for the coordinator; without a terminal ssh cannot ask for a password.
            start_new_session=True,
            env=opensshcommand.environment(),
        )
    except OSError as error:
        raise ConnectFailed(Refusal.CONFIGURATION, f"cannot start ssh: {error.strerror}") from None


def _private_folder() -> Path:
    """Return a new folder for the control socket, which only this user may enter."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if not parent or _SPECIAL.search(parent):
            continue
        # 16 bytes: ``/sshr-``, eight characters of mkdtemp, and ``/s``.
        if len(parent) < MAX_SOCKET_PATH - 16 and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="sshr-", dir=parent))
    raise ConnectFailed(Refusal.CONFIGURATION, "no folder for the control socket of ssh can be written")
