"""Sends a loader the modules of the runner, in the form for the Python that it names (payload.py).

The answer costs no round trip beside those of ssh: it comes as soon as Python has started.
"""

from __future__ import annotations

import contextlib
import threading

from sshrender.transports import payload
from sshrender.transports.interface import HostFiles, Link, LinkClosed, RunnerSpec

MAX_NAME = 64
"""Bytes of the name of a Python; the longest known are half of it."""


class LoaderLink:
    """Another link (``inner``), over which a loader was sent. See Link.

    Requests wait here until the modules are sent.
    """

    def __init__(self, inner: Link, spec: RunnerSpec) -> None:
        self.inner = inner
        self._spec = spec
        self._marker = f"@{spec.marker} ".encode("ascii")
        self._tail = b""
        self._waiting = bytearray()
        # Requests are written by other threads than the one that reads the name.
        self._lock = threading.Lock()
        self.has_spoken = False
        """Whether the loader runs: its first line has begun."""
        self._has_modules = False

    def read(self, timeout: float) -> bytes:
        """See Link.read."""
        data = self.inner.read(timeout)
        if not self._has_modules:
            self._look_at(data)
        return data

    def _look_at(self, data: bytes) -> None:
        """Send the modules if this output of the host completes the loader's first line."""
        seen = self._tail + data
        at = seen.find(self._marker)
        if at < 0:
            self._tail = seen[-len(self._marker) :]  # it may arrive in two pieces
            return
        name, newline, _ = seen[at + len(self._marker) :].partition(b"\n")
        self._tail, self.has_spoken = seen[at:], True
        # A line that is longer, or any other, comes from no loader; MessageReader reports it.
        if newline or len(name) > MAX_NAME:
            self._send_modules(name)

    def _send_modules(self, name: bytes) -> None:
        # An old Python has no name, and ends without modules.
        form = payload.form_for(name)
        data = payload.modules(self._spec.marker, self._spec.silence, form) if name else b""
        with self._lock:
            self._has_modules = True
            # The next read tells why: what the host has printed before its end comes first.
            with contextlib.suppress(LinkClosed):
                self.inner.write(data + self._waiting, payload.RECEIVE_TIMEOUT)

    def write(self, data: bytes, timeout: float) -> None:
        """See Link.write."""
        with self._lock:
            if not self._has_modules:
                self._waiting += data
                return
        self.inner.write(data, timeout)

    def files(self, timeout: float) -> HostFiles:
        """See Link.files."""
        return self.inner.files(timeout)

    def close(self) -> None:
        """See Link.close."""
        self.inner.close()
