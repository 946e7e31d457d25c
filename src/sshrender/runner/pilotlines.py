"""Lines in append-only files on the shared folder, between a coordinator and an allocation's holder.

A file has one writer, which appends whole lines; readers open it again for each look, because an NFS
client shows the new end of a file when it is opened. A line is ``NUMBER TEXT MAC``: the text is base64,
the MAC is over the file's name, the number and the text, with a key that is in no file of the shared
folder. So no other user of that folder can make, move or repeat a line.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from typing import List, Optional

EAGER_INTERVAL, EAGER_SECONDS = 0.05, 10.0
"""Seconds between two looks while a connection begins, and how long that may be: each step of its start
waits for a look of the other end."""

BUSY_INTERVAL, QUIET_INTERVAL = 0.2, 2.0
"""Seconds between two looks afterwards: while lines come, and most when it is quiet."""

MAX_LOOK = 1 << 20
"""Bytes that one look reads: a reader that was away catches up in several looks."""

MAX_LINE = 8 << 20
"""Bytes of a line. The longest holds the whole runner, or a burst of requests."""

# O_NONBLOCK: a FIFO that was put in place of a file is an error; opening it would wait for ever.
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def beginning(path: str, size: int) -> bytes:
    """Return the first bytes of a file, none of a FIFO. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


class BadLine(Exception):
    """A whole line that its writer did not write: perhaps its bytes have not arrived yet."""


def mac(key: bytes, name: str, number: int, text: bytes) -> str:
    """Return the MAC of a line in the file of this name."""
    # The name and the number are in the MAC, so no line can be moved to another place or file.
    message = ("%s %d " % (name, number)).encode("utf-8") + text
    # 32 hexadecimal digits, 128 bits: a MAC may be cut to half of its length (RFC 2104, 5).
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:32]


class LineWriter:
    """Appends lines to a file that exists. ``number``: of the first line that this writer appends."""

    def __init__(self, path: str, key: bytes, number: int = 0) -> None:
        self._path = path
        self._name = os.path.basename(path)
        self._key = key
        self._number = number

    def append(self, data: bytes) -> None:
        """Append one line and flush it to the file server. Raises OSError."""
        text = base64.b64encode(data)
        line = b"%d %s %s\n" % (
            self._number,
            text,
            mac(self._key, self._name, self._number, text).encode("ascii"),
        )
        # Opened for each line: on NFS, close-to-open consistency shows the file's end as it is on the
        # server (nfs(5)).
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | _FLAGS)
        try:
            # A writer whose first number is 0 makes a new file. With lines in it, every line would be
            # refused.
            if os.fstat(descriptor).st_size and not self._number:
                # 17 is EEXIST, 28 is ENOSPC (errno(3)).
                raise OSError(17, "it has lines of another writer")
            # After a half line the same number is written again; the reader passes over the half.
            if os.write(descriptor, line) != len(line):
                os.write(descriptor, b"\n")
                raise OSError(28, "only a part of a line was written")
            # Synced before the number is raised: the other end must not read a line that the server may
            # lose.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._number += 1


class LineReader:
    """Reads the lines of a file in order, each once."""

    def __init__(self, path: str, key: bytes) -> None:
        self._path = path
        self._name = os.path.basename(path)
        self._key = key
        self._offset = 0
        self.number = 0

    def read_new(self) -> List[bytes]:
        """Return the lines that have come since the last look. Raises BadLine or OSError.

        A line that has not arrived as a whole is read by a later look, and so is one that is bad.
        """
        descriptor = os.open(self._path, os.O_RDONLY | _FLAGS)
        try:
            size = MAX_LOOK
            data = os.pread(descriptor, size, self._offset)
            # A line may be longer than one look; the invariant is that ``data`` begins at a line's first
            # byte.
            while b"\n" not in data and len(data) == size and size < MAX_LINE:
                size *= 2
                data = os.pread(descriptor, size, self._offset)
        finally:
            os.close(descriptor)
        found: List[bytes] = []
        # The bytes after the last newline are a line that has not arrived completely.
        lines = data.split(b"\n")[:-1]
        for place, line in enumerate(lines):
            content = self._parse(line)
            if content is None:
                # The rest of a line that a full disk cut off: the same line follows it as a whole.
                # Only if the next line is good: otherwise a bad line could make the reader pass over
                # good ones.
                if place + 1 < len(lines) and self._parse(lines[place + 1]) is not None:
                    self._offset += len(line) + 1
                    continue
                if found:
                    return found  # the good ones first; the next look meets the bad one again
                raise BadLine("line %d of %s is not its writer's" % (self.number, self._name))
            self._offset += len(line) + 1
            self.number += 1
            found.append(content)
        return found

    def _parse(self, line: bytes) -> Optional[bytes]:
        """Return the content of the next line; None if this is not that line."""
        fields = line.split(b" ")
        # The number is the next one, so a line that is repeated or missing shows at once.
        if len(fields) != 3 or fields[0] != b"%d" % self.number:
            return None
        expected = mac(self._key, self._name, self.number, fields[1])
        # compare_digest: the time of the comparison tells nothing about the MAC.
        if not hmac.compare_digest(expected.encode("ascii"), fields[2]):
            return None
        return base64.b64decode(fields[1])


class LookTimer:
    """Says when to look at a file again. While no line comes, the pauses grow."""

    def __init__(self) -> None:
        self._interval = BUSY_INTERVAL
        self._eager_until = 0.0
        self.begin()

    def begin(self) -> None:
        """Note that a connection begins, or may begin now."""
        self._eager_until = time.monotonic() + EAGER_SECONDS

    def after(self, has_lines: bool) -> float:
        """Return the seconds to the next look, after one that brought lines or none."""
        # The pause grows by half each time nothing came.
        self._interval = BUSY_INTERVAL if has_lines else min(QUIET_INTERVAL, 1.5 * self._interval)
        return EAGER_INTERVAL if time.monotonic() < self._eager_until else self._interval
