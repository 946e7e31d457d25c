"""One host's connection: a thread that connects and listens, and one that writes and pings.

What it hears goes into the coordinator's queue; nothing here blocks the loop, however wedged the
host is. Once closed it says nothing more.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sshrender.coordinator.plan import HostSetup
from sshrender.transports.framing import MessageReader, encode
from sshrender.transports.messages import Hello, Message, ProtocolError, Trouble
from sshrender.transports.protocol import ConnectFailed, HostFiles, Link, LinkClosed, Refusal, RunnerSpec

PING = 1.0
SILENCE = 8.0
"""Seconds without a word after which either end takes the other for gone."""

HANDSHAKES = 8
"""At once: sshd's MaxStartups begins to drop at 10 (sshd_config(5)), at a jump host too."""

WRITE_TIMEOUT = 10.0

UNHEARD = 500
"""Messages of one host that may wait in the loop's queue."""

HANDSHAKE_TIMEOUT = 60.0
"""Time limit of the handshake in seconds: ``gs --version`` may take 20 (runner/hostfacts.py), and the
canary 30 (runner/fingerprint.py), which waits for a slot lock (runner/slotlocks.py)."""

_handshakes = threading.BoundedSemaphore(HANDSHAKES)


@dataclass(frozen=True, slots=True)
class HostSpoke:
    """A message came over this link, ``at`` this moment: the loop may take it in much later."""

    link: HostConnection
    message: Message
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The link could not be made, broke, or spoke another language. ``refusal`` says which."""

    link: HostConnection
    refusal: Refusal
    reason: str


class HostConnection:
    """A conversation with one host's runner."""

    def __init__(
        self,
        setup: HostSetup,
        label: str,
        post: Callable[[HostSpoke | LinkFailed], None],
        delay: float = 0.0,
    ) -> None:
        self.setup = setup
        self.host = setup.plan.name
        self._post = post
        self._delay = delay
        self._marker = secrets.token_hex(6)
        self._label = label
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._credit = threading.Semaphore(UNHEARD)
        self._link: Link | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._prepared_at: float | None = None
        self._reader = MessageReader(self._marker)
        self._thread = threading.Thread(target=self._run, name=f"host {self.host}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def send(self, op: str, **fields: Any) -> None:
        """Queue a request. What it is told with ``prepare`` a runner answers with its greeting."""
        if op == "prepare":
            self._prepared_at = time.monotonic()
        self._outbox.put(encode(op, **fields))

    def files(self, timeout: float) -> HostFiles:
        """A way for files over this connection. Raises LinkClosed or FilesFailed."""
        with self._lock:
            link = None if self._is_closed else self._link
        if link is None:
            raise LinkClosed("the connection is closed")
        return link.files(timeout)

    def close(self) -> None:
        """End the connection; returns at once."""
        with self._lock:
            self._is_closed = True
            link = self._link
        self._outbox.put(b"")
        if link is not None:
            threading.Thread(target=link.close, daemon=True, name=f"close {self.host}").start()

    def join(self, timeout: float) -> None:
        """Wait for the listening thread to end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        """The thread. Whatever goes wrong in it becomes a message."""
        try:
            self._converse()
        except ConnectFailed as failed:
            self._fail(failed.refusal, failed.reason)
        except LinkClosed as closed:
            self._end_of(closed)
        except ProtocolError as error:
            self._fail(Refusal.PROTOCOL, self._with_noise(f"it does not speak our protocol: {error}"))
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            self._fail(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")

    def _converse(self) -> None:
        link = self._connect()
        if link is None:
            return
        threading.Thread(target=self._write, args=(link,), daemon=True).start()
        connected_at, has_completed_handshake = time.monotonic(), False
        while True:
            for message in self._reader.feed(link.read(PING)):
                if self._has_ended():
                    return
                if isinstance(message, Hello):
                    if has_completed_handshake:
                        raise ProtocolError("it greets a second time")
                    has_completed_handshake = True
                elif not has_completed_handshake and not isinstance(message, Trouble):
                    raise ProtocolError("it speaks of pages before it greets")
                self._hand_over(message)
            if not has_completed_handshake:
                self._expect_greeting(connected_at)

    def _hand_over(self, message: Message) -> None:
        """A host that talks faster than the loop listens has to wait for it."""
        while not self._credit.acquire(timeout=PING):
            if self._has_ended():
                return
        self._post(HostSpoke(self, message))

    def taken(self) -> None:
        """A message of ours was taken from the queue."""
        self._credit.release()

    def _expect_greeting(self, connected_at: float) -> None:
        if self._prepared_at is None:
            return  # it has not been told yet what it is wanted for
        if time.monotonic() - max(self._prepared_at, connected_at) > HANDSHAKE_TIMEOUT:
            raise LinkClosed(f"connected, but does not greet within {HANDSHAKE_TIMEOUT:g} s")

    def _connect(self) -> Link | None:
        time.sleep(self._delay * random.uniform(0.5, 1.5))
        spec = RunnerSpec(self.setup.python, self._label, self._marker, SILENCE)
        with _handshakes:
            if self._has_ended():
                return None
            link = self.setup.transport.connect(spec, self.setup.connect_timeout)
        with self._lock:
            self._link = link
        if self._has_ended():  # close() came while we connected and found nothing to close
            link.close()
            return None
        return link

    def _has_ended(self) -> bool:
        with self._lock:
            return self._is_closed

    def _write(self, link: Link) -> None:
        while True:
            data = self._outgoing()
            if self._has_ended():
                return
            try:
                link.write(data, WRITE_TIMEOUT)
            except LinkClosed as closed:
                self._end_of(closed)
                return

    def _outgoing(self) -> bytes:
        """All that is queued, in one piece; a ping when nothing is."""
        try:
            lines = [self._outbox.get(timeout=PING)]
            while not self._outbox.empty():
                lines.append(self._outbox.get())
        except queue.Empty:
            lines = [encode("ping")]
        return b"".join(lines)

    def _end_of(self, closed: LinkClosed) -> None:
        """Whoever notices first, reading or writing, says why."""
        refusal = Refusal.NO_PYTHON if closed.has_no_program else Refusal.UNREACHABLE
        self._fail(refusal, self._with_noise(closed.reason))

    def _fail(self, refusal: Refusal, reason: str) -> None:
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._post(LinkFailed(self, refusal, reason))

    def _with_noise(self, reason: str) -> str:
        """What the host printed last often says why (a missing python3, a profile that fails)."""
        return f"{reason}: {self._reader.noise[-1]}" if self._reader.noise else reason
