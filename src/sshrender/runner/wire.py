"""The runner's side of the wire: JSON lines behind a marker, and one lock so that lines stay whole.

A login shell may print a banner and a library may print a warning on the same stream, so each line
of ours starts with a marker that the coordinator chose for this connection; anything else is noise.

Requests (coordinator to runner, field ``op``): hello, prepare, render, revoke, kill, discard, priority,
width, inspect, ping, finish. Answers (runner to coordinator, field ``type``): hello, beat, started,
rendered, failed, revoked, kept, suspected, pictured, noted, inspected, trouble, bye. The fields of
each are those of ``transports/messages.py``, which is the other end.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Any, Dict, List

TIMEOUT, MEMORY, CRASHED, NO_OUTPUT = "timeout", "memory", "crashed", "no_output"
STORAGE, KILLED, CROWDED = "storage", "killed", "crowded"
"""The kinds of failure that a runner reports: the first four are the page's, the last three are not."""

_ATTEMPT = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}$")


class Wire:
    """Writes whole lines to one file descriptor, from any thread.

    A message that can wait travels with the next one, or when ``flush`` is called, because every
    write costs the coordinator a wake-up.
    """

    def __init__(self, descriptor: int, marker: str) -> None:
        self._descriptor = descriptor
        self._marker = marker
        self._lock = threading.Lock()
        self._waiting: List[bytes] = []

    def post(self, type_: str, can_wait: bool = False, **fields: Any) -> None:
        """Send one message; with ``can_wait`` it is held back for the next."""
        fields["type"] = type_
        line = ("@%s %s\n" % (self._marker, json.dumps(fields))).encode("utf-8", "surrogateescape")
        with self._lock:
            self._waiting.append(line)
            if not can_wait:
                self._write()

    def flush(self) -> None:
        """Send what was held back."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        data, self._waiting = b"".join(self._waiting), []
        while data:
            data = data[os.write(self._descriptor, data) :]


def parse(line: bytes) -> Dict[str, Any]:
    """One request; ValueError when it is not a JSON object."""
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def attempt(request: Dict[str, Any]) -> str:
    """The attempt that a request names; ValueError or TypeError."""
    if not _ATTEMPT.match(request["attempt"]):
        raise ValueError("attempt")
    return str(request["attempt"])
