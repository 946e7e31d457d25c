"""The runner's side of the protocol: JSON lines behind a marker, written whole from any thread.

A login shell may print a banner and a library may print a warning on the same stream. Therefore each
line of the runner starts with a marker that the coordinator chose for this connection; other lines are
noise to the coordinator.

Requests, from the coordinator to the runner (field ``op``), in the order of a session:

- hello, prepare: gather facts about the host; start the slots for a job. ``hello`` answers both.
- inspect: count the pages of a document, in place of ``prepare``.
- render: one attempt at one page. revoke, kill: give an attempt back; stop it if a slot has begun it.
- discard: remove fetched files of a local workspace. priority, set_slot_limit: change the job's share.
- ping: the coordinator lives. finish: report what is left, then ``bye``.

Answers, from the runner to the coordinator (field ``type``): hello, heartbeat, started, rendered,
failed, revoked, kept, suspected, reopening, thumbnail, noted, inspected, trouble, bye.
``transports/messages.py`` describes their fields and checks them. Runner and coordinator are always of
the same version, because each connection sends the runner again.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Any, Dict, List, Optional

TIMEOUT, MEMORY, CRASHED, NO_OUTPUT = "timeout", "memory", "crashed", "no_output"
STORAGE, KILLED, LOW_MEMORY = "storage", "killed", "low_memory"
"""The kinds of failure that a runner reports. The first four are charged to the page; the last three
have other causes: the shared folder, a kill on request, a host that ran short of memory."""

LIMITS, SYSTEM, SAN = "limits", "system", "san"
"""The causes of ``trouble`` that the coordinator distinguishes, as its Refusal has them."""

_ATTEMPT = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}")
"""The name of an attempt: the coordinator's epoch and a number (core/schedulerstate.py)."""


class Wire:
    """Writes whole lines to one file descriptor, from any thread.

    A message that can wait is sent together with the next one, or when ``flush`` is called: every write
    wakes the coordinator up.
    """

    def __init__(self, descriptor: int, marker: str) -> None:
        self._descriptor = descriptor
        self._marker = marker
        self._lock = threading.Lock()
        self._waiting: List[bytes] = []

    def post(self, type_: str, can_wait: bool = False, **fields: Any) -> None:
        """Send one message; with ``can_wait``, keep it until the next one is sent."""
        fields["type"] = type_
        # One string for the whole line: a write of a line in two parts could be cut by another thread's.
        line = ("@%s %s\n" % (self._marker, json.dumps(fields))).encode("utf-8", "surrogateescape")
        # The lock is held during write(2), so lines of two threads never mix. A coordinator that does
        # not read blocks every thread here.
        with self._lock:
            # Messages that could wait go out before this one: the order of messages stays.
            self._waiting.append(line)
            if not can_wait:
                self._write()

    def flush(self) -> None:
        """Send the messages that were kept."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        # Under the lock, which the caller holds.
        data, self._waiting = b"".join(self._waiting), []
        while data:  # a pipe may take only a part (write(2))
            data = data[os.write(self._descriptor, data) :]


def parse(line: bytes) -> Dict[str, Any]:
    """Return the request in one line. Raises ValueError when it is not a JSON object."""
    # A request is UTF-8; UnicodeDecodeError is a ValueError.
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def password_bytes(request: Dict[str, Any]) -> Optional[bytes]:
    """Return the password as the document's encryption has it; UTF-8 if that is not known."""
    if request.get("password") is None:
        return None
    sent = request.get("password_bytes")
    return bytes.fromhex(sent) if sent is not None else str(request["password"]).encode("utf-8")


def attempt(request: Dict[str, Any]) -> str:
    """Return the attempt that a request names. Raises KeyError, ValueError or TypeError."""
    # A value of another type raises TypeError here, which the caller reports as a bad request.
    if not _ATTEMPT.fullmatch(request["attempt"]):
        raise ValueError("attempt is not the name of an attempt")
    return str(request["attempt"])
