"""Starts a runner on this machine and speaks with it through pipes, without ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from sshrender.process import reaper
from sshrender.storage.files import open_plain
from sshrender.transports import childprocess, payload
from sshrender.transports.interface import (
    ConnectFailed,
    FilesFailed,
    Link,
    LinkClosed,
    Refusal,
    RunnerSpec,
    last_words,
)
from sshrender.transports.limitmessages import failed_start
from sshrender.transports.payload import Form


class LocalTransport:
    """Starts a runner as a child, in a session of its own so that Ctrl-C does not reach it."""

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """Start the runner; ``timeout`` bounds the sending of its payload."""
        # Without a setting, the interpreter of this program, which is known to work.
        python = sys.executable if spec.python == "python3" else spec.python
        try:
            process = subprocess.Popen(
                payload.argv(python, spec.label),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Errors of the interpreter come as lines without the marker, and are kept for error
                # messages.
                stderr=subprocess.STDOUT,
                # The terminal sends SIGINT to its foreground group; a session of its own is outside of
                # that.
                start_new_session=True,
            )
        except OSError as error:
            raise ConnectFailed(Refusal.NO_PYTHON, f"cannot start {python}: {error}") from None
        link = LocalLink(process)
        try:
            # Nothing goes over a network here, so the payload need not be small.
            form = Form.COMPILED if python == sys.executable else Form.SOURCES
            link.write(payload.build(spec.marker, spec.silence, form), timeout)
        except LinkClosed as closed:
            words = last_words(link)
            link.close()
            raise failed_start(closed, "this machine", python, words) from None
        return link

    def command_line(self, python: str, label: str) -> list[str]:
        """See Transport.command_line."""
        return payload.argv(sys.executable if python == "python3" else python, label)


class LocalFiles:
    """Copies files within this machine, which is the host. See HostFiles."""

    def put(self, source: Path, target: str) -> None:
        """See HostFiles.put."""
        try:
            # open_plain refuses links and special files: a FIFO in place of a source would block for
            # ever.
            with open_plain(source) as ours, Path(target).open("wb") as theirs:
                shutil.copyfileobj(ours, theirs)
        except OSError as error:
            raise FilesFailed(f"{target}: {error.strerror}") from None

    def get(self, source: str, _size: int, target: IO[bytes]) -> None:
        """See HostFiles.get."""
        with Path(source).open("rb") as theirs:
            shutil.copyfileobj(theirs, target)

    def close(self) -> None:
        """See HostFiles.close."""


class LocalLink:
    """The runner's two pipes. See Link."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        # Two, because the end of the input ends a runner, also while a thread waits for its output.
        self._inputs = childprocess.Pipes(process.stdin)
        self._outputs = childprocess.Pipes(process.stdout)
        self._input = process.stdin.fileno()
        self._output = process.stdout.fileno()
        # A blocking write to a runner that has stopped reading would never return.
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)

    def read(self, timeout: float) -> bytes:
        """See Link.read."""
        try:
            with self._outputs.in_use():
                if not childprocess.readable([self._output], timeout):
                    return b""
                data = os.read(self._output, 1 << 16)
        except (OSError, ValueError) as error:
            raise LinkClosed(f"the runner's pipe broke: {error}") from None
        if not data:
            # No bytes from a pipe that was reported as readable are the end of file.
            raise LinkClosed("the runner ended")
        return data

    def write(self, data: bytes, timeout: float) -> None:
        """See Link.write."""
        try:
            with self._inputs.in_use():
                childprocess.write_all(self._input, data, timeout)
        except TimeoutError:
            raise LinkClosed("the runner does not read its input") from None
        except (OSError, ValueError) as error:
            raise LinkClosed(f"the runner's pipe broke: {error}") from None

    def files(self, _timeout: float) -> LocalFiles:
        """See Link.files."""
        return LocalFiles()

    def close(self) -> None:
        """See Link.close. A runner whose input ended kills its process group itself."""
        self._inputs.close()
        self._outputs.close()
        # It kills its group itself; only its own exit status is collected here.
        reaper.collect(self._process, 0.5)
