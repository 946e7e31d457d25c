"""The carrier *files*: for each connection to a runner a pair of append-only files on the shared folder.

The holder of the allocation (runner/allocationholder.py) is at the other end. It needs no port, no key
on a node and no command of the engine. A line takes 0.2 to 0.5 s each way, and less while a connection
begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import weakref
from pathlib import Path

from sshrender.runner import allocationholder, pilotlines
from sshrender.transports import payload
from sshrender.transports.interface import (
    ConnectFailed,
    FilesFailed,
    HostFiles,
    Link,
    LinkClosed,
    Refusal,
    RunnerSpec,
)

CONNECT_TIMEOUT = allocationholder.ABANDONED
"""Seconds in which a holder finds its pair and answers; after that it has given up."""

MAX_LOOKS = 500
"""Looks a second of all links of this process, as far as their eagerness goes: a look costs 0.1 ms."""

LATE_BYTES = allocationholder.MAX_FAILING
"""Seconds that the bytes of a line may arrive after its length, on a file server that reorders them, and
that a file may fail to be read."""


class FileTransport:
    """Reaches the runner of one pilot. ``epoch``: the coordinator's, part of the names of its pairs."""

    def __init__(self, folder: Path, index: int, key: bytes, epoch: int) -> None:
        self._stem = folder / f"{index}.e{epoch}"
        self._key = key
        self._connections = 0
        # The link whose file gets the request to end, which is the newest one.
        self._link: FileLink | None = None

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:  # noqa: ARG002 - a file takes what it gets
        """Have the holder start a runner. It answers when it has found the pair, or never."""
        link = self.attach()
        try:
            # START comes before the data, and KEEP (attach) before both: the holder reads lines in
            # order.
            request = {"argv": payload.argv(spec.python, spec.label), "silence": spec.silence}
            link.append(allocationholder.START + json.dumps(request).encode())
            # Sources, whatever Python the holder has: its answer would take longer than they save.
            link.append(allocationholder.DATA + payload.build(spec.marker, spec.silence))
        except OSError as error:
            reason = f"cannot write to the shared folder: {error.strerror}"
            raise ConnectFailed(Refusal.UNREACHABLE, reason) from None
        return link

    def attach(self) -> FileLink:
        """Make the next pair, and tell the holder that a coordinator is there. Raises ConnectFailed."""
        # Each connection has a new pair, so late lines of an earlier runner are never read as those of
        # the next.
        self._connections += 1
        stem = f"{self._stem}.{self._connections}"
        try:
            make_pair(Path(stem))
            link = FileLink(stem, self._key)
            link.append(allocationholder.KEEP)
        except OSError as error:
            reason = f"cannot write to the shared folder: {error.strerror}"
            raise ConnectFailed(Refusal.UNREACHABLE, reason) from None
        self._link = link
        return link

    def dismiss(self) -> None:
        """Have the holder give its allocation back, if a connection was made. Never raises."""
        if self._link is not None:
            # The holder gives its allocation back by itself after a minute.
            with contextlib.suppress(OSError):
                self._link.append(allocationholder.END)

    def command_line(self, python: str, label: str) -> list[str]:
        """See Transport.command_line: the holder runs this in the allocation."""
        return payload.argv(python, label)


class FileLink:
    """A pair of files. See Link."""

    def __init__(self, stem: str, key: bytes) -> None:
        self._writer = pilotlines.LineWriter(f"{stem}.down", key)
        self._reader = pilotlines.LineReader(f"{stem}.up", key)
        self._timer = pilotlines.LookTimer()
        self._pause = pilotlines.EAGER_INTERVAL
        # Two threads append: the one that writes requests, and the one that closes. Lines must not mix.
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._bad_since: float | None = None
        self._end: LinkClosed | None = None
        _open.add(self)

    # Offsets and counters of lines are in the writer, so every line goes through this lock.
    def append(self, line: bytes) -> None:
        """Append a line for the holder. Raises OSError."""
        with self._lock:
            self._writer.append(line)

    def read(self, timeout: float) -> bytes:
        """See Link.read."""
        end = time.monotonic() + timeout
        while True:
            data = self._read_new()
            left = end - time.monotonic()
            if data or left <= 0:
                return data
            # The wait ends early when the link is closed, so close() never waits for a reader.
            self._is_closed.wait(min(self._pause, left))

    def _read_new(self) -> bytes:
        if self._is_closed.is_set():
            raise LinkClosed("the connection is closed")
        try:
            lines = self._reader.read_new()
            self._bad_since = None
        # Length and signature may arrive before the bytes: NFS clients flush pages in any order. EIO and
        # ESTALE pass when the file server is back.
        except (pilotlines.BadLine, OSError) as damaged:
            self._bad_since = self._bad_since or time.monotonic()
            is_gone = isinstance(damaged, FileNotFoundError)
            if is_gone or time.monotonic() - self._bad_since > LATE_BYTES:
                raise LinkClosed(_failure(damaged)) from None
            lines = []
        self._pause = max(self._timer.after(has_lines=bool(lines)), _least_pause())
        data = b"".join(line[1:] for line in lines if line[:1] == allocationholder.OUTPUT)
        # Remembered, because the end may come in one look with the last output, which is returned first.
        self._end = next(
            (_closed(line[1:]) for line in lines if line[:1] == allocationholder.EXIT), self._end
        )
        if self._end is not None and not data:
            raise self._end
        return data  # what it printed before its end comes first

    def write(self, data: bytes, timeout: float) -> None:  # noqa: ARG002 - a file takes what it gets
        """See Link.write."""
        if self._is_closed.is_set():
            raise LinkClosed("the connection is closed")
        try:
            self.append(allocationholder.DATA + data)
        except OSError as error:
            raise LinkClosed(f"cannot write to the shared folder: {error.strerror}") from None

    def files(self, timeout: float) -> HostFiles:  # noqa: ARG002 - it has none
        """See Link.files."""
        raise FilesFailed("a pilot reads and writes the shared folder only")

    def close(self) -> None:
        """See Link.close."""
        # CLOSE is written once: a second close() must not add a line to a file that its holder has left.
        if not self._is_closed.is_set():
            self._is_closed.set()
            _open.discard(self)
            # The holder ends a runner that hears nothing.
            with contextlib.suppress(OSError):
                self.append(allocationholder.CLOSE)


_open: weakref.WeakSet[FileLink] = weakref.WeakSet()
"""The links of this process."""


def _least_pause() -> float:
    """Return the seconds between two looks at least, if very many pilots begin together."""
    return min(pilotlines.BUSY_INTERVAL, len(_open) / MAX_LOOKS)


def make_pair(stem: Path) -> None:
    """Make both files of a connection, if they are not there yet. Raises OSError."""
    for suffix in (".up", ".down"):  # a holder looks for the second, and finds the first then
        with contextlib.suppress(FileExistsError):
            os.close(os.open(f"{stem}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _failure(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read the shared folder: {error.strerror}"
    return str(error)


def _closed(data: bytes) -> LinkClosed:
    try:
        fields = json.loads(data)
        status, reason = fields["status"], str(fields["reason"])[:300]
    except (ValueError, KeyError, TypeError, RecursionError):
        return LinkClosed("the holder of the allocation reports an end that cannot be read")
    return LinkClosed(reason, status if isinstance(status, int) else None)
