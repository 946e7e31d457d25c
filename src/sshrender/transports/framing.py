"""Converts between bytes and messages; finds the runner's lines in the output of a login shell."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

from sshrender.transports.messages import MAX_LINE, Message, NotJson, ProtocolError, decode

MAX_NOISE = 64 << 20
"""Bytes of other output after which a host is given up: a banner has kilobytes, not megabytes."""

KEPT_NOISE = 12
"""Lines of other output that are kept for error messages."""

_BEGINNING = re.compile(rb"(\w+-\d+\.\d+-[0-9a-f]+)?")
"""The first line of the loader: the name of its Python, if that is new enough to be sent a runner."""


class MessageReader:
    """Turns bytes into messages. ``noise``: the last lines that did not come from the runner.

    ``has_begun``: whether the loader has said that it runs (transports/payload.py).
    """

    def __init__(self, marker: str) -> None:
        self._mark = f"@{marker} ".encode("ascii")
        self._pending = bytearray()
        self._noise_bytes = 0
        self._cut: NotJson | None = None
        self.noise: deque[str] = deque(maxlen=KEPT_NOISE)
        self.has_begun = False

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes. Raises ProtocolError."""
        # A marker that is new for each connection: a line of the login shell cannot imitate a message.
        # A line may arrive in many pieces: it is parsed when its newline has come.
        self._pending += data
        if b"\n" not in data:
            self._bound()
            return []
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending = bytearray(rest)
        self._bound()
        messages = []
        # The bytes after the last newline begin the next line and stay in ``_pending``.
        for line in lines:
            # A prompt or a banner without a newline may precede the marker on the same line.
            before, mark, ours = line.partition(self._mark)
            if before:
                self._note(before)
            if mark and not self.has_begun and _BEGINNING.fullmatch(ours):
                self.has_begun = True
            elif mark:
                messages += self._decoded(ours)
        return messages

    def _decoded(self, line: bytes) -> list[Message]:
        """Return the message of a line; nothing for one whose end is missing."""
        # Only a runner that writes on breaks the protocol. The last line of one that was killed may be
        # cut in the middle, and srun writes its own words behind it.
        if self._cut is not None:
            raise self._cut
        try:
            return [decode(line)]
        except NotJson as error:
            if not line.startswith(b"{"):
                raise
            self._cut = error
            self._note(line)
            return []

    def _bound(self) -> None:
        # It bounds what is kept, so that a host that never sends a newline cannot fill the memory.
        if len(self._pending) > MAX_LINE:
            raise ProtocolError(f"a line of more than {MAX_LINE} bytes")

    def _note(self, line: bytes) -> None:
        # The count is for the whole life of the connection: a host that prints without end is given up.
        self._noise_bytes += len(line)
        if self._noise_bytes > MAX_NOISE:
            raise ProtocolError(f"it printed more than {MAX_NOISE} bytes that are not messages")
        text = line[:300].decode("utf-8", "replace").strip()
        if text:
            self.noise.append(text)


def encode(op: str, **fields: Any) -> bytes:
    """Return one request as a line."""
    # json.dumps escapes newlines and all that is not ASCII, so a request is always one line.
    return json.dumps({"op": op, **fields}).encode("utf-8") + b"\n"
