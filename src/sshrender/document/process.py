"""The coordinator's end of document/worker.py: started early, asked once, ended for sure."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


class WorkerFailed(Exception):
    """The worker ended before it had said all: it crashed, or was stopped."""


_spare: list[subprocess.Popen[bytes]] = []


def warm() -> None:
    """Start a process for the next Worker: its interpreter and pypdf load while we do other things.

    One that nobody takes ends when this process does.
    """
    _spare.append(_start())


def forget() -> None:
    """Somebody else (a process that was forked off) has what was warmed up; our ends of it close."""
    while _spare:
        process = _spare.pop()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: modules that lie in the current folder are not ours.
        [sys.executable, "-P", "-m", "sshrender.document.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for the coordinator
    )


class Worker:
    """A child process that answers one request."""

    def __init__(self) -> None:
        self._process = _spare.pop() if _spare else _start()

    def ask(self, op: str, **fields: Any) -> None:
        """Send the request."""
        self.add(op=op, **fields)

    def add(self, **fields: Any) -> None:
        """Send one line more to a request that takes several."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died; ``answers`` says so
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            self._process.stdin.flush()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Each answer as it comes, up to the end. Raises WorkerFailed."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                break  # torn: it died in the middle of a line
            if "end" in answer:
                return
            yield answer
        raise WorkerFailed(f"it ended with status {self._process.wait()}")

    def stop(self) -> None:
        """End it now. Any thread, any number of times."""
        self._process.kill()
        self._process.wait()
